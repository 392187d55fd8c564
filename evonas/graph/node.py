"""One node of a genome, and the initial nodes every genome begins with."""

from dataclasses import dataclass

from evonas.errors import InputError
from evonas.graph.primitive import (
    INDEX_SETS,
    INITIAL_NODES,
    PRIMITIVES,
    constant,
    constant_op,
    of_kind,
    primitive_of,
    takes,
)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a genome.

    Attributes:
        op: name of a primitive, or a number: a constant without operands, as ``"6"``.
        inputs: positions of earlier nodes, in operand order.
        axes: index set of a moment, empty otherwise.
    """

    op: str
    inputs: tuple[int, ...] = ()
    axes: str = ""


INITIAL = tuple(Node(name) for name in INITIAL_NODES)
NUM_INITIAL = len(INITIAL)


def check_node(node: Node, position: int, where: str) -> None:
    """Refuse an intermediate node that cannot stand at ``position``.

    Raises:
        InputError: an unknown primitive or index set, a number that is not written as ``constant_op`` writes it, a
            wrong number of operands, or an input that is not earlier.
    """
    value = constant(node.op)
    if value is not None and node.op != constant_op(value):
        raise InputError(where, f"number {node.op!r}", accepted=repr(constant_op(value)))
    if value is None and (node.op not in PRIMITIVES or node.op in INITIAL_NODES):
        raise PRIMITIVES.unknown(node.op, where, (*of_kind("elementwise", "moment"), "a finite number"))
    primitive = primitive_of(node.op)
    if len(node.inputs) != primitive.arity:
        raise InputError(where, f"{node.op} has {len(node.inputs)} operands", accepted=str(primitive.arity))
    if primitive.kind == "moment":
        if not node.axes:
            accepted = f"{node.op}[I], I one of {', '.join(INDEX_SETS)}"
            raise InputError(where, f"{node.op} with no index set", accepted=accepted)
        if not takes(primitive, INDEX_SETS.find(node.axes, where)):
            fitting = ", ".join(name for name, index_set in INDEX_SETS.items() if takes(primitive, index_set))
            raise InputError(where, f"{node.op} has no running value over the batch", accepted=fitting)
    if primitive.kind != "moment" and node.axes:
        raise InputError(where, f"{node.op} with index set {node.axes!r}", accepted="index sets on moments only")
    if not all(0 <= i < position for i in node.inputs):
        remedy = "a layer has no cycles"
        raise InputError(where, f"{node.op} reads nodes {node.inputs}", accepted="earlier nodes", remedy=remedy)
