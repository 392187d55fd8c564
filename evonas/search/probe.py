"""Forward and backward passes of genomes over fixed inputs, in numpy and float64: no lowering, no torch.

Screens see thousands of graphs a second, each for the first time, and a tiny tensor costs torch what a small one
does. So all inputs of a probe, whatever their shapes and scales, lie end to end in one vector: an elementwise
operation is one call for all of them, and a moment one weighted count over segments that never join two inputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from evonas.graph.genome import Genome
from evonas.graph.node import NUM_INITIAL, Node
from evonas.graph.primitive import INDEX_SETS, INITIAL_NODES, PRIMITIVES, IndexSet, constant
from evonas.graph.references import Array, Average

CHANNELS, GROUPS = 8, 4
TRAINABLE = {"v0": 0.0, "v1": 1.0}  # by name, their initial values
MapShape = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One input: unit noise around a small offset per channel, as activations have, times ``scale``.

    Attributes:
        shape: [b, c, h, w] with c = ``CHANNELS``.
        scale: factor of the noise.
        noise: seed of the noise.
        parameters: seed of v0 (standard normal) and v1 (around 1), which are random: initial values would hide what
            they do.
        held: which of the two have their initial values, 0 and 1, all the same.
        spread: deviation of v1.
    """

    shape: MapShape
    scale: float
    noise: int
    parameters: int
    held: frozenset[str] = frozenset()
    spread: float = 0.3

    def __str__(self) -> str:
        return f"scale {self.scale:g}, input {'x'.join(map(str, self.shape))}"


class Probe:
    """The inputs of some samples as one vector.

    Args:
        samples: the inputs; they are drawn from their seeds, unless they are given.
        initial: the initial nodes by name for each sample, in its full shape, instead of drawn ones.

    Attributes:
        samples: what lies in the vector, in order.
        initial: the initial nodes, each as a vector.
        parts: the slice of each sample.
        weights: 1 over the size of its sample, for each element: weighted sums are means over samples.
    """

    def __init__(self, samples: Sequence[Sample], initial: Sequence[Mapping[str, Array]] = ()) -> None:
        self.samples = tuple(samples)
        ends = np.cumsum([prod(sample.shape) for sample in samples]).tolist()
        self.parts = tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False))
        self.weights = np.concatenate([np.full(prod(s.shape), 1 / prod(s.shape)) for s in samples])
        drawn = initial or [_draw(sample) for sample in samples]
        self.initial = {name: np.concatenate([values[name].ravel() for values in drawn]) for name in INITIAL_NODES}
        self._averages: dict[str, Average] = {}  # over index sets, made when they are first needed

    def forward(self, genome: Genome, eps: float) -> dict[int, Array]:
        """The values of the active nodes by position, ascending; the last is the output. Moments are the batch's."""
        values: dict[int, Array] = {}
        for position in genome.active_positions:
            node = genome.nodes[position]
            if node.inputs:
                function: Any = PRIMITIVES[node.op].numpy
                values[position] = function(*self._arguments(node, values), eps)
            elif position < NUM_INITIAL:
                values[position] = self.initial[node.op]
            else:
                values[position] = np.full(self.weights.shape, constant(node.op))
        return values

    def backward(self, genome: Genome, values: dict[int, Array], gradient: Array, eps: float) -> dict[int, Array]:
        """Gradients of the active nodes that depend on x, v0 or v1, given that of the output.

        They are those of single elements: what does not vary along an axis has the gradient of each repetition.
        """
        needed = set[int]()
        for position in values:
            node = genome.nodes[position]
            if node.op in ("x", "v0", "v1") or not needed.isdisjoint(node.inputs):
                needed.add(position)
        gradients = {len(genome.nodes) - 1: gradient}
        for position in reversed(values):
            node = genome.nodes[position]
            if position not in needed or not node.inputs:
                continue
            rule: Any = PRIMITIVES[node.op].reverse
            of_operands = rule(gradients[position], values[position], *self._arguments(node, values), eps)
            for source, of_source in zip(node.inputs, of_operands, strict=True):
                if source in needed:
                    gradients[source] = gradients[source] + of_source if source in gradients else of_source
        return gradients

    def _arguments(self, node: Node, values: dict[int, Array]) -> list[Any]:
        """Operands, and for a moment what averages over its index set."""
        operands = [values[i] for i in node.inputs]
        if not node.axes:
            return operands
        if node.axes not in self._averages:
            self._averages[node.axes] = _average(INDEX_SETS[node.axes], self.samples)
        return [*operands, self._averages[node.axes]]


def _draw(sample: Sample) -> dict[str, Array]:
    """The initial nodes in full shape. ``RandomState`` because its streams never change."""
    _, channels, _, _ = sample.shape
    noise, parameters = np.random.RandomState(sample.noise), np.random.RandomState(1000 + sample.parameters)
    x = noise.standard_normal(sample.shape) + 0.3 * noise.standard_normal((1, channels, 1, 1))
    v0 = parameters.standard_normal((1, channels, 1, 1))
    v1 = 1 + sample.spread * parameters.standard_normal((1, channels, 1, 1))
    initial = {"x": sample.scale * x, "zero": np.zeros(1), "v0": v0, "v1": v1}
    initial |= {name: np.full(1, value) for name, value in TRAINABLE.items() if name in sample.held}
    return {name: np.broadcast_to(value, sample.shape) for name, value in initial.items()}


def _average(index_set: IndexSet, samples: Sequence[Sample]) -> Average:
    """The mean over an index set, put in the place of every element of the vector."""
    segments, total = [], 0
    for sample in samples:
        segment = _segments(index_set, sample.shape)
        segments.append(segment.ravel() + total)
        total += int(segment.max()) + 1
    segment_of = np.concatenate(segments)
    sizes = np.bincount(segment_of)
    return lambda x: (np.bincount(segment_of, x) / sizes)[segment_of]


def _segments(index_set: IndexSet, shape: MapShape) -> np.ndarray:
    """Which mean an element of [b, c, h, w] belongs to, numbered from 0."""
    sizes = dict(zip("bchw", shape, strict=True)) | dict.fromkeys(index_set.reduced, 1)
    if index_set.grouped:
        sizes["c"] = GROUPS
    numbers = np.arange(prod(sizes.values())).reshape(tuple(sizes.values()))
    return np.broadcast_to(numbers.repeat(shape[1] // GROUPS, axis=1) if index_set.grouped else numbers, shape)
