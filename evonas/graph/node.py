"""One node of a genome, and the initial nodes every genome begins with."""

from dataclasses import dataclass

from evonas.errors import InputError
from evonas.graph.primitive import INDEX_SETS, INITIAL_NODES, PRIMITIVES, constant, constant_op, primitive_of


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
        ops = ", ".join(p.name for p in PRIMITIVES.values() if p.kind != "initial")
        raise InputError(where, f"unknown primitive {node.op!r}", accepted=f"{ops}, or a finite number")
    primitive = primitive_of(node.op)
    if len(node.inputs) != primitive.arity:
        raise InputError(where, f"{node.op} has {len(node.inputs)} operands", accepted=str(primitive.arity))
    if primitive.kind == "moment" and node.axes not in INDEX_SETS:
        found = f"index set {node.axes!r}" if node.axes else "no index set"
        raise InputError(where, f"{node.op} with {found}", accepted=f"{node.op}[I], I one of {', '.join(INDEX_SETS)}")
    if primitive.kind != "moment" and node.axes:
        raise InputError(where, f"{node.op} with index set {node.axes!r}", accepted="index sets on moments only")
    if not all(0 <= i < position for i in node.inputs):
        remedy = "a layer has no cycles"
        raise InputError(where, f"{node.op} reads nodes {node.inputs}", accepted="earlier nodes", remedy=remedy)
