"""How a paired difference depends on a size: a straight line in the logarithm of the size, and where its sign turns.

The variance of a difference is estimated within sizes and pooled over all sizes of a family, so that a size with three
seeds borrows precision from the others; where its own estimate is larger, that one counts, since some sizes are noisier
than others. Sizes must have been measured under seeds of their own: then their means are independent.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray

from evonas.report.statistics import LEVEL, Interval

Line = tuple[float, float]
Errors = tuple[float, float, float]  # variances and covariance of the two numbers of a line


@dataclass(frozen=True, slots=True)
class Spread:
    """A pooled variance of single differences with its degrees of freedom, 0 of these if no size has two numbers."""

    variance: float
    freedom: int

    def half_width(self, squared_error: float, level: float) -> float | None:
        """Half of Student's interval of an estimate with this variance."""
        if not self.freedom:
            return None
        from scipy import stats  # takes long to import, and most readers of this module never get here

        quantile = float(stats.t.ppf((1 + level) / 2, self.freedom))
        return quantile * math.sqrt(max(0.0, squared_error))

    def of(self, values: Sequence[float]) -> float:
        """The variance of one of these differences: the pooled one or their own, whichever is larger."""
        return max(self.variance, variance(values)) if len(values) > 1 else self.variance

    def interval(self, values: Sequence[float], level: float = LEVEL) -> Interval:
        """Of the mean of some differences."""
        return _around(fmean(values), self.half_width(self.of(values) / len(values), level), len(values))


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

    The weight of a size is its number of differences: weights by estimated variances would be too noisy.

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
        errors: the variance of ``a``, its covariance with ``b``, and the variance of ``b``.
        spread: of single differences.
    """

    base: float
    smallest: float
    largest: float
    level: float
    at_base: Interval
    slope: Interval
    turn: Turn | None
    misfit: float | None
    errors: Errors
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
        variance_a, covariance, variance_b = self.errors
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
    errors_of_means = np.array([spread.of(values) for values in kept.values()]) / counts
    design = np.stack([np.ones_like(x), x], axis=1)
    solve = np.linalg.inv(design.T @ (counts[:, None] * design)) @ (design.T * counts)
    a, b = (float(value) for value in solve @ means)
    covariances = solve @ (errors_of_means[:, None] * solve.T)
    errors = (float(covariances[0, 0]), float(covariances[0, 1]), float(covariances[1, 1]))
    count = int(counts.sum())
    return Law(
        base=base,
        smallest=min(kept),
        largest=max(kept),
        level=level,
        at_base=_around(a, spread.half_width(errors[0], level), count),
        slope=_around(b, spread.half_width(errors[2], level), count),
        turn=_turn((a, b), errors, spread, level, base),
        misfit=_misfit(means - a - b * x, errors_of_means, spread),
        errors=errors,
        spread=spread,
    )


def _misfit(deviations: NDArray[np.float64], errors_of_means: NDArray[np.float64], spread: Spread) -> float | None:
    freedom = len(deviations) - 2
    if freedom < 1 or not spread.freedom:
        return None
    if not errors_of_means.all():
        return 0.0 if np.abs(deviations).max() > 1e-9 else 1.0
    from scipy import stats

    return float(stats.f.sf(float((deviations**2 / errors_of_means).sum()) / freedom, freedom, spread.freedom))


def _turn(line: Line, errors: Errors, spread: Spread, level: float, base: float) -> Turn | None:
    """The zero of the line, and all sizes at which the interval of the line's value holds zero (Fieller 1954)."""
    a, b = line
    if not b:
        return None
    zero = -a / b
    unit = spread.half_width(1.0, level)
    if unit is None:
        return _turned(zero, None, None, base)
    variance_a, covariance, variance_b = (unit * unit * each for each in errors)
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
