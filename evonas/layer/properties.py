"""What a layer is like, found by trying it on random inputs: what it ignores, what it depends on, how it grows."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evonas.graph.genome import Genome
from evonas.graph.response import Response, response
from evonas.layer.lower import NormActLayer, lower
from evonas.layer.plan import layout_of

FEATURES, GROUPS = 8, 4
SHAPES = {"bchw": (4, FEATURES, 6, 6), "btd": (4, 6, FEATURES)}
FEATURE_AXIS = {"bchw": 1, "btd": 2}
TOLERANCE = 1e-6  # relative, in double precision; eps is tiny meanwhile
EPS = 1e-12
FAR = 1e4  # where slopes are taken that hold far away
STEEP = 1e-3  # a smaller slope counts as none
GRID = (-6.0, 6.0, 601)


@dataclass(frozen=True, slots=True)
class Properties:
    """Of a layer in training, before its affine, v0 and v1 at their initial values.

    Attributes:
        invariant: names of the changes of its input that do not change its output, such as ``scale of each sample``.
        depends_on: what else an element depends on beside itself: ``batch``, ``positions``, ``features``.
        growth: p of output ~ scale^p when the whole input grows; None where the output overflows.
        bounded: whether the response at held moments stays within bounds.
        monotonic: whether it never falls (``rising``), never rises (``falling``), or neither (empty).
        at_zero: its value at 0; None where it overflows.
        slopes: its slopes far to the left and far to the right; None where it overflows.
    """

    invariant: tuple[str, ...]
    depends_on: tuple[str, ...]
    growth: float | None
    bounded: bool
    monotonic: str
    at_zero: float | None
    slopes: tuple[float | None, float | None]

    def in_words(self) -> dict[str, str]:
        """What people read, by what it is about."""
        left, right = ("none (it overflows)" if slope is None else f"{slope:.4g}" for slope in self.slopes)
        at_zero = "overflows" if self.at_zero is None else f"{self.at_zero:.4g}"
        shape = [self.monotonic or "neither rising nor falling", "bounded" if self.bounded else "unbounded"]
        shape += [f"{at_zero} at 0", f"slope {left} far left and {right} far right"]
        return {
            "ignores": ", ".join(self.invariant) or "no scale and no shift of its input",
            "depends on": ", ".join(self.depends_on) or "each element alone",
            "response": ", ".join(shape) + " (moments held)",
            "large inputs": self._growth(),
        }

    def _growth(self) -> str:
        if self.growth is None:
            return "output overflows"
        return f"output grows like scale^{self.growth:.2f}" if self.growth > 0.01 else "output does not grow"


def properties(genome: Genome, layout: str | None = None, *, seed: int = 1) -> Properties:
    """Try a layer on random inputs.

    Args:
        genome: the layer.
        layout: as for ``lower``; None takes that of its moments, and images for a layer without any.
        seed: of the inputs.
    """
    layout = layout or next(iter(genome.layouts), "bchw")
    layer = lower(genome, FEATURES, layout=layout_of(genome, layout), groups=GROUPS, eps=EPS).double().train()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(SHAPES[layout], generator=generator, dtype=torch.float64) + 0.3
    with torch.no_grad():
        y = layer(x)
        changes = _changes(x, layout, generator)
        invariant = tuple(name for name, changed in changes.items() if _same(layer(changed), y))
        depends = _dependences(layer, x, y)
        growth = _growth(layer, x)
    curve = response(genome, np.linspace(*GRID))
    far = response(genome, np.array([-FAR, 0.0, FAR]))
    left, zero, right = far.y
    return Properties(
        invariant,
        depends,
        growth,
        bool(np.abs(far.slope[[0, 2]]).max() < STEEP and np.abs(far.y).max() < FAR / 10),
        _monotonic(curve),
        float(zero) if np.isfinite(zero) else None,
        (_slope(left, far.slope[0]), _slope(right, far.slope[2])),
    )


def _changes(x: Tensor, layout: str, generator: torch.Generator) -> dict[str, Tensor]:
    """The input scaled by positive factors, and shifted: as a whole, and differently for each sample and feature."""
    axis = FEATURE_AXIS[layout]

    def drawn(along: int | None) -> Tensor:
        shape = [size if at == along else 1 for at, size in enumerate(x.shape)]
        return 0.5 + 3 * torch.rand(shape, generator=generator, dtype=x.dtype)

    places = {"the whole input": None, "each sample": 0, "each channel" if layout == "bchw" else "each feature": axis}
    found = {f"scale of {name}": x * drawn(along) for name, along in places.items()}
    return found | {f"shift of {name}": x + drawn(along) for name, along in places.items()}


def _dependences(layer: NormActLayer, x: Tensor, y: Tensor) -> tuple[str, ...]:
    """What of a first sample, row or feature changes where all others do."""
    found = []
    places = {"batch": 0, "positions": 2 if layer.layout == "bchw" else 1, "features": FEATURE_AXIS[layer.layout]}
    for name, axis in places.items():
        other = x.clone()
        other.narrow(axis, 1, x.shape[axis] - 1).mul_(1.7).add_(0.4)
        if not _same(layer(other).select(axis, 0), y.select(axis, 0)):
            found.append(name)
    return tuple(found)


def _same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= TOLERANCE * max(1.0, float(other.abs().max())))


def _growth(layer: NormActLayer, x: Tensor) -> float | None:
    small, large = 1e2, 1e4
    ratio = float(layer(large * x).norm() / layer(small * x).norm().clamp_min(1e-300))
    return float(np.log(max(ratio, 1e-300)) / np.log(large / small)) if np.isfinite(ratio) else None


def _slope(value: float, slope: float) -> float | None:
    return float(slope) if np.isfinite([value, slope]).all() else None


def _monotonic(curve: Response) -> str:
    y = curve.y[np.isfinite(curve.y)]
    if not len(y):
        return ""
    steps = np.diff(y)
    slack = 1e-9 * max(1.0, float(np.abs(y).max()))
    if (steps >= -slack).all():
        return "rising"
    return "falling" if (steps <= slack).all() else ""
