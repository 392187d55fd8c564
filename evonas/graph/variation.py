"""Mutation of genomes. There is no crossover."""

import random

from evonas.graph.genome import Genome
from evonas.graph.node import NUM_INITIAL, Node
from evonas.graph.space import SearchSpace


def mutate(genome: Genome, space: SearchSpace, rng: random.Random) -> tuple[Genome, str]:
    """A child with one intermediate node drawn anew, and what was done.

    Three steps: pick an intermediate node uniformly; replace its operation by a uniformly random one; draw its inputs
    uniformly among earlier nodes. The node may be inactive and the draw may repeat what stood there, so many children
    compute what their parent does.

    Source: Liu et al. 2020, mutation.
    """
    position = rng.randrange(NUM_INITIAL, len(genome.nodes))
    node = space.sample_node(position, rng)
    nodes = (*genome.nodes[:position], node, *genome.nodes[position + 1 :])
    return Genome.trusted(nodes), f"node {position}: {_show(genome.nodes[position])} -> {_show(node)}"


def _show(node: Node) -> str:
    axes = f"[{node.axes}]" if node.axes else ""
    return f"{node.op}{axes}({', '.join(str(i) for i in node.inputs)})"
