"""Reads formulas: what ``Genome.formula`` prints, and what people write in its manner.

The grammar; operations of one kind are taken from the left::

    formula    := sum ["where" name "=" sum {";" name "=" sum}]
    sum        := product {("+" | "-") product}
    product    := "-" product | factor {("*" | "/") factor}          2 x is 2 * x
    factor     := "-" factor | operand ["^" whole number]            also **
    operand    := number | name | "(" sum ")" | function ["[" index set "]"] "(" sum {"," sum} ")"

A function is an operation by its name in the text notation, so that ``mul(x, v1)`` can be read as well as ``x * v1``.
"""

import difflib
import math
import re
from dataclasses import dataclass, field

from evonas.errors import InputError, listed, shortened
from evonas.graph.node import INITIAL, NUM_INITIAL, Node, check_node
from evonas.graph.notation import Nodes, require_short
from evonas.graph.primitive import INITIAL_NODES, PRIMITIVES, constant_op, of_kind
from evonas.reading import whole_number

DEEPEST = 100  # levels of parentheses
LARGEST_POWER = 2**64

_NUMBER = r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
_TOKEN = re.compile(rf"\s*(?:{_NUMBER}|(?P<name>[A-Za-z_]\w*)|(?P<symbol>\*\*|[-+*/^()\[\],=;]))", re.ASCII)
_CALLED = re.compile(r"([A-Za-z_]\w*)(?:\[\{axes\}\])?\(\{0\}")


def from_formula(text: str) -> Nodes:
    """The nodes that a formula means; see ``Genome.from_formula``."""
    require_short(text, "formula")
    tokens = _tokens(text)
    if len(tokens) == 1:
        raise InputError("formula", "is empty", accepted="an expression such as 'x * sigmoid(x)'")
    reader = _Reader(text, tokens)
    heads = [i for i, token in enumerate(tokens[:-1]) if token.text == "where" and tokens[i + 1].text != "("]
    if heads:
        reader.at = heads[0] + 1
        reader.read_definitions()
        reader.tokens = [*tokens[: heads[0]], _Token("end", "", tokens[heads[0]].start)]
        reader.at = 0
    output = reader.read_sum()
    reader.require_end("an operator, or the end")
    if output < NUM_INITIAL:  # the output of a layer is an operation
        output = reader.node("add", (output, INITIAL_NODES.index("zero")))
    return tuple(reader.nodes[: output + 1])


def function_names() -> dict[str, str]:
    """The operations that can be called in a formula, by what they are called there."""
    own = (name for name in of_kind("elementwise", "moment") if name not in PRIMITIVES.builtin)
    printed = {match[1]: name for name in own if (match := _CALLED.match(PRIMITIVES[name].plain.template))}
    return printed | {name: name for name in of_kind("elementwise", "moment")}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # number, name, symbol or end
    text: str
    start: int


def _tokens(text: str) -> list[_Token]:
    found, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            position = len(text) - len(text[position:].lstrip())
            accepted = "names, numbers, + - * / ^ ( ) [ ] and commas"
            raise InputError(_place(text, position), f"found {text[position]!r}", accepted=accepted)
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind)))
        position = match.end()
    return [*found, _Token("end", "", end)]


def _place(text: str, position: int) -> str:
    return f"formula {shortened(text, 200)!r}, character {position + 1}"


