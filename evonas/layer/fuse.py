"""Finds (y - mean(y)) / std(y) in a genome: torch computes it in one call, several times as fast as node by node."""

from evonas.graph.genome import Genome
from evonas.graph.primitive import INDEX_SETS

_SERVED = frozenset({("c", False), ("chw", False), ("hw", False), ("hw", True)})  # reduced axes, whether of groups


def standardized(genome: Genome) -> dict[int, int]:
    """Positions of the nodes (y - mean(y)) / std(y), each with the position of y.

    y varies over the whole map, and the index set is that of group, layer or instance normalization: not over the
    batch, where running values are kept, and not groups of a token's features, which torch has no call for.
    """
    found = ((position, _source(genome, position)) for position in range(len(genome.nodes)))
    return {position: source for position, source in found if source is not None}


def _source(genome: Genome, position: int) -> int | None:
    nodes, keys = genome.nodes, genome.node_keys
    if nodes[position].op != "div":
        return None
    centred, spread = (nodes[i] for i in nodes[position].inputs)
    if (centred.op, spread.op) != ("add", "std") or not _served(spread.axes):
        return None
    (source,) = spread.inputs
    if genome.varies[source] != frozenset("bchw"):
        return None
    for plain, negative in (centred.inputs, centred.inputs[::-1]):
        if keys[plain] == keys[source] and nodes[negative].op == "neg":
            mean = nodes[nodes[negative].inputs[0]]
            if (mean.op, mean.axes) == ("mean", spread.axes) and keys[mean.inputs[0]] == keys[source]:
                return source
    return None


def _served(axes: str) -> bool:
    index_set = INDEX_SETS[axes]
    return ("".join(sorted(index_set.reduced)), index_set.grouped) in _SERVED
