"""How layers give rise to others: mutation of one, and crossover of two."""

import random

from evonas.graph.genome import Genome
from evonas.graph.node import INITIAL, NUM_INITIAL, Node
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


def cross(genome: Genome, donor: Genome, space: SearchSpace, rng: random.Random) -> tuple[Genome, str] | None:
    """A child with a part of another layer in it, and what was done; None if it has more nodes than the space allows.

    The part p is what a random active node of the donor computes, as a function of the donor's input. It is put at s,
    a random active node of the parent or its input. By a fair coin s is replaced by p(x), or by p(s); where s is the
    input or the output, it is p(s). With x / rms(x) as parent and max(x, 0) as donor, max(x / rms(x), 0) is such a
    child. Nodes that are left over are drawn at random and are not used.

    Args:
        genome: the parent.
        donor: where the part is from.
        space: how many nodes there may be, and where those left over are from.
        rng: what draws.

    Source: Koza 1992, subtree crossover, here of graphs; p(s) is ours.
    """
    output = len(genome.nodes) - 1
    place = rng.choice([p for p in genome.active_positions if p == 0 or p >= NUM_INITIAL])
    root = rng.choice([p for p in donor.active_positions if p >= NUM_INITIAL])
    composed = place in (0, output) or rng.random() < 0.5
    nodes = list(INITIAL)
    known = {position: position for position in range(NUM_INITIAL)}
    argument = _copied(genome, place, known, nodes) if composed else 0
    known[place] = _copied(
        donor, root, {position: position for position in range(1, NUM_INITIAL)} | {0: argument}, nodes
    )
    _copied(genome, output, known, nodes)
    if len(nodes) - NUM_INITIAL > space.intermediate_nodes:
        return None
    said = f"node {root} of the donor {'put after' if composed else 'in place of'} node {place}"
    return space.filled(Genome.trusted(tuple(nodes)), rng), said


def _copied(source: Genome, position: int, known: dict[int, int], nodes: list[Node]) -> int:
    """Append what a node depends on, itself last, but for what is known; where it stands then."""
    if position not in known:
        node = source.nodes[position]
        inputs = tuple([_copied(source, i, known, nodes) for i in node.inputs])
        nodes.append(Node(node.op, inputs, node.axes))
        known[position] = len(nodes) - 1
    return known[position]


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
