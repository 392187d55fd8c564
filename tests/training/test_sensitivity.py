"""Oracles: sensitivities worked out by hand from measured losses, and the invariances that the definition has."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evonas.errors import InputError
from evonas.training.sensitivity import (
    LEARNING_RATES,
    coupled_lr_sensitivity,
    diverged,
    lr_sensitivity,
    stability_margin,
)

# final losses of four models over LEARNING_RATES, and the sensitivity
MEASURED = [
    ((3.05, 2.60, 2.44, 2.38, 2.43, 2.59, 2.85), 0.240),
    ((3.05, 2.60, 2.44, 2.38, 2.36, 2.40, 2.48), 0.171),
    ((2.65, 2.45, 2.38, 2.39, 2.53, 2.72, 3.01), 0.213),
    ((2.65, 2.45, 2.37, 2.33, 2.37, 2.43, 2.50), 0.114),
]
curves = st.lists(st.integers(1, 40), min_size=7, max_size=7).map(
    lambda halves: {rate: half / 2 for rate, half in zip(LEARNING_RATES, halves, strict=True)}
)


@pytest.mark.parametrize(("losses", "expected"), MEASURED)
def test_measured_losses_give_the_sensitivity_worked_out_by_hand(losses: tuple[float, ...], expected: float) -> None:
    assert lr_sensitivity(dict(zip(LEARNING_RATES, losses, strict=True)), 6.0) == pytest.approx(expected, abs=0.005)


def test_the_grid_is_the_paper_s() -> None:
    assert LEARNING_RATES == (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf, 5.5, 6.0, 1e9])
def test_losses_are_clipped_at_the_initial_one(lost: float) -> None:
    assert lr_sensitivity({1e-3: 2.0, 1e-2: 1.5, 1e-1: lost}, 5.5) == pytest.approx((0.5 + 0 + 4) / 3)


@given(curves, st.floats(-3, 3))
def test_a_shift_of_all_losses_and_their_order_do_not_matter(losses: dict[float, float], shift: float) -> None:
    found = lr_sensitivity(losses, 10.0)
    shifted = {rate: losses[rate] + shift for rate in sorted(losses, reverse=True)}
    if min(losses.values()) < 10:
        assert 0 <= found < 10
        assert lr_sensitivity(shifted, 10.0 + shift) == pytest.approx(found, abs=1e-9)
    else:
        assert math.isnan(found)


@pytest.mark.parametrize("losses", [{1e-2: 5.5}, {1e-2: 6.0, 1e-1: math.nan}, {1e-2: math.inf}])
def test_where_nothing_learned_the_sensitivity_is_undefined(losses: dict[float, float]) -> None:
    assert math.isnan(lr_sensitivity(losses, 5.5))
    assert math.isnan(stability_margin(losses, 5.5))
    assert math.isnan(coupled_lr_sensitivity(losses, 5.5, ((1e-2, 1e-2),)))


def test_a_model_that_does_not_care_has_none() -> None:
    assert lr_sensitivity(dict.fromkeys(LEARNING_RATES, 2.0), 5.5) == 0


def test_coupled_decay_takes_the_better_of_two_windows() -> None:
    losses = dict(zip((1e-4, *LEARNING_RATES), (3.0, 2.5, 2.0, 2.2, 2.4, 2.6, 3.0, math.nan), strict=True))
    low = {rate: loss for rate, loss in losses.items() if rate < 0.2}
    high = {rate: loss for rate, loss in losses.items() if rate > 2e-4}
    assert lr_sensitivity(low, 5.5) < lr_sensitivity(high, 5.5)
    assert coupled_lr_sensitivity(losses, 5.5) == lr_sensitivity(low, 5.5)
    losses[1e-4], losses[3e-1] = 5.4, 2.5
    high = {rate: loss for rate, loss in losses.items() if rate > 2e-4}
    assert coupled_lr_sensitivity(losses, 5.5) == lr_sensitivity(high, 5.5)


def test_each_window_has_its_own_best_and_one_where_nothing_learns_is_left_out() -> None:
    losses = {1e-4: 9.0, 1e-3: 9.0, 1e-2: 4.0, 1e-1: 5.0}
    assert coupled_lr_sensitivity(losses, 6.0, ((1e-4, 1e-3), (1e-2, 1e-1))) == 0.5


def test_ends_of_windows_may_be_rounded() -> None:
    losses = {3e-4 * (1 + 1e-12): 2.0, 3e-1 * (1 - 1e-12): 3.0, 1.0: 9.0}
    assert coupled_lr_sensitivity(losses, 5.5, ((3e-4, 3e-1),)) == 0.5


def test_the_margin_is_the_lowest_divergent_rate_above_the_best_one_over_it() -> None:
    losses = {1e-3: 3.0, 3e-3: 2.0, 1e-2: 2.5, 3e-2: 5.5, 1e-1: 5.6, 3e-1: math.nan}
    assert stability_margin(losses, 5.5) == pytest.approx(1e-1 / 3e-3)  # 5.5 is not above the initial loss
    assert stability_margin(losses | {1e-2: math.nan}, 5.5) == pytest.approx(1e-2 / 3e-3)
    assert stability_margin(losses | {1e-3: math.nan}, 5.5) == pytest.approx(1e-1 / 3e-3)  # below the best
    assert stability_margin({1e-3: 3.0, 1e-2: 2.0}, 5.5) == math.inf


def test_of_equal_losses_the_lower_rate_is_the_best() -> None:
    assert stability_margin({1e-1: math.nan, 1e-2: 2.0, 1e-3: 2.0}, 5.5) == pytest.approx(100)


@pytest.mark.parametrize(
    ("loss", "lost"), [(5.4, False), (5.5, False), (5.6, True), (math.nan, True), (-math.inf, True)]
)
def test_divergence_ends_worse_than_it_began(loss: float, lost: bool) -> None:
    assert diverged(loss, 5.5) is lost


@pytest.mark.parametrize("measure", [lr_sensitivity, coupled_lr_sensitivity, stability_margin])
@pytest.mark.parametrize(
    ("losses", "initial", "named"),
    [
        ({}, 5.5, "losses: empty"),
        ({0.0: 2.0}, 5.5, "a learning rate of 0.0; accepted: positive"),
        ({-1e-3: 2.0}, 5.5, "a learning rate of -0.001"),
        ({math.nan: 2.0}, 5.5, "a learning rate of nan"),
        ({math.inf: 2.0}, 5.5, "a learning rate of inf"),
        ({3e-4: 2.0}, math.nan, "initial_loss: nan; accepted: a finite number"),
    ],
)
def test_mistakes_are_named(measure, losses: dict, initial: float, named: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as error:
        measure(losses, initial)
    assert named in str(error.value)


def test_a_window_without_a_loss_at_its_end_is_named() -> None:
    with pytest.raises(InputError, match=r"losses: none at 0\.0001, an end of the window; there are 0\.0003, 0\.001, "):
        coupled_lr_sensitivity(dict.fromkeys(LEARNING_RATES, 2.0), 5.5)
