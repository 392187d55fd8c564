"""A layer as a function of one number: its response to one element of a map whose moments are held."""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evonas.graph.genome import Genome
from evonas.graph.primitive import PRIMITIVES, constant
from evonas.graph.references import Array

POPULATION = 201  # values that stand for the rest of the map
STEP = 1e-4  # of the central difference


@dataclass(frozen=True, slots=True)
class Response:
    """y = f(x) and its slope at some points."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    slope: NDArray[np.float64]


def response(
    genome: Genome,
    x: NDArray[np.float64],
    *,
    mean: float = 0.0,
    std: float = 1.0,
    v0: float = 0.0,
    v1: float = 1.0,
    eps: float = 1e-5,
) -> Response:
    """What a layer, before its affine, makes of single elements of a map.

    The map is a population of 201 quantiles of N(mean, std^2): the moment of any node, over any index set, is that of
    its values over the population. These are held while the element takes the values ``x``; the slope is the central
    difference. So it is the response of one of very many elements.

    Args:
        genome: the layer.
        x: points [n].
        mean: of the map.
        std: standard deviation of the map.
        v0: the per-channel parameter of that name.
        v1: the other one.
        eps: guard inside roots, divisions and logarithms.
    """
    parts = (population(mean, std), x, x + STEP, x - STEP)
    values = evaluate(genome, np.concatenate(parts), v0=v0, v1=v1, eps=eps)
    _, y, above, below = np.split(values, np.cumsum([len(part) for part in parts])[:-1])
    with np.errstate(invalid="ignore", over="ignore"):  # where the response overflows there is no slope
        return Response(x, y, (above - below) / (2 * STEP))


def population(mean: float, std: float) -> Array:
    """The quantiles of N(mean, std^2) that stand for a map."""
    normal = NormalDist()
    return np.array([mean + std * normal.inv_cdf((number + 0.5) / POPULATION) for number in range(POPULATION)])


def evaluate(genome: Genome, x: Array, *, v0: float, v1: float, eps: float) -> Array:
    """The layer's values [n] at x [n], where moments are taken over the first ``POPULATION`` elements alone."""

    def average(values: Array) -> Array:
        return np.full(x.shape, values[:POPULATION].mean())

    initial = {"x": x, "zero": np.zeros(x.shape), "v0": np.full(x.shape, v0), "v1": np.full(x.shape, v1)}
    values: dict[int, Array] = {}
    with np.errstate(all="ignore"):
        for position in genome.active_positions:
            node = genome.nodes[position]
            if not node.inputs:
                known = initial.get(node.op)
                values[position] = np.full(x.shape, constant(node.op)) if known is None else known
                continue
            function: Any = PRIMITIVES[node.op].numpy
            operands: list[Any] = [values[source] for source in node.inputs]
            values[position] = function(*operands, *([average] if node.axes else []), eps)
    return values[max(values)]
