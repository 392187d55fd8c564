"""What tests draw their genomes from, and ``interpret`` of ``evonas.testing``, which they compare with."""

import random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.node import INITIAL, NUM_INITIAL, Node
from evonas.graph.primitive import INDEX_SETS, of_kind, primitive_of
from evonas.graph.space import SearchSpace
from evonas.testing.reference import interpret as interpret
from evonas.testing.reference import random_parameters as random_parameters

MAP_LAYERS = {name: genome for name, genome in CATALOGUE.items() if "btd" not in genome.layouts}  # take [b, c, h, w]
FOR_MAPS = tuple(name for name, index_set in INDEX_SETS.items() if index_set.layout == "bchw")
NUMBERS = ("6", "-0.5", "0.001")


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
def genomes(
    draw: Any, max_nodes: int = 10, axes: tuple[str, ...] = FOR_MAPS, numbers: tuple[str, ...] = NUMBERS
) -> Genome:
    """Any genome of up to ``max_nodes`` intermediate nodes, in a form that hypothesis can shrink."""
    nodes = list(INITIAL)
    for position in range(NUM_INITIAL, NUM_INITIAL + draw(st.integers(1, max_nodes))):
        op = draw(st.sampled_from(of_kind("elementwise", "moment") + numbers))
        inputs = tuple(draw(st.integers(0, position - 1)) for _ in range(primitive_of(op).arity))
        nodes.append(Node(op, inputs, draw(st.sampled_from(axes)) if op in of_kind("moment") else ""))
    return Genome(tuple(nodes))
