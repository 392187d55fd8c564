"""Predicts a number of a large model from those of small ones: a parabola in log-log axes.

Meant for the largest attention logit, and the RMS of gradients, at one learning rate and one early step, over model
sizes. The paper marks 1e3 (losses suffer) and 1e4 (all such trainings had diverged) for logits of models without
qk-layernorm, and Adam's epsilon for gradients.

Source: Wortsman et al. 2023, who fit one quadratic for each learning rate; their code is not public. Axes, interval and
doubts are choices made here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from evonas.errors import InputError

LOSS_SUFFERS, ALL_DIVERGED = 1e3, 1e4  # largest attention logits, of the paper
_LEVEL = 0.95
FURTHEST = 10.0  # a size beyond this many times the largest one fitted is doubtful
ROUGHEST = math.log(2)  # residuals of a factor of two


class Doubt(Enum):
    """Why a prediction is not to be trusted; the value is the message for people."""

    NO_RESIDUAL = "as many coefficients as sizes: the curve goes through every point, and there is no interval"
    FEW_SIZES = "fewer than three sizes above the degree"
    FAR = f"the size is more than {FURTHEST:g} times the largest one fitted"
    ROUGH = "the sizes fitted scatter about the curve by a factor of two or more"
    TURNS = "the curve turns between the largest size fitted and this one"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A value predicted at a size: the curve, the bounds of the prediction interval, and what speaks against it."""

    size: float
    value: float
    low: float | None
    high: float | None
    doubts: tuple[Doubt, ...]

    @property
    def trusted(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.doubts

    def holds(self, measured: float) -> bool:
        """Whether a measured value lies within the interval; without one it does not."""
        return self.low is not None and self.high is not None and self.low <= measured <= self.high


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The largest size, predicted from the others, and measured."""

    prediction: Prediction
    measured: float

    @property
    def factor(self) -> float:
        """Measured over predicted."""
        return self.measured / self.prediction.value


@dataclass(frozen=True, slots=True)
class ScalingFit:
    r"""$\log y = \sum_k c_k u^k$ with $u = \log(N / N_0)$, $N_0$ the geometric mean of the sizes, by least squares.

    Attributes:
        coefficients: c_0 first.
        sizes: N of the points, ascending.
        deviation: standard deviation of the residuals of log y (n - degree - 1), NaN where the curve meets all points.
    """

    coefficients: tuple[float, ...]
    sizes: tuple[float, ...]
    deviation: float

    def predict(self, size: float, level: float = _LEVEL) -> Prediction:
        """The value at a size, with Student's interval for one new point there.

        Raises:
            InputError: the size is not positive.
        """
        _require_positive("size", size)
        row = self._design(np.array([size]))[0]
        center = float(row @ np.array(self.coefficients))
        free = len(self.sizes) - len(self.coefficients)
        low = high = None
        if free:
            from scipy import stats  # takes long to import

            design = self._design(np.array(self.sizes))
            spread = self.deviation * math.sqrt(1 + row @ np.linalg.inv(design.T @ design) @ row)
            half = float(stats.t.ppf((1 + level) / 2, free)) * spread
            low, high = _exp(center - half), _exp(center + half)
        return Prediction(size, _exp(center), low, high, self._doubts(size))

    @property
    def _middle(self) -> float:
        return math.exp(float(np.mean(np.log(self.sizes))))

    def _design(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.vander(np.log(sizes / self._middle), len(self.coefficients), increasing=True)

    def _doubts(self, size: float) -> tuple[Doubt, ...]:
        degree = len(self.coefficients) - 1
        found = {
            Doubt.NO_RESIDUAL: len(self.sizes) == degree + 1,
            Doubt.FEW_SIZES: len(self.sizes) < degree + 3,
            Doubt.FAR: size > FURTHEST * self.sizes[-1],
            Doubt.ROUGH: self.deviation >= ROUGHEST,
            Doubt.TURNS: self._turns_before(size),
        }
        return tuple(doubt for doubt, holds in found.items() if holds)

    def _turns_before(self, size: float) -> bool:
        start, stop = (math.log(n / self._middle) for n in (self.sizes[-1], size))
        slope = np.polynomial.Polynomial(self.coefficients).deriv()
        return any(start < root < stop for root in _real_roots(slope))


def fit_scaling(values: Mapping[float, float], degree: int = 2) -> ScalingFit:
    """Fit the logarithm of a value against the logarithm of the size.

    Args:
        values: by number of parameters N (without embedding and head), all at one learning rate and one step.
        degree: of the polynomial.

    Raises:
        InputError: too few sizes, or one, a value, or the degree that is not positive.
    """
    if degree < 1:
        raise InputError("degree", str(degree), accepted="1 or more")
    if len(values) <= degree:
        raise InputError("values", f"{len(values)} sizes", accepted=f"{degree + 1} or more for degree {degree}")
    for size, value in values.items():
        _require_positive("size", size)
        _require_positive(f"value at size {size:g}", value)
    sizes = np.array(sorted(values), float)
    logs = np.log([values[size] for size in sorted(values)])
    u = np.log(sizes)
    design = np.vander(u - u.mean(), degree + 1, increasing=True)
    coefficients, *_ = np.linalg.lstsq(design, logs, rcond=None)
    free = len(sizes) - degree - 1
    squares = float(np.sum((logs - design @ coefficients) ** 2))
    return ScalingFit(
        tuple(coefficients.tolist()), tuple(sizes.tolist()), math.sqrt(squares / free) if free else math.nan
    )


def hold_out(values: Mapping[float, float], degree: int = 2, level: float = _LEVEL) -> HeldOut:
    """Fit all sizes but the largest, and predict that one.

    Raises:
        InputError: as ``fit_scaling``, for the sizes that are left.
    """
    if not values:
        raise InputError("values", "0 sizes", accepted=f"{degree + 2} or more to hold one out")
    largest = max(values)
    _require_positive(f"value at size {largest:g}", values[largest])
    rest = {size: value for size, value in values.items() if size != largest}
    return HeldOut(fit_scaling(rest, degree).predict(largest, level), values[largest])


def _require_positive(what: str, number: float) -> None:
    if not (math.isfinite(number) and number > 0):
        raise InputError(what, str(number), accepted="a positive number: its logarithm is taken")


def _real_roots(polynomial: np.polynomial.Polynomial) -> list[float]:
    roots = polynomial.roots()
    return [float(root) for root in roots[np.isreal(roots)].real]


def _exp(exponent: float) -> float:
    """exp, with inf instead of an error: an interval may be that wide."""
    return math.exp(exponent) if exponent < 700 else math.inf
