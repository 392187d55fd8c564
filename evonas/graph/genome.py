"""The genome: a tuple of nodes that mutation works on, and the networkx graph of its active nodes.

The tuple is the genotype: mutation, hashing and storage are one-liners on it. The graph is the phenotype: lowering,
drawing and export read nothing else.
"""

import hashlib
import html
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from evonas.errors import InputError
from evonas.graph import formula as formulas
from evonas.graph import notation, reading
from evonas.graph.node import INITIAL, NUM_INITIAL, Node, check_node
from evonas.graph.primitive import INDEX_SETS, INITIAL_NODES, PRIMITIVES
from evonas.graph.simplify import family
from evonas.limits import MOST_DRAWN, MOST_NODES

if TYPE_CHECKING:  # imported where a graph is made or read, as it takes long
    import networkx as nx


def _node_key(node: Node, operands: list[str]) -> str:
    return hashlib.sha256(repr((node.op, node.axes, operands)).encode()).hexdigest()[:16]


_INITIAL_KEYS = tuple(_node_key(node, []) for node in INITIAL)
_INITIAL_VARIES = tuple(frozenset({"x": "bchw", "zero": ""}.get(name, "c")) for name in INITIAL_NODES)


@dataclass(frozen=True, repr=False)
class Genome:
    """A layer before it is lowered: the initial nodes x, zero, v0, v1, then intermediate nodes; the last is the output.

    Equality compares all nodes; ``key`` compares what the layer computes by its active nodes. Operand order matters.

    Raises:
        InputError: an unknown primitive or index set, a wrong number of operands, or an input that is not an
            earlier node.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if self.nodes[:NUM_INITIAL] != INITIAL or len(self.nodes) == NUM_INITIAL:
            raise InputError(
                "genome",
                f"{len(self.nodes)} nodes",
                accepted=f"the initial nodes {', '.join(INITIAL_NODES)} and at least one intermediate node",
            )
        if len(self.nodes) > MOST_NODES:
            raise InputError("genome", f"{len(self.nodes)} nodes", accepted=f"up to {MOST_NODES}")
        for position in range(NUM_INITIAL, len(self.nodes)):
            check_node(self.nodes[position], position, f"genome node {position}")

    @classmethod
    def trusted(cls, nodes: tuple[Node, ...]) -> "Genome":
        """A genome of nodes that are valid by construction, as sampling draws them: nothing is checked."""
        genome = object.__new__(cls)
        genome.__dict__["nodes"] = nodes
        return genome

    def __repr__(self) -> str:
        return f"Genome.from_formula({self.formula(exact=True)!r})"

    def __str__(self) -> str:
        return self.formula()

    def _repr_html_(self) -> str:
        from evonas.graph.drawing import svg  # which draws genomes

        facts = {"formula": self.formula(), "text": self.active().to_text(), "key": self.key}
        cell = '<td style="text-align: left">'
        rows = (
            f"<tr>{cell}{name}</td>{cell}<code>{html.escape(fact)}</code></td></tr>" for name, fact in facts.items()
        )
        return f"<table>{''.join(rows)}</table>{svg(self) if len(self.active_positions) <= MOST_DRAWN else ''}"

    def __reduce__(self) -> tuple[object, ...]:
        return (Genome, (self.nodes,))  # the cached graph stays behind: it is large and cheap to make again

    @cached_property
    def active_positions(self) -> tuple[int, ...]:
        """Positions of the nodes the output depends on, ascending; unused initial nodes are not among them."""
        open_ = [len(self.nodes) - 1]
        wanted = set(open_)
        while open_:
            for source in self.nodes[open_.pop()].inputs:
                if source not in wanted:
                    wanted.add(source)
                    open_.append(source)
        return tuple(sorted(wanted))

    @cached_property
    def graph(self) -> "nx.MultiDiGraph":
        """The frozen graph of the active nodes: attributes ``op``, ``axes``; an edge's key is the operand slot.

        Nodes are numbered as in ``active()``; ``graph.graph["output"]`` is the output's number.
        """
        import networkx as nx

        graph = nx.MultiDiGraph()
        active = self.active()
        for position in active.active_positions:
            node = active.nodes[position]
            graph.add_node(position, op=node.op, axes=node.axes)
            for slot, source in enumerate(node.inputs):
                graph.add_edge(source, position, key=slot)
        graph.graph["output"] = len(active.nodes) - 1
        return nx.freeze(graph)

    @classmethod
    def from_graph(cls, graph: "nx.MultiDiGraph") -> "Genome":
        """The genome of a graph as ``graph`` gives it; inverse of ``graph`` for genomes without inactive nodes.

        Raises:
            InputError: not a MultiDiGraph, a cycle, no single output, or a node without ``op`` or whose operand
                slots do not run 0, 1, ...
        """
        import networkx as nx

        if not isinstance(graph, nx.MultiDiGraph):
            accepted = "a MultiDiGraph, which keeps both edges of mul(x, x)"
            raise InputError("graph", f"is a {type(graph).__name__}", accepted=accepted)
        if not nx.is_directed_acyclic_graph(graph):
            raise InputError("graph", "has a cycle", remedy="a layer is an acyclic graph")
        sinks = [name for name in graph if graph.out_degree(name) == 0]
        if len(sinks) != 1:
            raise InputError("graph", f"has {len(sinks)} nodes without a successor", accepted="one, the output")
        order = {name: index for index, name in enumerate(sorted(graph, key=str))}
        if all(isinstance(name, int) for name in graph):
            order = {name: name for name in graph}
        nodes, position = list(INITIAL), {}
        for name in nx.lexicographical_topological_sort(graph, key=lambda n: order[n]):
            op, inputs = _graph_node(graph, name)
            if op in INITIAL_NODES:
                position[name] = INITIAL_NODES.index(op)
            else:
                axes = graph.nodes[name].get("axes") or ""
                nodes.append(Node(op, tuple(position[source] for source in inputs), axes))
                position[name] = len(nodes) - 1
        return cls(tuple(nodes))

    def active(self) -> "Genome":
        """The same layer without inactive intermediate nodes."""
        keep = [p for p in self.active_positions if p >= NUM_INITIAL]
        if len(keep) == len(self.nodes) - NUM_INITIAL:
            return self
        new = {p: p for p in range(NUM_INITIAL)} | {p: NUM_INITIAL + i for i, p in enumerate(keep)}
        nodes = (Node(n.op, tuple(new[i] for i in n.inputs), n.axes) for n in (self.nodes[p] for p in keep))
        return Genome(INITIAL + tuple(nodes))

    @cached_property
    def node_keys(self) -> tuple[str, ...]:
        """A Merkle key per node: equal keys mean the same expression. Operands of commutative operations are sorted."""
        return tuple(self._keys(range(len(self.nodes))).values())

    @cached_property
    def key(self) -> str:
        """Content key, 16 hexadecimal digits: inactive nodes and commutative operand order do not change it."""
        return self._keys(self.active_positions)[len(self.nodes) - 1]

    @cached_property
    def family(self) -> str:
        """Equal for relatives, 16 hexadecimal digits.

        Two layers are relatives if their simplified formulas differ in nothing but the order of operands, the numbers
        that multiply, and the sign of the whole.
        """
        return family(self.active().nodes) or self.key

    def _keys(self, positions: Iterable[int]) -> dict[int, str]:
        keys: dict[int, str] = {}
        for position in positions:
            if position < NUM_INITIAL:
                keys[position] = _INITIAL_KEYS[position]
                continue
            node = self.nodes[position]
            operands = [keys[i] for i in node.inputs]
            if len(operands) > 1 and PRIMITIVES[node.op].commutative:
                operands.sort()
            keys[position] = _node_key(node, operands)
        return keys

    @cached_property
    def varies(self) -> tuple[frozenset[str], ...]:
        """Per node, the axes of the layout along which its value can differ (a sound upper bound, no numerics)."""
        result = list(_INITIAL_VARIES)
        for node in self.nodes[NUM_INITIAL:]:
            axes = result[node.inputs[0]] if node.inputs else frozenset()
            if len(node.inputs) > 1:
                axes = axes.union(*(result[i] for i in node.inputs[1:]))
            result.append(axes.difference(INDEX_SETS[node.axes].reduced) if node.axes else axes)
        return tuple(result)

    @property
    def layouts(self) -> tuple[str, ...]:
        """The layouts that the index sets of the active nodes are for; none if there are no moments."""
        axes = (self.nodes[position].axes for position in self.active_positions)
        return tuple(dict.fromkeys(INDEX_SETS[name].layout for name in axes if name))

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether any active node takes a moment over the batch."""
        return any(n.axes and INDEX_SETS[n.axes].batch for n in (self.nodes[p] for p in self.active_positions))

    def to_text(self) -> str:
        """One statement per node, the last one the output: ``a = mul(x, v1); sigmoid(a)``. Exact."""
        return notation.to_text(self.nodes)

    @classmethod
    def from_text(cls, text: str) -> "Genome":
        """Read ``to_text``'s notation; statements are separated by ``;`` or line breaks.

        Raises:
            InputError: naming the statement at fault.
        """
        return cls(notation.from_text(text))

    def to_json(self) -> str:
        """The genome as a JSON object with a format version. Exact."""
        return notation.to_json(self.nodes)

    @classmethod
    def from_json(cls, text: str) -> "Genome":
        """Read ``to_json``'s notation.

        Raises:
            InputError: naming what is not as it should be.
        """
        return cls(notation.from_json(text))

    def formula(self, *, latex: bool = False, exact: bool = False) -> str:
        """The active layer as one expression, without the trailing affine.

        Args:
            latex: write LaTeX, which is not read back.
            exact: write the layer as it is, so that ``from_formula`` gives one of the same key; otherwise it is
                simplified where that makes it shorter (``evonas.graph.simplify``).
        """
        return formulas.formula(self.active().nodes, latex=latex, exact=exact)

    @classmethod
    def from_formula(cls, text: str) -> "Genome":
        """Read a formula such as ``x * sigmoid(x * v1) / std[ghw](x)``: what ``formula`` prints, and the like.

        Raises:
            InputError: naming the character at fault.
        """
        return cls(reading.from_formula(text))


def _graph_node(graph: "nx.MultiDiGraph", name: object) -> tuple[str, list[object]]:
    """The operation of a node of a graph that people may have made by hand, and its inputs in operand order."""
    where = f"graph node {name}"
    op = graph.nodes[name].get("op")
    if not isinstance(op, str):
        raise InputError(where, f"has op {op!r}", accepted="the name of a primitive")
    edges = sorted(graph.in_edges(name, keys=True), key=lambda edge: str(edge[2]))
    slots = [slot for *_, slot in edges]
    if slots != list(range(len(slots))):
        raise InputError(where, f"operand slots {slots}", accepted="0, 1, ...")
    if op in INITIAL_NODES and slots:
        raise InputError(where, f"{op} has {len(slots)} operands", accepted="0")
    return op, [source for source, *_ in edges]
