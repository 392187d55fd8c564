"""Numpy values and reverse-mode rules, in float64, of the primitives that need more than a line; no torch here.

A rule takes (gradient, value, operands..., eps) and gives one gradient per operand; the rule of a moment takes
(gradient, value, x, average, eps), where ``average`` puts the mean over its index set in the place of every element.
Where a function has a kink, a rule takes the slope that the torch function takes.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Average = Callable[[Array], Array]


def erf(x: Array) -> Array:
    """The error function."""
    from scipy.special import erf as of_scipy  # imported by the first layer that has one: scipy takes long to import

    found: Array = of_scipy(x)
    return found


def div(x: Array, y: Array, eps: float) -> Array:
    """Quotient x / (sign(y) max(|y|, eps)), sign(0) = 1."""
    guarded: Array = np.copysign(np.maximum(np.abs(y), eps), y)
    return x / guarded


def div_reverse(gradient: Array, value: Array, _x: Array, y: Array, eps: float) -> tuple[Array, Array]:
    """Gradients g / y and -g value / y; a divisor that is held at eps gets 0."""
    size = np.abs(y)
    by_x: Array = gradient / np.copysign(np.maximum(size, eps), y)
    return by_x, -by_x * value * (size >= eps)


def max_reverse(gradient: Array, _value: Array, x: Array, y: Array, _eps: float) -> tuple[Array, Array]:
    """Reverse rule of max(x, y): the larger operand has all of the gradient, y where both are equal."""
    by_x: Array = np.where(x > y, gradient, 0.0)
    return by_x, gradient - by_x


def min_reverse(gradient: Array, _value: Array, x: Array, y: Array, _eps: float) -> tuple[Array, Array]:
    """Reverse rule of min(x, y): the smaller operand has all of the gradient, and each half where both are equal."""
    by_x: Array = gradient * np.where(x < y, 1.0, np.where(x == y, 0.5, 0.0))
    return by_x, gradient - by_x


def slog(x: Array, eps: float) -> Array:
    """Signed logarithm sign(x) ln(|x| + eps)."""
    return np.asarray(np.sign(x) * np.log(np.abs(x) + eps))


def slog_reverse(gradient: Array, _value: Array, x: Array, eps: float) -> tuple[Array]:
    """Gradient g / (|x| + eps), and 0 at 0 where sign(x) is 0."""
    return (gradient * (x != 0) / (np.abs(x) + eps),)


def ssqrt(x: Array, eps: float) -> Array:
    """Signed root x / sqrt(|x| + eps)."""
    return np.asarray(x / np.sqrt(np.abs(x) + eps))


def ssqrt_reverse(gradient: Array, _value: Array, x: Array, eps: float) -> tuple[Array]:
    """Gradient g (|x| / 2 + eps) / (|x| + eps)^(3/2)."""
    size = np.abs(x)
    inside = size + eps
    return (gradient * (0.5 * size + eps) / (inside * np.sqrt(inside)),)


def rms(x: Array, average: Average, eps: float) -> Array:
    """Root sqrt(mean(x^2) + eps)."""
    return np.asarray(np.sqrt(average(x * x) + eps))


def rms_reverse(gradient: Array, value: Array, x: Array, average: Average, _eps: float) -> tuple[Array]:
    """Gradient mean(g) x / rms."""
    return (average(gradient) * x / value,)


def std(x: Array, average: Average, eps: float) -> Array:
    """Root sqrt(mean((x - mean x)^2) + eps)."""
    centred = x - average(x)
    return np.asarray(np.sqrt(average(centred * centred) + eps))


def std_reverse(gradient: Array, value: Array, x: Array, average: Average, _eps: float) -> tuple[Array]:
    """Gradient mean(g) (x - mean x) / std."""
    return (average(gradient) * (x - average(x)) / value,)
