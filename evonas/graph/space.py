"""The search space: which genomes exist, and how a random one is drawn."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from evonas import config
from evonas.errors import InputError
from evonas.extensions import load_extensions
from evonas.graph.genome import Genome
from evonas.graph.node import INITIAL, NUM_INITIAL, Node
from evonas.graph.primitive import INDEX_SETS, LAYOUTS, PRIMITIVES, PUBLISHED, of_kind, takes
from evonas.graph.spelling import without_numbers
from evonas.registry import Record, Registry


@dataclass(frozen=True)
class SearchSpace:
    """Genomes of a fixed number of intermediate nodes over chosen primitives and index sets.

    Attributes:
        primitives: names of elementwise operations and moments; those of the published space unless given.
        index_sets: names of the index sets moments may use; all of evonas itself that may be unless given.
        intermediate_nodes: nodes after the four initial ones; the last is the output.
        layout: axes of the tensors, ``bchw`` or ``btd``.
        causal: of ``btd``, whether index sets that reach over tokens are left out, so that no layer of the space can
            look at later tokens.
    """

    primitives: tuple[str, ...] = PUBLISHED
    index_sets: tuple[str, ...] = ()
    intermediate_nodes: int = 10
    layout: str = "bchw"
    causal: bool = True

    def __post_init__(self) -> None:
        _check_names("space.primitives", self.primitives, of_kind("elementwise", "moment"), PRIMITIVES)
        if self.layout not in LAYOUTS:
            raise InputError("space.layout", repr(self.layout), accepted=", ".join(LAYOUTS))
        of_layout = [s for s in INDEX_SETS.values() if s.layout == self.layout]
        allowed = tuple(s.name for s in of_layout if not (self.layout == "btd" and self.causal and s.over_tokens))
        for name in self.index_sets:
            if name in INDEX_SETS and INDEX_SETS[name] in of_layout and name not in allowed:
                remedy = "for models that are not causal, set space.causal = false"
                found = f"{name} reaches over tokens, later ones too"
                raise InputError("space.index_sets", found, accepted=", ".join(allowed), remedy=remedy)
        _check_names("space.index_sets", self.index_sets, allowed, INDEX_SETS)
        if not self.index_sets:  # a search does not depend on which extensions happen to be there
            object.__setattr__(self, "index_sets", tuple(n for n in allowed if n in INDEX_SETS.builtin))
        for name in self.primitives:
            if not any(op == name for op, _ in self.choices):
                remedy = "it has no running values for statistics over the batch"
                raise InputError("space.index_sets", f"none that {name} may be taken over", remedy=remedy)

    @classmethod
    def from_config(cls, section: config.SpaceConfig) -> "SearchSpace":
        """The space of a configuration's ``[space]``."""
        primitives = section.primitives or PUBLISHED
        return cls(primitives, section.index_sets, section.intermediate_nodes, section.layout, section.causal)

    @classmethod
    def load(cls, path: str | Path) -> "SearchSpace":
        """The space of a search file, whose extensions are loaded; ``path`` may be the name of one that evonas has.

        Raises:
            InputError: naming file and key.
        """
        settings = config.load_search(path)
        try:
            load_extensions(settings.extensions)
            return cls.from_config(settings.space)
        except InputError as error:
            raise error.at(str(path)) from None

    @cached_property
    def choices(self) -> tuple[tuple[str, str], ...]:
        """Every (operation, index set) a node may be: each moment counts once per index set that it takes."""
        result: list[tuple[str, str]] = []
        for name in self.primitives:
            primitive = PRIMITIVES[name]
            fitting = (axes for axes in self.index_sets if takes(primitive, INDEX_SETS[axes]))
            result.extend((name, axes) for axes in (fitting if primitive.kind == "moment" else ("",)))
        return tuple(result)

    @cached_property
    def _draws(self) -> tuple[tuple[str, str, int], ...]:
        return tuple((op, axes, PRIMITIVES[op].arity) for op, axes in self.choices)

    def sample_node(self, position: int, rng: random.Random) -> Node:
        """A uniformly random operation on uniformly random earlier nodes."""
        bits = rng.getrandbits
        op, axes, arity = self._draws[_below(len(self._draws), bits)]
        if arity == 1:
            return _node(op, (_below(position, bits),), axes)
        if arity == 2:
            return _node(op, (_below(position, bits), _below(position, bits)), axes)
        return _node(op, tuple([_below(position, bits) for _ in range(arity)]), axes)

    def sample(self, rng: random.Random) -> Genome:
        """A random genome: nodes are appended one after the other, each drawn by ``sample_node``.

        Source: Liu et al. 2020, random graph generation.
        """
        positions = range(NUM_INITIAL, NUM_INITIAL + self.intermediate_nodes)
        return Genome.trusted(INITIAL + tuple([self.sample_node(position, rng) for position in positions]))

    def violations(self, genome: Genome) -> tuple[str, ...]:
        """Why a genome is not of this space; empty if it is. Inactive nodes count."""
        found: list[str] = []
        count = len(genome.nodes) - NUM_INITIAL
        if count > self.intermediate_nodes:
            found.append(f"{count} intermediate nodes, more than {self.intermediate_nodes}")
        for position, node in enumerate(genome.nodes[NUM_INITIAL:], NUM_INITIAL):
            if node.op not in self.primitives:
                found.append(f"node {position}: primitive {node.op} is not in the space")
            elif node.axes and node.axes not in self.index_sets:
                found.append(f"node {position}: index set {node.axes} is not in the space")
        return tuple(found)

    def padded(self, genome: Genome) -> Genome:
        """The same layer with as many intermediate nodes as the space has, so that mutation can use them.

        Inactive nodes ``neg(x)`` are put before the layer's own. Numbers, which formulas for people have and spaces
        have not, are spelled out.

        Raises:
            InputError: the genome is not of this space.
        """
        genome = without_numbers(genome, squares="square" in self.primitives)
        problems = self.violations(genome)
        if problems:
            raise InputError("genome", "; ".join(problems))
        missing = self.intermediate_nodes - (len(genome.nodes) - NUM_INITIAL)
        return Genome(_behind((Node("neg", (0,)),) * missing, genome))

    def filled(self, genome: Genome, rng: random.Random) -> Genome:
        """The same layer with as many intermediate nodes as the space has: random ones before the layer's own."""
        stop = NUM_INITIAL + self.intermediate_nodes - (len(genome.nodes) - NUM_INITIAL)
        unused = [self.sample_node(position, rng) for position in range(NUM_INITIAL, stop)]
        return Genome.trusted(_behind(tuple(unused), genome))


def _behind(unused: tuple[Node, ...], genome: Genome) -> tuple[Node, ...]:
    """The nodes of a layer with unused ones between the initial ones and its own."""
    moved = (
        Node(n.op, tuple(i if i < NUM_INITIAL else i + len(unused) for i in n.inputs), n.axes)
        for n in genome.nodes[NUM_INITIAL:]
    )
    return INITIAL + unused + tuple(moved)


def _below(count: int, bits: Callable[[int], int]) -> int:
    """What ``random.Random.randrange(count)`` draws, in half the time: sampling is most of what screening costs."""
    size = count.bit_length()
    number = bits(size)
    while number >= count:
        number = bits(size)
    return number


@cache
def _node(op: str, inputs: tuple[int, ...], axes: str) -> Node:
    """Nodes are shared: a space has thousands of different ones, a search draws millions."""
    return Node(op, inputs, axes)


def _check_names(where: str, names: tuple[str, ...], accepted: tuple[str, ...], table: Registry[Record]) -> None:
    for name in names:
        if name not in accepted:
            raise table.unknown(name, where, accepted)
    if duplicates := [repr(name) for name, count in Counter(names).items() if count > 1]:
        raise InputError(where, f"duplicate names: {', '.join(duplicates)}", accepted="each name once")