@dataclass(slots=True)
class _Reader:
    """How far a formula is read, and the nodes that it has come to."""

    text: str
    tokens: list[_Token]
    nodes: list[Node] = field(default_factory=lambda: list(INITIAL))
    seen: dict[Node, int] = field(default_factory=lambda: {node: i for i, node in enumerate(INITIAL)})
    names: dict[str, int] = field(default_factory=lambda: {name: i for i, name in enumerate(INITIAL_NODES)})
    later: set[str] = field(default_factory=set)
    at: int = 0
    depth: int = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def next_is(self, *symbols: str, ahead: int = 0) -> bool:
        token = self.tokens[min(self.at + ahead, len(self.tokens) - 1)]
        return token.kind == "symbol" and token.text in symbols

    def take(self) -> _Token:
        self.at += 1
        return self.tokens[self.at - 1]

    def place(self, token: _Token) -> str:
        return _place(self.text, token.start)

    def unexpected(self, accepted: str) -> InputError:
        found = "it ends here" if self.token.kind == "end" else f"found {self.token.text!r}"
        return InputError(self.place(self.token), found, accepted=accepted)

    def require(self, symbol: str, accepted: str = "") -> None:
        if not self.next_is(symbol):
            raise self.unexpected(accepted or repr(symbol))
        self.at += 1

    def require_end(self, accepted: str) -> None:
        if self.token.kind != "end":
            raise self.unexpected(accepted)

    def node(self, op: str, inputs: tuple[int, ...] = (), axes: str = "", where: str = "") -> int:
        """The position of a node; equal ones are one."""
        node = Node(op, inputs, axes)
        if node not in self.seen:
            check_node(node, len(self.nodes), where)
            self.seen[node] = len(self.nodes)
            self.nodes.append(node)
        return self.seen[node]

    def read_definitions(self) -> None:
        """``a = sum; b = sum`` to the end."""
        follows = zip(self.tokens[self.at :], self.tokens[self.at + 1 :], strict=False)
        self.later = {token.text for token, behind in follows if token.kind == "name" and behind.text == "="}
        while True:
            if self.token.kind != "name":
                raise self.unexpected("definitions such as 'a = std[hw](x)', separated by ';'")
            name = self.take()
            self.require("=")
            if name.text in self.names:
                raise InputError(self.place(name), f"{name.text!r} is defined twice", accepted="each name once")
            self.names[name.text] = self.read_sum()
            if self.token.kind == "end":
                return
            self.require(";", "an operator, ';' and another definition, or the end")

    def read_sum(self) -> int:
        total = self.read_product()
        while self.next_is("+", "-"):
            minus = self.take().text == "-"
            term = self.read_product()
            total = self.node("add", (total, self.node("neg", (term,)) if minus else term))
        return total

    def read_product(self) -> int:
        negations = self.take_negations()
        first = self.tokens[self.at + self.next_is("-")]
        product = self.read_factor()
        if first.kind == "number" and self.tokens[self.at - 1] is first and self._begins_operand():
            product = self.node("mul", (product, self.read_factor()))
        while self.next_is("*", "/"):
            op = "mul" if self.take().text == "*" else "div"
            product = self.node(op, (product, self.read_factor()))
        return self.negated(product, negations)

    def take_negations(self) -> int:
        """How many minus signs stand here that are operations."""
        count = 0
        while self.next_is("-") and not self._is_negative_number():
            self.at, count = self.at + 1, count + 1
        return count

    def negated(self, position: int, times: int) -> int:
        for _ in range(times):
            position = self.node("neg", (position,))
        return position

    def _begins_operand(self) -> bool:
        return self.token.kind == "name" or self.next_is("(")

    def _is_negative_number(self) -> bool:
        """Whether a minus and a number stand here that are one number: in ``-2^2`` they are not."""
        number = self.next_is("-") and self.tokens[self.at + 1].kind == "number"
        return number and not self.next_is("^", "**", ahead=2)

    def read_factor(self) -> int:
        negations = self.take_negations()
        if self.next_is("-"):
            self.at += 1
            return self.negated(self.read_number(sign="-"), negations)
        base = self.read_operand()
        if self.next_is("^", "**"):
            self.at += 1
            exponent = self.token.text
            if not 2 <= (whole_number(exponent, LARGEST_POWER) or 0) <= LARGEST_POWER:
                raise self.unexpected("a whole number from 2 on as exponent")
            self.at += 1
            if self.next_is("^", "**"):
                raise self.unexpected("parentheses around a power of a power")
            base = self.power(base, int(exponent))
        return self.negated(base, negations)

    def power(self, base: int, exponent: int) -> int:
        """By squares, so that 2^64 of a factor are 64 operations."""
        if exponent == 1:
            return base
        if exponent % 2:
            return self.node("mul", (self.power(base, exponent - 1), base))
        return self.node("square", (self.power(base, exponent // 2),))

    def read_operand(self) -> int:
        token = self.token
        if token.kind == "number":
            return self.read_number()
        if token.kind == "name":
            self.at += 1
            called = self.next_is("(", "[")
            return self.read_call(token) if called else self.position_of(token)
        if self.next_is("("):
            self.at += 1
            return self.read_nested(")")
        raise self.unexpected(f"{', '.join(INITIAL_NODES)}, a number, a function or '('")

    def read_nested(self, *ends: str) -> int:
        """What stands in parentheses, to the one that closes them."""
        self.depth += 1
        if self.depth > DEEPEST:
            remedy = "name parts: 'a * a where a = ...'"
            raise InputError(self.place(self.token), f"more than {DEEPEST} levels of parentheses", remedy=remedy)
        value = self.read_sum()
        self.depth -= 1
        if not self.next_is(*ends):
            raise self.unexpected(f"an operator or {' or '.join(map(repr, ends))}")
        self.at += len(ends) == 1
        return value

    def read_number(self, sign: str = "") -> int:
        token = self.take()
        value = float(sign + token.text)
        if not math.isfinite(value):
            raise InputError(self.place(token), f"{token.text} is too large", accepted="a finite number")
        return self.names["zero"] if sign + token.text == "0" else self.node(constant_op(value))

    def read_call(self, name: _Token) -> int:
        functions, axes, inputs = function_names(), "", []
        if name.text not in functions:
            raise PRIMITIVES.unknown(name.text, self.place(name), functions)
        if self.next_is("["):
            self.at += 1
            if self.token.kind != "name":
                raise self.unexpected("an index set, as in 'std[hw](x)'")
            axes = self.take().text
            self.require("]")
        self.require("(")
        if self.next_is(")"):
            self.at += 1
        else:
            inputs = [self.read_nested(",", ")")]
            while self.take().text == ",":
                inputs.append(self.read_nested(",", ")"))
        return self.node(functions[name.text], tuple(inputs), axes, self.place(name))

    def position_of(self, name: _Token) -> int:
        if name.text in self.names:
            return self.names[name.text]
        if name.text in self.later:
            remedy = "define every name before the definitions that use it"
            raise InputError(self.place(name), f"{name.text!r} is used before it is defined", remedy=remedy)
        functions = function_names()
        if name.text in functions:
            axes = "[hw]" if PRIMITIVES[functions[name.text]].kind == "moment" else ""
            accepted = f"its operands behind it, as in '{name.text}{axes}(x)'"
            raise InputError(self.place(name), f"{name.text!r} is a function", accepted=accepted)
        close = difflib.get_close_matches(name.text, [*self.names, *functions], n=1)
        accepted = f"{listed(self.names)}, a number, or one of the functions {listed(functions)}"
        remedy = f"did you mean {close[0]!r}?" if close else ""
        raise InputError(self.place(name), f"unknown name {name.text!r}", accepted=accepted, remedy=remedy)
