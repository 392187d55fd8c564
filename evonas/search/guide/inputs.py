"""The fixed inputs on which layers are described, each a change of one base input, and where they lie in a vector.

All of them lie end to end in one vector, as those of the screens do; see ``evonas.search.probe``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from evonas.graph.references import Array
from evonas.search.probe import CHANNELS, Probe, Sample

SHAPE = (4, CHANNELS, 3, 3)
PLACE = (2, 1, 1)  # channel, row and column of the element that the response curve is taken at
CURVE = tuple(np.linspace(-3.0, 3.0, 13).tolist())  # values of that element, one for each sample of a batch of its own
SHAPES = {"curve": (len(CURVE), CHANNELS, 3, 3), "points": (4, CHANNELS, 1, 1)}  # those that are not as the base


@dataclass(frozen=True, slots=True)
class Inputs:
    """A probe over all inputs.

    Attributes:
        probe: what evaluates a layer on all of them at once.
        parts: the slice of each input, by name.
        shapes: the shape of each input, by name.
    """

    probe: Probe
    parts: Mapping[str, slice]
    shapes: Mapping[str, tuple[int, int, int, int]]

    def of(self, rows: Array, name: str) -> Array:
        """What an input has in each row of [layers, elements], as [layers, batch, channels, height, width]."""
        return rows[:, self.parts[name]].reshape(-1, *self.shapes[name])


@cache
def fixed_inputs() -> Inputs:
    """The inputs; the layer has v0 and v1 as at the start of training, but for ``"trained"``."""
    drawn = dict(_drawn())
    names = list(drawn)
    shapes = {name: SHAPES.get(name, SHAPE) for name in names}
    probe = Probe([Sample(shapes[name], 1.0, 0, 0) for name in names], [drawn[name] for name in names])
    return Inputs(probe, dict(zip(names, probe.parts, strict=True)), shapes)


def _drawn() -> Iterator[tuple[str, dict[str, Array]]]:
    noise = np.random.RandomState(0)  # whose streams never change
    base = _noise(noise, SHAPE)
    others = _noise(noise, SHAPE)
    one, channel, pixel = (np.zeros(SHAPE) for _ in range(3))
    one[0] = channel[:, 0] = pixel[0, :, 0, 0] = 1.0
    trained = {"v0": 0.3 * noise.standard_normal((1, CHANNELS, 1, 1))}
    trained["v1"] = 1 + 0.3 * noise.standard_normal((1, CHANNELS, 1, 1))
    curve = np.repeat(_noise(noise, (1, CHANNELS, 3, 3)), len(CURVE), axis=0)
    curve[:, *PLACE] = CURVE
    yield "base", _initial(base)
    yield "small", _initial(0.1 * base)
    yield "large", _initial(10 * base)
    yield "negated", _initial(-base)
    yield "shifted", _initial(base + 1)
    yield "sample scaled", _initial(base * (1 + 2 * one))
    yield "sample shifted", _initial(base + one)
    yield "channel scaled", _initial(base * (1 + 2 * channel))
    yield "channel shifted", _initial(base + channel)
    yield "pixel changed", _initial(base + 2 * pixel)
    yield "others changed", _initial(np.where(one == 1, base, 2 * others + 0.5))
    yield "trained", _initial(base, **trained)
    yield "off centre", _initial(0.5 * others + 2)
    yield "points", _initial(_noise(noise, SHAPES["points"]))
    yield "curve", _initial(curve)


def _noise(noise: np.random.RandomState, shape: tuple[int, int, int, int]) -> Array:
    """Unit noise around a small offset per channel, as activations have."""
    offsets = noise.standard_normal((1, shape[1], 1, 1))
    return np.asarray(noise.standard_normal(shape) + 0.3 * offsets)


def _initial(x: Array, **trained: Array) -> dict[str, Array]:
    values = {"x": x, "zero": np.zeros(1), "v0": np.zeros(1), "v1": np.ones(1)} | trained
    return {name: np.broadcast_to(value, x.shape) for name, value in values.items()}
