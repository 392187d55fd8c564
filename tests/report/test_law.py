"""Lines through gains, and where their sign turns.

Oracles: numpy's polyfit for estimates, scipy's regression on single differences for the slope's interval where the line
is true, and simulated gains with a known law for what intervals cover.
"""

import math
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from evonas.report.law import Law, Spread, fit_law, pooled_spread
from evonas.report.statistics import t_interval

SIZES = (75.0, 300.0, 1200.0)
BASE = 300.0


def simulated(
    rng: np.random.Generator, a: float, b: float, *, noise: float = 1.0, seeds: int = 3, bend: float = 0.0
) -> dict[float, list[float]]:
    """Differences under a law, with a curvature if there is to be one."""
    x = {size: math.log2(size / BASE) for size in SIZES}
    return {size: list(a + b * x[size] + bend * x[size] ** 2 + noise * rng.standard_normal(seeds)) for size in SIZES}


def fitted(points: dict[float, list[float]], level: float = 0.95) -> Law:
    law = fit_law(points, BASE, pooled_spread(points.values()), level)
    assert law is not None
    return law


def test_the_line_is_that_of_weighted_least_squares() -> None:
    points = simulated(np.random.default_rng(0), 1.0, 0.5)
    points[75.0] += [2.0, 4.0]  # two seeds more there
    law = fitted(points)
    x = [math.log2(size / BASE) for size in points]
    slope, intercept = np.polyfit(x, [fmean(v) for v in points.values()], 1, w=[len(v) ** 0.5 for v in points.values()])
    assert law.slope.mean == pytest.approx(slope)
    assert law.at_base.mean == pytest.approx(intercept)
    assert (law.smallest, law.largest, law.slope.count) == (75.0, 1200.0, 11)


def test_the_spread_is_that_within_sizes() -> None:
    spread = pooled_spread([[1.0, 3.0], [10.0, 10.0, 13.0], [5.0], []])
    assert spread == Spread(pytest.approx((2.0 + 6.0) / 3), 3)
    values = [0.3, 0.1, 0.5]
    found, alone = pooled_spread([values]).interval(values), t_interval(values)  # alone it borrows nothing
    assert (found.mean, found.count) == (alone.mean, alone.count)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_intervals_of_one_seed_have_no_bounds() -> None:
    law = fitted({75.0: [1.0], 300.0: [2.0], 1200.0: [4.0]})
    assert (law.slope.low, law.slope.high, law.misfit) == (None, None, None)
    assert not law.better_than_constant
    assert law.turn is not None
    assert (law.turn.low, law.turn.high) == (None, None)


def test_fewer_than_two_sizes_have_no_line() -> None:
    assert fit_law({300.0: [1.0, 2.0], 75.0: []}, BASE, Spread(1.0, 1)) is None


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_intervals_cover_what_they_say(level: float) -> None:
    """Slope, value at the base and zero of a law that is known, in 600 repetitions."""
    rng, repetitions, zero = np.random.default_rng(1), 600, BASE * 2 ** (-0.8 / 2.0)
    hits = {"slope": 0, "at base": 0, "turn": 0, "elsewhere": 0}
    for _ in range(repetitions):
        law = fitted(simulated(rng, 0.8, 2.0), level)
        elsewhere = law.at(600.0)
        assert law.turn is not None
        pairs = {
            "slope": (law.slope.low, law.slope.high, 2.0),
            "at base": (law.at_base.low, law.at_base.high, 0.8),
            "turn": (law.turn.low, law.turn.high, zero),
            "elsewhere": (elsewhere.low, elsewhere.high, 2.8),
        }
        for name, (low, high, true) in pairs.items():
            hits[name] += low is None or high is None or low <= true <= high  # no bounds rule nothing out
    error = 4 * math.sqrt(level * (1 - level) / repetitions)
    for name, count in hits.items():
        assert level - error <= count / repetitions <= level + 0.12, name  # the larger variance counts, hence more


def test_no_more_slopes_and_misfits_are_false_than_should_be() -> None:
    rng, repetitions = np.random.default_rng(2), 800
    laws = [fitted(simulated(rng, 1.0, 0.0)) for _ in range(repetitions)]
    error = 4 * math.sqrt(0.05 * 0.95 / repetitions)
    assert 0.005 < fmean(law.better_than_constant for law in laws) <= 0.05 + error
    assert 0.005 < fmean(law.misfit is not None and law.misfit < 0.05 for law in laws) <= 0.05 + error


def test_a_bent_law_is_no_line() -> None:
    rng = np.random.default_rng(3)
    bent = [fitted(simulated(rng, 0.0, 1.0, bend=1.0, noise=0.5)).misfit for _ in range(50)]
    assert sum(p is not None and p < 0.05 for p in bent) >= 48


def test_the_turn_is_bounded_only_by_a_slope_that_is_surely_not_zero() -> None:
    """Oracle: the interval of the line's value holds zero at both bounds, and just so."""
    rng = np.random.default_rng(4)
    for _ in range(100):
        law = fitted(simulated(rng, 0.5, 1.0))
        assert law.turn is not None
        assert (law.turn.low is not None) == law.better_than_constant
        if law.turn.low is not None and law.turn.high is not None:
            assert law.turn.low <= law.turn.size <= law.turn.high
            for bound in (law.turn.low, law.turn.high):
                at = law.at(bound)
                assert at.low is not None
                assert at.high is not None
                assert min(abs(at.low), abs(at.high)) == pytest.approx(0.0, abs=1e-9)


def test_a_turn_beyond_the_measured_sizes_is_not_measured() -> None:
    law = fitted({75.0: [1.0, 1.01], 300.0: [2.0, 2.01], 1200.0: [3.0, 3.01]})
    assert law.turn is not None
    assert law.turn.size == pytest.approx(300 * 2 ** (-2 * 2.005), rel=1e-6)
    assert not law.measured(law.turn.size)
    assert law.measured(300.0)


def test_the_misfit_is_the_f_test_of_lack_of_fit_where_all_spreads_are_the_same() -> None:
    points = {75.0: [0.0, 1.0, 2.0], 300.0: [2.5, 3.5, 4.5], 1200.0: [1.0, 2.0, 3.0]}
    law = fitted(points)
    x = np.array([math.log2(size / BASE) for size in points for _ in range(3)])
    y = np.concatenate(list(points.values()))
    residual = float(((y - np.polyval(np.polyfit(x, y, 1), x)) ** 2).sum())
    pure = 3 * 2.0
    assert law.misfit == pytest.approx(float(stats.f.sf((residual - pure) / (pure / 6), 1, 6)))
    regression = stats.linregress(x, y)
    assert law.slope.high is not None
    half = float(stats.t.ppf(0.975, 6)) * math.sqrt(1.0 / 24)  # variance 1; the sum of squares of x is 24
    assert law.slope.high - law.slope.mean == pytest.approx(half)
    assert law.slope.mean == pytest.approx(regression.slope)


def test_a_noisy_size_has_its_own_spread() -> None:
    """Oracle: variances by hand."""
    points = [[-3.0, 3.0], [0.0, 0.2], [0.0, 0.2]]
    spread = pooled_spread(points)
    assert spread.variance == pytest.approx((18 + 0.02 + 0.02) / 3)
    assert spread.of(points[0]) == pytest.approx(18.0)
    assert spread.of(points[1]) == spread.of([1.0]) == spread.variance
    wide, narrow = (spread.interval(values) for values in points[:2])
    assert wide.high is not None
    assert narrow.high is not None
    assert (wide.high - wide.mean) / (narrow.high - narrow.mean) == pytest.approx(math.sqrt(18.0 / spread.variance))
