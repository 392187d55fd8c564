"""The map of one site: a scale and a shift per neuron."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.studies.steering.pooling import Pooling, is_spatial

NOTICEABLE = 1e-5  # how far from the identity a neuron's map is to count as steered
INVERTIBLE = 1e-6  # smallest scale that is inverted


@dataclass(frozen=True, slots=True, eq=False)
class AffineMap:
    r"""$T(z) = w z + b$ per neuron; with bounds, z where z is outside of [low, high].

    Every position moves by itself. Bounds hold for what they were fitted on: for each token and vector its own value,
    but for a map over space, [b, d, h, w] or [b, h, w, d], the pooled value of the sample. All pixels of a neuron then
    move to w z + b, or all stay; so their mean m goes to T(m) or stays.

    Attributes:
        weight: w [d].
        bias: b [d].
        low: [d]; None together with ``high``. The bounds themselves are inside.
        high: [d].
        pool: how maps over space are pooled before bounds are looked at; see ``Pooling``.
    """

    weight: Tensor
    bias: Tensor
    low: Tensor | None = None
    high: Tensor | None = None
    pool: str = "mean"

    def __call__(self, z: Tensor, axis: int = -1) -> Tensor:
        """Apply it along an axis of length d, in its own precision or better; the result has the dtype of ``z``."""
        wide = z.to(torch.promote_types(z.dtype, self.weight.dtype))
        moved = wide * _along(self.weight, z, axis) + _along(self.bias, z, axis)
        if self.low is not None and self.high is not None:
            held = _pooled(wide, axis, self.pool) if is_spatial(z, axis) else wide
            inside = (held >= _along(self.low, z, axis)) & (held <= _along(self.high, z, axis))
            moved = torch.where(inside, moved, wide)
        return moved.to(z.dtype)

    @property
    def parts(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        found = {part: getattr(self, part) for part in ("weight", "bias", "low", "high")}
        return {part: value for part, value in found.items() if value is not None}

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing at all."""
        return bool((self.weight == 1).all() and (self.bias == 0).all())

    @property
    def is_bounded(self) -> bool:
        """Whether it leaves some values alone."""
        return self.low is not None

    @property
    def support(self) -> Tensor:
        """Which neurons are steered: w differs from 1, or b from 0, by more than 1e-5. Shapes: [d], bool."""
        return ((self.weight - 1).abs() > NOTICEABLE) | (self.bias.abs() > NOTICEABLE)

    def at(self, strength: float) -> "AffineMap":
        r"""The map $\lambda T(z) + (1 - \lambda) z$."""
        return replace(self, weight=1 + strength * (self.weight - 1), bias=strength * self.bias)

    def inverse(self) -> "AffineMap":
        """The map $(z - b) / w$.

        Raises:
            InputError: it has bounds, or a scale is too near to 0.
        """
        self._require_unbounded("has no inverse")
        smallest = self.weight.abs().min()
        if not smallest >= INVERTIBLE:
            neuron = int(self.weight.abs().argmin())
            found = f"the scale of neuron {neuron} is {self.weight[neuron].item():.1e}"
            raise InputError("inverse", found, accepted=f"{INVERTIBLE} or more, either sign")
        return AffineMap(1 / self.weight, -self.bias / self.weight)

    def then(self, other: "AffineMap") -> "AffineMap":
        """The map that applies this one first: $w_2 (w_1 z + b_1) + b_2$.

        Raises:
            InputError: one of them has bounds.
        """
        for part in (self, other):
            part._require_unbounded("and another map are no single map")
        other = other.to(self.weight.device)
        return AffineMap(other.weight * self.weight, other.weight * self.bias + other.bias)

    def to(self, device: torch.device) -> "AffineMap":
        """The same map on a device."""
        moved: dict[str, Any] = {part: value.to(device) for part, value in self.parts.items()}
        return replace(self, **moved)

    def _require_unbounded(self, trouble: str) -> None:
        if self.is_bounded:
            remedy = "fit with bounded=False"
            raise InputError("map", f"one that acts between bounds only {trouble}", remedy=remedy)


def _pooled(z: Tensor, axis: int, pool: str) -> Tensor:
    """The pooled value of each sample and neuron, with axes of length 1 in place of the positions."""
    pooled = Pooling(pool, skip_first=False)(z, axis)
    shape = [1] * z.ndim
    shape[0], shape[axis] = pooled.shape
    return pooled.view(shape)


def _along(v: Tensor, z: Tensor, axis: int) -> Tensor:
    shape = [1] * z.ndim
    shape[axis] = -1
    return v.to(z.device).view(shape)
