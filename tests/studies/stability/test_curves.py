"""Oracles: spikes by Python's statistics module, one value at a time, and curves drawn by hand."""

import math
import random
from statistics import fmean, pstdev

import pytest

from evonas.errors import InputError
from evonas.studies.stability.curves import diverges_slowly, spike_steps


def noisy(count: int, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [2 + 3 * math.exp(-step / 100) + rng.gauss(0, 0.02) for step in range(count)]


def naive(values: list[float], window: int, sigmas: float) -> tuple[int, ...]:
    found = []
    for step in range(window, len(values)):
        before = values[step - window : step]
        if abs(values[step] - fmean(before)) >= sigmas * pstdev(before):
            found.append(step)
    return tuple(found)


@pytest.mark.parametrize("sigmas", [2.0, 7.0])
def test_spikes_are_those_of_the_definition(sigmas: float) -> None:
    values = noisy(600)
    values[500] += 3
    values[550] -= 3
    found = spike_steps(values, window=100, sigmas=sigmas)
    assert found == naive(values, 100, sigmas)
    assert {500, 550} <= set(found)


def test_every_value_after_the_first_window_is_judged() -> None:
    values = noisy(900)[500:]  # flat
    values[200] += 1
    values[390] += 1
    assert spike_steps(values, window=100) == (200, 390)


def test_the_defaults_are_those_of_olmo_2() -> None:
    values = noisy(2500)
    mean, deviation = fmean(values[999:1999]), pstdev(values[999:1999])
    values[1999] = mean + 6.9 * deviation
    assert spike_steps(values) == ()
    values[1999] = mean + 7.1 * deviation
    assert spike_steps(values) == (1999,)


def test_values_that_are_not_finite_are_spikes() -> None:
    values = [1.0, 1.1, 1.0, 1.1, 1.0, math.nan, 1.1, 90.0, 1.0, 1.1, 1.0, 1.1, 80.0]
    assert spike_steps(values, window=4) == (5, 12)  # the window before 90 holds the one that is not a number


def test_a_constant_series_has_no_spikes_and_a_first_step_out_of_it_is_one() -> None:
    assert spike_steps([0.1] * 50, window=10) == ()
    assert spike_steps([*[0.1] * 20, 0.2], window=10) == (20,)


def test_what_is_too_short_is_not_judged() -> None:
    assert spike_steps([1.0, 9.0], window=2) == ()
    assert spike_steps([]) == ()


def test_a_loss_that_rises_for_good_diverges_slowly() -> None:
    down = noisy(500)
    up = [value + 0.002 * step for step, value in enumerate(noisy(300, seed=1))]
    assert not diverges_slowly(down)
    assert diverges_slowly([*down, *(2 + 0.002 * step for step in range(300))])
    assert diverges_slowly([*down, *up, math.nan, math.inf])


def test_spikes_and_recoveries_are_no_slow_divergence() -> None:
    losses = noisy(800)
    losses[600:620] = [9.0] * 20
    losses[-1] = 50.0
    assert not diverges_slowly(losses)


def test_a_sudden_end_is_no_slow_divergence() -> None:
    assert not diverges_slowly([5.0, 4.0, 400.0, math.nan])
    assert not diverges_slowly([])


def test_the_rise_is_measured_between_medians() -> None:
    losses = [3.0] * 10 + [1.0] * 10 + [1.5] * 10
    assert diverges_slowly(losses, window=10, rise=0.5)
    assert not diverges_slowly(losses, window=10, rise=0.51)


def test_several_are_counted() -> None:
    assert sum(map(diverges_slowly, [noisy(300), [*noisy(300), *[4.0] * 60], [*noisy(200), *[3.0] * 60]])) == 2


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match=r"window, sigmas: 1, 7\.0"):
        spike_steps([1.0, 2.0], window=1)
    with pytest.raises(InputError, match="window, sigmas"):
        spike_steps([1.0, 2.0], window=5, sigmas=math.nan)
    with pytest.raises(InputError, match="window: 0"):
        diverges_slowly([1.0], window=0)
