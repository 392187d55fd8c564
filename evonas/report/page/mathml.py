"""Formulas as presentation MathML, which browsers set themselves.

An element is a tag and either its text or its children. It holds nothing but the symbols written here, numbers, and
names of operations and index sets, which are identifiers; so a page can make its elements one by one.
"""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evonas.graph.formula import named_parts
from evonas.graph.genome import Genome
from evonas.graph.node import Node
from evonas.graph.primitive import ATOM, INDEX_SETS, constant, primitive_of
from evonas.graph.simplify import POWER, simplified

MINUS, TIMES = "\u2212", "\u22c5"
SYMBOLS = {"sigmoid": "\u03c3", "mean": "\u03bc", "rms": "r", "std": "s"}
_SUM = 1  # its precedence, as in PrintedForm
_SUBSCRIPT = re.compile(r"[A-Za-z]+(?:[,/][A-Za-z]+)*")


@dataclass(frozen=True, slots=True)
class Element:
    """An element of MathML.

    Attributes:
        tag: its name without the letter m in front: ``row``, ``i``, ``frac``.
        content: its text, or its children.
    """

    tag: str
    content: "str | tuple[Element, ...]"

    def as_json(self) -> list[Any]:
        """The tag, then the text or the children."""
        if isinstance(self.content, str):
            return [self.tag, self.content]
        return [self.tag, *(child.as_json() for child in self.content)]

    def __str__(self) -> str:
        content = self.content
        inside = html.escape(content) if isinstance(content, str) else "".join(map(str, content))
        return f"<m{self.tag}>{inside}</m{self.tag}>"


def mathml(genome: Genome) -> tuple[Element, ...]:
    """The simplified formula of a layer's active nodes, then a definition of each part that is used more than once."""
    nodes = simplified(genome.active().nodes)
    names, terms = named_parts(nodes), list[_Term]()
    definitions: list[Element] = []
    for position, node in enumerate(nodes):
        term = _term(node, terms)
        if position in names:
            name = Element("i", names[position])
            definitions.append(_row(name, _sign("="), term.element))
            term = _Term(name, ATOM)
        terms.append(term)
    return (terms[-1].element, *definitions)


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of a formula, how tightly it is bound, and what follows its minus sign if it begins with one."""

    element: Element
    precedence: int
    negated: Element | None = None


def _term(node: Node, terms: list[_Term]) -> _Term:
    if node.op.startswith(POWER):
        return _Term(Element("sup", (_operand(terms[node.inputs[0]], ATOM), _number(node.op[1:]))), 4)
    if (value := constant(node.op)) is not None:
        size = _number(node.op.removeprefix("-"))
        return _Term(_row(_sign(MINUS), size), _SUM, size) if value < 0 else _Term(size, ATOM)
    form = primitive_of(node.op).latex
    slots = zip(node.inputs, form.operands, strict=False)
    operands = [_operand(terms[source], least) for source, least in slots]
    if node.op == "add":
        return _sum(*(terms[source] for source in node.inputs))
    if node.op in _WRITTEN:
        return _Term(_WRITTEN[node.op](*operands), form.precedence, operands[0] if node.op == "neg" else None)
    if not node.inputs:
        return _Term(_INITIAL[node.op], ATOM)
    return _Term(_call(node, [terms[source].element for source in node.inputs]), ATOM)


def _sum(first: _Term, second: _Term) -> _Term:
    if first.negated and not second.negated:
        first, second = second, first  # 'b - a' reads better than '-a + b'
    if second.negated:
        return _Term(_row(first.element, _sign(MINUS), second.negated), _SUM)
    return _Term(_row(first.element, _sign("+"), second.element), _SUM)


def _call(node: Node, operands: list[Element]) -> Element:
    """A function, with its index set below its name, in front of its operands."""
    name = Element("i", SYMBOLS.get(node.op, node.op))
    if node.axes:
        latex = INDEX_SETS[node.axes].latex
        name = Element("sub", (name, Element("i", latex if _SUBSCRIPT.fullmatch(latex) else node.axes)))
    listed = [part for operand in operands for part in (_sign(","), operand)][1:]
    return _row(name, _sign("("), *listed, _sign(")"))


def _operand(term: _Term, least: int) -> Element:
    return term.element if term.precedence >= least else _row(_sign("("), term.element, _sign(")"))


def _row(*parts: Element) -> Element:
    return Element("row", parts)


def _sign(sign: str) -> Element:
    return Element("o", sign)


def _number(text: str) -> Element:
    return Element("n", text)


def _indexed(name: str, index: str) -> Element:
    return Element("sub", (Element("i", name), _number(index)))


_INITIAL: Mapping[str, Element] = {
    "x": Element("i", "x"),
    "zero": _number("0"),
    "v0": _indexed("v", "0"),
    "v1": _indexed("v", "1"),
}
_WRITTEN: Mapping[str, Callable[..., Element]] = {
    "mul": lambda x, y: _row(x, _sign(TIMES), y),
    "div": lambda x, y: Element("frac", (x, y)),
    "neg": lambda x: _row(_sign(MINUS), x),
    "exp": lambda x: Element("sup", (Element("i", "e"), x)),
    "abs": lambda x: _row(_sign("|"), x, _sign("|")),
    "square": lambda x: Element("sup", (x, _number("2"))),
}
