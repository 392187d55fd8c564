"""What a hypernetwork is conditioned on: named inputs, the range of each, and how they are encoded."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from evonas.errors import InputError

InputRange = tuple[float, float]
Gamma = Tensor | float | Mapping[str, Tensor | float]

ONLY = "gamma"  # the name of an input that was given by its size alone
UNIT: InputRange = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Named inputs in order; what is joined to one vector has the coordinates of the first input first.

    Attributes:
        sizes: number of coordinates of each input.
        ranges: (lo, hi) of each input's coordinates.
    """

    sizes: Mapping[str, int]
    ranges: Mapping[str, InputRange]

    @classmethod
    def of(cls, sizes: int | Mapping[str, int], ranges: InputRange | Mapping[str, InputRange] = UNIT) -> "Inputs":
        """Inputs as users write them.

        Args:
            sizes: the number of coordinates of a single input called ``gamma``, or of each input by name.
            ranges: one range for all inputs, or ranges by name; (0, 1) where a name is left out.

        Raises:
            InputError: no input, a size below 1, a range without extent, or a range of an unknown input.
        """
        named = {ONLY: sizes} if isinstance(sizes, int) else dict(sizes)
        if not named:
            raise InputError("inputs", "none", accepted="a number of coordinates, or a mapping from names to numbers")
        for name, size in named.items():
            if not isinstance(size, int) or size < 1:
                raise InputError(f"inputs: {name}", f"{size} coordinates", accepted="a whole number, 1 or more")
        given = dict(ranges) if isinstance(ranges, Mapping) else dict.fromkeys(named, ranges)
        _require_known(given, named, "ranges")
        filled = {name: given.get(name, UNIT) for name in named}
        for name, (lo, hi) in filled.items():
            if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
                raise InputError(f"ranges: {name}", f"({lo}, {hi})", accepted="(lo, hi), finite, lo < hi")
        return cls(named, filled)

    @property
    def size(self) -> int:
        """Coordinates of all inputs together."""
        return sum(self.sizes.values())

    def unit(self, gamma: Gamma, like: Tensor) -> Tensor:
        """Map gamma from its ranges to [0, 1], with the dtype and on the device of ``like``.

        Args:
            gamma: the joined vector [d] or [n, d], or a vector for each input by name; where some have a leading n
                and others do not, the others are shared. A number stands for a vector of one coordinate.
            like: a parameter of the network that takes the result.

        Shapes: -> [d] or [n, d], d = ``size``.

        Raises:
            InputError: wrong names or shapes, numbers that are not finite, or outside of the range.
        """
        parts = self._parts(gamma, like)
        counts = {len(part) for part in parts.values() if part.ndim == 2}
        if len(counts) > 1 or 0 in counts:
            raise InputError(ONLY, f"leading sizes {sorted(counts)}", accepted="one size n >= 1 for all inputs")
        units = []
        for name, part in parts.items():
            lo, hi = self.ranges[name]
            if not torch.compiler.is_compiling():
                _require_within(name, part, lo, hi)
            units.append((part - lo) / (hi - lo))
        leading = next(iter(counts), None)
        if leading is not None:
            units = [unit.expand(leading, -1) for unit in units]
        return torch.cat(units, dim=-1)

    def from_unit(self, unit: Tensor) -> Tensor:
        """The inverse: [..., d] in [0, 1] to the ranges."""
        lo, hi = (
            torch.tensor([self.ranges[name][end] for name, size in self.sizes.items() for _ in range(size)]).to(unit)
            for end in (0, 1)
        )
        return torch.lerp(lo, hi, unit)

    def diagonal(self, steps: Tensor) -> Tensor:
        """Gammas [n, d] all coordinates of which are at the same place of their ranges: ``steps`` [n] in [0, 1]."""
        return self.from_unit(steps[:, None].expand(-1, self.size))

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` gammas [count, d], uniform over the ranges."""
        return self.from_unit(torch.rand((count, self.size), generator=generator))

    def _parts(self, gamma: Gamma, like: Tensor) -> dict[str, Tensor]:
        if isinstance(gamma, Mapping):
            _require_known(gamma, self.sizes, ONLY)
            if missing := [name for name in self.sizes if name not in gamma]:
                raise InputError(ONLY, f"lacks {', '.join(missing)}", accepted=f"all of {', '.join(self.sizes)}")
            return {name: _vector(name, gamma[name], size, like) for name, size in self.sizes.items()}
        joined = _vector(ONLY, gamma, self.size, like)
        return dict(zip(self.sizes, joined.split(list(self.sizes.values()), dim=-1), strict=True))


def cos_sin(unit: Tensor) -> Tensor:
    """[cos(pi/2 z), sin(pi/2 z)] of each coordinate, all cosines, then all sines: its norm is sqrt(d) for every z.

    Injective for z in [0, 1] only. Shapes: [..., d] -> [..., 2 d].
    Source: arXiv 2304.07645, input encoding.
    """
    angle = unit * (math.pi / 2)
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


def _vector(name: str, value: Tensor | float, size: int, like: Tensor) -> Tensor:
    if not isinstance(value, Tensor | float | int) or (isinstance(value, Tensor) and value.is_complex()):
        found = "complex numbers" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise InputError(name, found, accepted="a real tensor, or a number for one coordinate")
    vector = torch.as_tensor(value, device=like.device).to(like.dtype)
    if vector.ndim == 0 and size == 1:
        vector = vector.view(1)
    if vector.ndim not in (1, 2) or vector.shape[-1] != size:
        raise InputError(name, f"shape {list(vector.shape)}", accepted=f"[{size}], or [n, {size}] for n of them")
    return vector


def _require_within(name: str, values: Tensor, lo: float, hi: float) -> None:
    if bool(((values >= lo) & (values <= hi)).all()):  # false for what is not a number
        return
    if not bool(values.isfinite().all()):
        raise InputError(name, "is not finite", accepted=f"numbers from {lo:g} to {hi:g}")
    found = f"holds {values.detach().min():g} to {values.detach().max():g}"
    remedy = "ranges=(lo, hi) of the hypernetwork says what is mapped to [0, 1]"
    raise InputError(name, found, accepted=f"from {lo:g} to {hi:g}", remedy=remedy)


def _require_known(given: Mapping[str, object], known: Mapping[str, int], where: str) -> None:
    if unknown := [name for name in given if name not in known]:
        raise InputError(where, f"no input is called {', '.join(map(repr, unknown))}", accepted=", ".join(known))
