"""Text and JSON notations of a genome. What prints reads back: both are exact inverses."""

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any

from evonas.errors import InputError, listed, shortened
from evonas.graph.node import INITIAL, NUM_INITIAL, Node, check_node
from evonas.graph.primitive import INITIAL_NODES, constant, constant_op
from evonas.limits import LARGEST_LAYER
from evonas.reading import parse_json

Nodes = tuple[Node, ...]

FORMAT = "evonas-genome/1"

_NAME = r"(?:(?P<name>[A-Za-z_]\w*)\s*=\s*)?"
_CALL = re.compile(_NAME + r"(?P<op>[A-Za-z_]\w*)\s*(?:\[\s*(?P<axes>\w*)\s*\])?\s*\((?P<args>[^()]*)\)")
_NUMBER = re.compile(_NAME + r"(?P<number>[-+.\deE]+)")


def fresh_names() -> Iterator[str]:
    """Names for parts of a layer, none of which is that of an initial node."""
    yield from "abcdefghijklmnopqrstuvw"
    for index in count(23):
        yield f"n{index}"


def _display_op(node: Node) -> str:
    return f"{node.op}[{node.axes}]" if node.axes else node.op


def to_text(nodes: Nodes) -> str:
    """Print every node, active or not; see ``Genome.to_text``."""
    names, fresh, statements = list(INITIAL_NODES), fresh_names(), []
    for node in nodes[NUM_INITIAL:]:
        names.append(next(fresh))
        operands = f"({', '.join(names[i] for i in node.inputs)})" if node.inputs else ""  # a number has none
        statements.append(f"{names[-1]} = {_display_op(node)}{operands}")
    statements[-1] = statements[-1].partition(" = ")[2]
    return "; ".join(statements)


def from_text(text: str) -> Nodes:
    """Read statements back; see ``Genome.from_text``."""
    require_short(text, "layer text")
    # single blanks: patterns take time that grows with the square of a run of them
    statements = [found for s in re.split(r"[;\n]", text) if (found := " ".join(s.split()))]
    if not statements:
        raise InputError("layer text", "is empty", accepted="statements such as 'a = sigmoid(x); mul(x, a)'")
    defined = [_parse(statement) for statement in statements]
    later = {name for name, *_ in defined if name}
    positions = {name: index for index, name in enumerate(INITIAL_NODES)}
    nodes = list(INITIAL)
    for statement, (name, op, axes, operands) in zip(statements, defined, strict=True):
        where = _place(statement)
        for operand in operands:
            if operand in positions:
                continue
            if (value := constant(operand)) is None:
                _raise_undefined(where, operand, later, positions)
            else:  # a number stands for a node of its own
                nodes.append(Node(constant_op(value)))
                positions[operand] = len(nodes) - 1
        node = Node(op, tuple(positions[o] for o in operands), axes)
        check_node(node, len(nodes), where)
        if name in positions:
            raise InputError(where, f"{name!r} is defined twice", accepted="each name once")
        nodes.append(node)
        if name:
            positions[name] = len(nodes) - 1
    return tuple(nodes)


def require_short(text: str, where: str) -> None:
    """Refuse the text of a layer that is too long to be one.

    Raises:
        InputError: it is.
    """
    if len(text) > LARGEST_LAYER:
        raise InputError(where, f"has {len(text)} characters", accepted=f"up to {LARGEST_LAYER}")


def _place(statement: str) -> str:
    return f"layer text, statement {shortened(statement, 200)!r}"


def _parse(statement: str) -> tuple[str, str, str, list[str]]:
    number = _NUMBER.fullmatch(statement)
    if number and (value := constant(number["number"])) is not None:
        return number["name"] or "", constant_op(value), "", []
    match = _CALL.fullmatch(statement)
    if match is None:
        calls = "'name = op(operand, ...)' or 'name = moment[index set](operand)'"
        accepted = f"{calls}, one operation a statement; or 'name = number'"
        raise InputError(_place(statement), "cannot be read", accepted=accepted)
    operands = [a.strip() for a in match["args"].split(",")] if match["args"].strip() else []
    return match["name"] or "", match["op"], match["axes"] or "", operands


def _raise_undefined(where: str, operand: str, later: set[str], known: dict[str, int]) -> None:
    if operand in later:
        raise InputError(
            where,
            f"{operand!r} is used before it is defined (a cycle, or statements out of order)",
            remedy="define every operand in an earlier statement",
        )
    raise InputError(where, f"operand {operand!r} is not defined anywhere", accepted=listed(known))


def to_json(nodes: Nodes) -> str:
    """See ``Genome.to_json``."""
    items = [{"op": n.op, "inputs": list(n.inputs), "axes": n.axes} for n in nodes]
    return json.dumps({"format": FORMAT, "nodes": items})


def from_json(text: str) -> Nodes:
    """See ``Genome.from_json``."""
    require_short(text, "layer JSON")
    data: Any = parse_json(text, "layer JSON")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise InputError("layer JSON: format", repr(found), accepted=FORMAT)
    items = data.get("nodes")
    if not isinstance(items, list):
        raise InputError("layer JSON: nodes", repr(items), accepted="a list of {op, inputs, axes}")
    return tuple(_node_from_json(index, item) for index, item in enumerate(items))


def _node_from_json(index: int, item: Any) -> Node:
    accepted = '{"op": text, "inputs": [numbers], "axes": text}'
    if not isinstance(item, dict) or set(item) - {"op", "inputs", "axes"}:
        raise InputError(f"layer JSON: nodes.{index}", repr(item), accepted=accepted)
    op, inputs, axes = item.get("op"), item.get("inputs", []), item.get("axes", "")
    numbers = isinstance(inputs, list) and all(type(i) is int for i in inputs)
    if not isinstance(op, str) or not isinstance(axes, str) or not numbers:
        raise InputError(f"layer JSON: nodes.{index}", repr(item), accepted=accepted)
    return Node(op, tuple(inputs), axes)
