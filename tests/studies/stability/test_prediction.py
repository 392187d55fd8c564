"""Oracles: parabolas without noise, the textbook interval of a straight line, and how often intervals hold."""

import math

import numpy as np
import pytest
from scipy import stats

from evonas.errors import InputError
from evonas.studies.stability.prediction import Doubt, fit_scaling, hold_out

SIZES = (5.5e4, 1.5e5, 3.3e5, 7.9e5, 2.2e6, 4.7e6)


def parabola(size: float) -> float:
    return math.exp(0.05 * math.log(size) ** 2 - 0.8 * math.log(size) + 3)


def noisy(deviation: float, seed: int = 0, sizes: tuple[float, ...] = SIZES) -> dict[float, float]:
    rng = np.random.default_rng(seed)
    return {size: parabola(size) * math.exp(rng.normal(0, deviation)) for size in sizes}


def test_a_parabola_is_found_and_predicted() -> None:
    fitted = fit_scaling({size: parabola(size) for size in reversed(SIZES)})
    for size in (1e5, 4.7e6, 4e7):
        found = fitted.predict(size)
        assert found.value == pytest.approx(parabola(size), rel=1e-8)
        assert found.low == pytest.approx(found.high, rel=1e-6)
        assert found.trusted
    assert fitted.sizes == SIZES


def test_the_interval_of_a_line_is_the_one_of_the_textbook() -> None:
    values = noisy(0.2)
    x, y = np.log(list(values)), np.log(list(values.values()))
    line = stats.linregress(x, y)
    s = np.sqrt(np.sum((y - line.intercept - line.slope * x) ** 2) / 4)
    at = math.log(2e7)
    half = stats.t.ppf(0.95, 4) * s * np.sqrt(1 + 1 / 6 + (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2))
    found = fit_scaling(values, degree=1).predict(2e7, level=0.9)
    center = line.intercept + line.slope * at
    assert np.log([found.low, found.value, found.high]) == pytest.approx([center - half, center, center + half])


def test_intervals_hold_as_often_as_they_say() -> None:
    held = [hold_out(noisy(0.3, seed)) for seed in range(600)]
    share = np.mean([each.prediction.holds(each.measured) for each in held])
    assert share == pytest.approx(0.95, abs=0.03)


def test_the_largest_size_is_held_out() -> None:
    values = noisy(0.1)
    found = hold_out(values)
    changed = hold_out(values | {4.7e6: 1e9})
    assert found.prediction == changed.prediction == fit_scaling({n: values[n] for n in SIZES[:-1]}).predict(4.7e6)
    assert found.measured == values[4.7e6]
    assert changed.factor == pytest.approx(1e9 / found.prediction.value)
    assert found.prediction.holds(found.measured)
    assert not changed.prediction.holds(changed.measured)


def test_three_sizes_have_no_interval() -> None:
    found = fit_scaling(noisy(0.1, sizes=SIZES[:3])).predict(1e6)
    assert (found.low, found.high) == (None, None)
    assert found.doubts == (Doubt.NO_RESIDUAL, Doubt.FEW_SIZES)
    assert not found.trusted
    assert not found.holds(found.value)


@pytest.mark.parametrize(
    ("sizes", "deviation", "size", "doubts"),
    [
        (SIZES[:5], 0.05, 4.7e6, ()),
        (SIZES[:4], 0.05, 2.2e6, (Doubt.FEW_SIZES,)),
        (SIZES, 0.05, 4.8e7, (Doubt.FAR,)),
        (SIZES, 0.05, 4.6e7, ()),
        (SIZES, 2.0, 5e6, (Doubt.ROUGH,)),
    ],
)
def test_doubts_are_told(sizes: tuple[float, ...], deviation: float, size: float, doubts: tuple[Doubt, ...]) -> None:
    assert fit_scaling(noisy(deviation, sizes=sizes)).predict(size).doubts == doubts


def test_a_curve_that_turns_on_the_way_is_doubted() -> None:
    top = math.log(6e6)
    fitted = fit_scaling({size: math.exp(-((math.log(size) - top) ** 2)) for size in SIZES})
    assert fitted.predict(1e7).doubts == (Doubt.TURNS,)
    assert fitted.predict(5.9e6).doubts == ()
    assert all(doubt.value for doubt in Doubt)


def test_a_very_wide_interval_is_infinite_instead_of_an_error() -> None:
    found = fit_scaling(noisy(30.0, sizes=SIZES[:4])).predict(1e9)
    assert found.low is not None
    assert found.high == math.inf


@pytest.mark.parametrize(
    ("values", "degree", "named"),
    [
        ({1e5: 2.0, 1e6: 3.0}, 2, "values: 2 sizes; accepted: 3 or more for degree 2"),
        ({}, 2, "sizes; accepted"),
        ({1e5: 2.0, 1e6: 3.0}, 0, "degree: 0"),
        ({0.0: 2.0, 1e6: 3.0, 1e7: 4.0}, 1, "size: 0.0; accepted: a positive number"),
        ({1e5: 2.0, 1e6: -3.0, 1e7: 4.0}, 1, "value at size 1e+06: -3.0"),
        ({1e5: 2.0, 1e6: 3.0, 1e7: math.inf}, 1, "value at size 1e+07: inf"),
        ({1e5: math.nan, 1e6: 3.0, 1e7: 4.0}, 1, "value at size 100000: nan"),
    ],
)
@pytest.mark.parametrize("function", [fit_scaling, hold_out])
def test_mistakes_are_named(function, values: dict, degree: int, named: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError) as error:
        function(values, degree)
    if "sizes" not in named:
        assert named in str(error.value)
    fitted = fit_scaling({size: parabola(size) for size in SIZES})
    with pytest.raises(InputError, match="size: -1"):
        fitted.predict(-1)
