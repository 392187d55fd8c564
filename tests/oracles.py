"""What tests compare with, and what they draw their genomes from.

``interpret`` evaluates a genome in numpy, float64, on full [b, c, h, w] arrays, straight from the primitives'
references: no shared torch code, no reduced shapes, no common subexpressions, no peepholes.
"""

import random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.node import INITIAL, NUM_INITIAL, Node
from evonas.graph.primitive import ELEMENTWISE, INDEX_SETS, INITIAL_NODES, MOMENTS, constant, primitive_of, reference
from evonas.graph.references import Array
from evonas.graph.space import SearchSpace

MAP_LAYERS = {name: genome for name, genome in CATALOGUE.items() if "btd" not in genome.layouts}  # take [b, c, h, w]
FOR_MAPS = tuple(name for name, index_set in INDEX_SETS.items() if index_set.layout == "bchw")
NUMBERS = ("6", "-0.5", "0.001")


def interpret(genome: Genome, x: Array, parameters: dict[str, Array], *, groups: int, eps: float = 1e-5) -> Array:
    """The output of a genome's layer in training; ``parameters`` v0, v1, weight and bias are [c]."""
    full = {name: np.broadcast_to(value[None, :, None, None], x.shape) for name, value in parameters.items()}
    initial = {"x": x, "zero": np.zeros_like(x), **full}
    values: dict[int, Array] = {}
    with np.errstate(all="ignore"):
        for position in genome.active_positions:
            node = genome.nodes[position]
            operands = [values[i] for i in node.inputs]
            if node.op in INITIAL_NODES:
                values[position] = initial[node.op]
            elif (number := constant(node.op)) is not None:
                values[position] = np.full_like(x, number)
            else:
                values[position] = reference(node.op, operands, node.axes, groups, eps)
        return values[len(genome.nodes) - 1] * full["weight"] + full["bias"]


def random_parameters(channels: int, seed: int) -> dict[str, Array]:
    """Values that no two channels and no two parameters share."""
    draw = np.random.default_rng(seed)
    start = {"v0": 0.0, "v1": 1.0, "weight": 1.0, "bias": 0.0}
    return {name: value + 0.3 * draw.standard_normal(channels) for name, value in start.items()}


def viable_genomes(count: int, seed: int, space: SearchSpace | None = None) -> list[Genome]:
    """Random genomes, each of a different expression, whose output is finite and varies over all axes."""
    rng, found = random.Random(seed), dict[str, Genome]()
    x, parameters = np.random.default_rng(seed).standard_normal((3, 8, 4, 4)), random_parameters(8, seed)
    while len(found) < count:
        genome = (space or SearchSpace()).sample(rng)
        if genome.varies[-1] != frozenset("bchw") or genome.key in found:
            continue
        if np.isfinite(interpret(genome, x, parameters, groups=4)).all():
            found[genome.key] = genome
    return list(found.values())


@st.composite
def genomes(draw: Any, max_nodes: int = 10) -> Genome:
    """Any genome of up to ``max_nodes`` intermediate nodes, in a form that hypothesis can shrink."""
    nodes = list(INITIAL)
    for position in range(NUM_INITIAL, NUM_INITIAL + draw(st.integers(1, max_nodes))):
        op = draw(st.sampled_from(ELEMENTWISE + MOMENTS + NUMBERS))
        inputs = tuple(draw(st.integers(0, position - 1)) for _ in range(primitive_of(op).arity))
        nodes.append(Node(op, inputs, draw(st.sampled_from(FOR_MAPS)) if op in MOMENTS else ""))
    return Genome(tuple(nodes))
