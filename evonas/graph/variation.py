"""Mutation of genomes. There is no crossover."""

import random

from evonas.graph.genome import Genome
from evonas.graph.node import NUM_INITIAL, Node
from evonas.graph.primitive import PRIMITIVES
from evonas.graph.space import SearchSpace


def mutate(genome: Genome, space: SearchSpace, rng: random.Random, *, point: float = 0.0) -> tuple[Genome, str]:
    """A child with one intermediate node changed, and what was done.

    Published: pick an intermediate node uniformly; replace its operation by a uniformly random one; draw its inputs
    uniformly among earlier nodes. The node may be inactive and the draw may repeat what stood there, so many children
    compute what their parent does.

    Args:
        genome: the parent.
        space: where operations are from.
        rng: what draws.
        point: share of mutations that change one thing of the node alone, its operation or one input, and so stay
            nearer to the parent: those of Cartesian genetic programming (Miller & Thomson 2000).

    Source: Liu et al. 2020, mutation.
    """
    position = rng.randrange(NUM_INITIAL, len(genome.nodes))
    old = genome.nodes[position]
    small = point > 0 and bool(old.inputs) and rng.random() < point
    node = _changed_in_one_point(old, position, space, rng) if small else space.sample_node(position, rng)
    nodes = (*genome.nodes[:position], node, *genome.nodes[position + 1 :])
    return Genome.trusted(nodes), f"node {position}: {_show(old)} -> {_show(node)}"


def _changed_in_one_point(node: Node, position: int, space: SearchSpace, rng: random.Random) -> Node:
    """The node with another input, or with an operation (and index set) of as many inputs, by a fair coin."""
    others = [c for c in space.choices if PRIMITIVES[c[0]].arity == len(node.inputs) and c != (node.op, node.axes)]
    if others and rng.random() < 0.5:
        op, axes = rng.choice(others)
        return Node(op, node.inputs, axes)
    slot = rng.randrange(len(node.inputs))
    inputs = (*node.inputs[:slot], rng.randrange(position), *node.inputs[slot + 1 :])
    return Node(node.op, inputs, node.axes)


def _show(node: Node) -> str:
    axes = f"[{node.axes}]" if node.axes else ""
    return f"{node.op}{axes}({', '.join(str(i) for i in node.inputs)})"
