"""How a paired difference depends on a size: a straight line in the logarithm of the size, and where its sign turns.

All differences of a family share one variance, estimated within sizes and pooled over them, so that a size with three
seeds borrows precision from the others. Sizes must have been measured under seeds of their own: then their means are
independent.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from evonas.report.statistics import LEVEL, Interval

Line = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """A pooled variance of single differences with its degrees of freedom, 0 of these if no size has two numbers."""

    variance: float
    freedom: int

    def half_width(self, share: float, level: float) -> float | None:
        """Half of Student's interval of an estimate whose variance is ``share`` times that of one difference."""
        if not self.freedom:
            return None
        from scipy import stats  # takes long to import, and most readers of this module never get here

        quantile = float(stats.t.ppf((1 + level) / 2, self.freedom))
        return quantile * math.sqrt(max(0.0, share) * self.variance)

    def interval(self, values: Sequence[float], level: float = LEVEL) -> Interval:
        """Of the mean of some differences."""
        return _around(fmean(values), self.half_width(1 / len(values), level), len(values))


def pooled_spread(groups: Iterable[Sequence[float]]) -> Spread:
    """The variance within groups of differences, each group about its own mean."""
    kept = [group for group in groups if group]
    freedom = sum(len(group) - 1 for group in kept)
    squares = sum(sum((value - fmean(group)) ** 2 for value in group) for group in kept)
    return Spread(squares / freedom if freedom else 0.0, freedom)


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a line crosses zero.

    Attributes:
        size: of the crossing.
        low: the smallest size that the differences allow, by Fieller's theorem; None if they do not bound it, which is
            so unless the slope is surely not zero.
        high: the largest.
    """

    size: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Law:
    """The line ``g = a + b log2(size / base)`` through mean differences, by weighted least squares.

    The weight of a size is its number of differences, as all have one variance.

    Attributes:
        base: the size at which the line has the value ``a``.
        smallest: the smallest size that was measured; below it the line is extrapolation.
        largest: the largest size that was measured; above it the line is extrapolation.
        level: of all intervals.
        at_base: ``a``.
        slope: ``b``, what each doubling of the size adds.
        turn: where the line crosses zero; None for a level line.
        misfit: how probable deviations from the line are that are at least as large as those seen, were the line true
            (F test of lack of fit); None with two sizes, or without a spread.
        share: the variances and the covariance of ``a`` and ``b``, as shares of the variance of one difference.
        spread: that variance.
    """

    base: float
    smallest: float
    largest: float
    level: float
    at_base: Interval
    slope: Interval
    turn: Turn | None
    misfit: float | None
    share: tuple[float, float, float]
    spread: Spread

    @property
    def better_than_constant(self) -> bool:
        """Whether the slope is surely not zero."""
        return self.slope.sign != 0

    def measured(self, size: float) -> bool:
        """Whether a size lies within the measured range."""
        return self.smallest <= size <= self.largest

    @property
    def turns_within(self) -> bool:
        """Whether the whole interval of the zero lies within the measured range."""
        bounds = (self.turn.low, self.turn.high) if self.turn else (None, None)
        return all(bound is not None and self.measured(bound) for bound in bounds)

    def at(self, size: float) -> Interval:
        """The line at a size, with the interval of its value there."""
        x = math.log2(size / self.base)
        variance_a, covariance, variance_b = self.share
        half = self.spread.half_width(variance_a + 2 * x * covariance + x * x * variance_b, self.level)
        return _around(self.at_base.mean + self.slope.mean * x, half, self.at_base.count)


def fit_law(points: Mapping[float, Sequence[float]], base: float, spread: Spread, level: float = LEVEL) -> Law | None:
    """Fit the line; None with fewer than two sizes.

    Args:
        points: by size, the differences under each seed.
        base: the size at which the line is ``a``.
        spread: the variance of one difference.
        level: of the intervals.
    """
    kept = {size: list(values) for size, values in sorted(points.items()) if values}
    if len(kept) < 2:
        return None
    x = np.log2(np.array(list(kept)) / base)
    means = np.array([fmean(values) for values in kept.values()])
    counts = np.array([len(values) for values in kept.values()], dtype=float)
    design = np.stack([np.ones_like(x), x], axis=1)
    inverse = np.linalg.inv(design.T @ (counts[:, None] * design))
    a, b = (float(value) for value in inverse @ design.T @ (counts * means))
    share = (float(inverse[0, 0]), float(inverse[0, 1]), float(inverse[1, 1]))
    count = int(counts.sum())
    return Law(
        base=base,
        smallest=min(kept),
        largest=max(kept),
        level=level,
        at_base=_around(a, spread.half_width(share[0], level), count),
        slope=_around(b, spread.half_width(share[2], level), count),
        turn=_turn((a, b), share, spread, level, base),
        misfit=_misfit(means - a - b * x, counts, spread),
        share=share,
        spread=spread,
    )


def _misfit(deviations: NDArray[np.float64], counts: NDArray[np.float64], spread: Spread) -> float | None:
    freedom = len(deviations) - 2
    if freedom < 1 or not spread.freedom:
        return None
    squares = float((counts * deviations**2).sum()) / freedom
    if not spread.variance:
        return 0.0 if squares > 1e-18 else 1.0
    from scipy import stats

    return float(stats.f.sf(squares / spread.variance, freedom, spread.freedom))


def _turn(line: Line, share: tuple[float, float, float], spread: Spread, level: float, base: float) -> Turn | None:
    """The zero of the line, and all sizes at which the interval of the line's value holds zero (Fieller 1954)."""
    a, b = line
    if not b:
        return None
    zero = -a / b
    unit = spread.half_width(1.0, level)
    if unit is None:
        return _turned(zero, None, None, base)
    variance_a, covariance, variance_b = (unit * unit * each for each in share)
    square, middle, constant = b * b - variance_b, a * b - covariance, a * a - variance_a
    if square <= 0:
        return _turned(zero, None, None, base)
    root = math.sqrt(max(0.0, middle * middle - square * constant))
    return _turned(zero, (-middle - root) / square, (-middle + root) / square, base)


def _turned(zero: float, low: float | None, high: float | None, base: float) -> Turn:
    """From logarithms to sizes; one that is too large for a number is infinite."""

    def size(x: float) -> float:
        return base * 2.0**x if x < 1000 else math.inf

    return Turn(size(zero), None if low is None else size(low), None if high is None else size(high))


def _around(mean: float, half: float | None, count: int) -> Interval:
    return Interval(mean, None if half is None else mean - half, None if half is None else mean + half, count)
