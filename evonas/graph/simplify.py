"""Shorter expressions, for people, of what a layer computes. Keys, archives and what is computed know nothing of them.

A layer is brought into sums of products bottom-up and written out again. All identities hold for every finite value of
the operations as they are defined here, with eps up to 1, in training and in evaluation:

- sums and products have any order; equal terms and equal factors are collected, numbers are computed, 0 and 1 left out;
- (x / y) z is (x z) / y, as the guard depends on y alone. x / x stays; but std and rms, which are never below
  sqrt(eps), cancel with themselves, and x / 1 is x;
- square(x) is x x, and even powers of abs(x) are those of x;
- tanh, erf, sin, sqrt, log and mean are odd, abs, std and rms even; mean(2 x) is 2 mean(x), and abs(2 x) is 2 abs(x);
- max(x, x) and min(x, x) are x. Of what is surely never below 0, abs(x) and max(x, 0) are x, and min(x, 0) is 0;
- the mean of what does not vary over its index set is that, but over the batch, where evaluation has running values;
- tanh, erf, sin, sqrt, log and mean are 0 at 0; exp is 1 there, and sigmoid 0.5.

Zero has no sign here: a divisor of -0.0 counts as one of 0.
"""

from collections.abc import Callable, Sequence

from evonas.graph.algebra import (
    PARENTHESES,
    Atom,
    Factor,
    Product,
    Sum,
    added,
    divided,
    factored,
    multiplied,
    of_atom,
    scaled,
)
from evonas.graph.node import INITIAL, NUM_INITIAL, Node
from evonas.graph.notation import Nodes
from evonas.graph.primitive import INDEX_SETS, INITIAL_NODES, constant, constant_op
from evonas.graph.reading import LARGEST_POWER

POWER = "^"  # with an exponent behind it, the operation of a power above a square, which only formulas have
LARGEST = 64  # nodes; what has more stays as it is
REPEATED = 2  # times that a division by the same is written out

ODD = ("tanh", "erf", "sin", "sqrt", "log", "mean")
EVEN = ("abs", "std", "rms")
AT_ZERO = {**dict.fromkeys((*ODD, "abs"), 0.0), "exp": 1.0, "sigmoid": 0.5}


def simplified(nodes: Nodes) -> Nodes:
    """Nodes of a shorter expression of the same function; the given ones if there is none.

    Shorter is what has fewer operations and fewer operands other than numbers, written out as a tree.
    """
    if len(nodes) > LARGEST:
        return nodes
    try:
        short = _written(_value(nodes))
    except OverflowError:
        return nodes
    return short if _length(short) < _length(nodes) else nodes


def family(nodes: Nodes) -> str | None:
    """Equal for layers whose simplified formulas differ only in order and in numbers that multiply, or in their sign.

    None for layers that are too large to be simplified.
    """
    if len(nodes) > LARGEST:
        return None
    try:
        return factored(_value(nodes))[1].shape
    except OverflowError:
        return None


def _length(nodes: Nodes) -> int:
    lengths: list[int] = []
    for node in nodes:
        own = 0 if node.op == "zero" or constant(node.op) is not None else 1
        lengths.append(own + sum(lengths[i] for i in node.inputs))
    return lengths[-1]


def _value(nodes: Nodes) -> Sum:
    values: list[Sum] = []
    for node in nodes:
        number = 0.0 if node.op == "zero" else constant(node.op)
        if number is not None:
            values.append(Sum((), number))
        elif node.op in INITIAL_NODES:
            values.append(of_atom(Atom(node.op)))
        else:
            values.append(_applied(node, [values[i] for i in node.inputs]))
    return values[-1]


def _applied(node: Node, operands: list[Sum]) -> Sum:
    arithmetic: dict[str, Callable[..., Sum]] = {
        "add": lambda x, y: added((x, y)),
        "neg": lambda x: scaled(x, -1.0),
        "mul": multiplied,
        "square": lambda x: multiplied(x, x),
        "div": divided,
        "max": lambda x, y: _extreme("max", (x, y)),
        "min": lambda x, y: _extreme("min", (x, y)),
    }
    if node.op in arithmetic:
        return arithmetic[node.op](*operands)
    operand = operands[0]
    if not operand.terms and operand.number == 0 and node.op in AT_ZERO:
        return Sum((), AT_ZERO[node.op])
    if _is_mean_of_itself(node, operand) or (node.op == "abs" and operand.is_nonnegative):
        return operand
    inside, outside = _signs(node.op, operand)
    return scaled(of_atom(Atom(node.op, node.axes, (scaled(operand, inside), *operands[1:]))), outside)


def _is_mean_of_itself(node: Node, operand: Sum) -> bool:
    """Whether a mean is over axes along which its operand does not vary."""
    if node.op != "mean" or INDEX_SETS[node.axes].batch:
        return False
    axes = INDEX_SETS[node.axes]
    return operand.varies.isdisjoint(axes.reduced + ("c" if axes.grouped else ""))


def _signs(op: str, operand: Sum) -> tuple[float, float]:
    """The numbers that an operand and the result are to be multiplied by, so that the operand is in a fixed form."""
    size = operand.scale if op in ("mean", "abs") else 1.0
    if op in EVEN:
        return operand.leading_sign / size, size
    if op in ODD and max(operand.numbers) <= 0:
        return -1 / size, -size
    return (1 / size, size) if op == "mean" else (1.0, 1.0)


def _extreme(op: str, operands: Sequence[Sum]) -> Sum:
    """The largest or smallest of sums, of which some may be such themselves."""
    found: dict[str, Sum] = {}
    for operand in operands:
        atom = operand.atom
        for one in atom.operands if atom and atom.op == op else (operand,):
            found[one.key] = one
    numbers = [one.number for one in found.values() if not one.terms]
    others = [one for one in found.values() if one.terms]
    number = (max if op == "max" else min)(numbers) if numbers else None
    if number is not None and number <= 0:
        positive = [one for one in others if one.is_nonnegative]
        if op == "max" and positive:
            number = None
        elif op == "min":
            others = [one for one in others if one not in positive]
    rest = [*others, *([Sum((), number)] if number is not None else [])]
    return rest[0] if len(rest) == 1 else of_atom(Atom(op, "", tuple(rest)))


def _written(value: Sum) -> Nodes:
    """The nodes of a value; the last is the output, also where it is an initial node."""
    writer = _Writer()
    output = writer.sum(value)
    nodes = writer.nodes[: max(output + 1, NUM_INITIAL)]
    return tuple(nodes) if output >= NUM_INITIAL else (*nodes, INITIAL[output])


class _Writer:
    """Writes values as nodes, each once."""

    def __init__(self) -> None:
        self.nodes = list(INITIAL)
        self._positions = {node: position for position, node in enumerate(INITIAL)}
        self._sums: dict[str, int] = {}

    def _node(self, op: str, *inputs: int, axes: str = "") -> int:
        node = Node(op, inputs, axes)
        if node not in self._positions:
            self._positions[node] = len(self.nodes)
            self.nodes.append(node)
        return self._positions[node]

    def _number(self, value: float) -> int:
        return self._node("zero") if value == 0 else self._node(constant_op(value))

    def sum(self, value: Sum) -> int:
        """The position of a sum."""
        if value.key not in self._sums:
            self._sums[value.key] = self._sum(value)
        return self._sums[value.key]

    def _sum(self, value: Sum) -> int:
        if not value.terms:
            return self._number(value.number)
        if len(value.terms) == 1 and value.number == 0:
            return self._term(*value.terms[0])
        if value.scale != 1:
            return self._node("mul", self._number(value.scale), self.sum(scaled(value, 1 / value.scale)))
        parts = [(number > 0, self._term(product, abs(number))) for product, number in value.terms]
        if value.number:
            parts.append((value.number > 0, self._number(abs(value.number))))
        first = next((part for part in parts if part[0]), parts[0])  # 'b - a' reads better than '-a + b'
        total = first[1] if first[0] else self._node("neg", first[1])
        for part in parts:
            if part is not first:
                total = self._node("add", total, part[1] if part[0] else self._node("neg", part[1]))
        return total

    def _term(self, product: Product, number: float) -> int:
        if number < 0:
            product, number = _turned(product, number)
        if number < 0:
            return self._node("neg", self._term(product, -number))
        exponents = {factor.exponent for factor in product.factors}
        if len(product.factors) > 1 and len(exponents) == 1 and exponents != {1}:  # (v1 x)^2
            base = self._product([Factor(f.atom, f.inverse) for f in product.factors], 1.0)
            power = self._power(base, exponents.pop())
            return power if number == 1 else self._node("mul", self._number(number), power)
        return self._product(product.factors, number)

    def _product(self, factors: Sequence[Factor], number: float) -> int:
        above, order = [f for f in factors if not f.inverse], list(factors)
        if above:  # 'y / x' reads better than '1 / x * y'
            order.remove(above[0])
            order.insert(0, above[0])
        total = self._number(number) if number != 1 or not above else None
        for factor in order:
            atom = self._atom(factor.atom)
            if factor.inverse and factor.exponent <= REPEATED:
                for _ in range(factor.exponent):
                    total = self._node("div", self._number(1.0) if total is None else total, atom)
                continue
            base = self._node("div", self._number(1.0), atom) if factor.inverse else atom
            power = self._power(base, factor.exponent)
            total = power if total is None else self._node("mul", total, power)
        assert total is not None
        return total

    def _power(self, base: int, exponent: int) -> int:
        if exponent > LARGEST_POWER:
            raise OverflowError
        if exponent == 1:
            return base
        return self._node("square" if exponent == 2 else f"{POWER}{exponent}", base)

    def _atom(self, atom: Atom) -> int:
        if atom.op == PARENTHESES:
            return self.sum(atom.operands[0])
        if constant(atom.op) is not None:
            return self._number(float(atom.op))
        operands = [self.sum(operand) for operand in atom.operands]
        if atom.op not in ("max", "min"):
            return self._node(atom.op, *operands, axes=atom.axes)
        total = operands[0]
        for operand in operands[1:]:
            total = self._node(atom.op, total, operand)
        return total


def _turned(product: Product, number: float) -> tuple[Product, float]:
    """A negative term with a sum turned round in it, so that (b - a) y is not written -(a - b) y, if there is one."""
    for index, factor in enumerate(product.factors):
        if factor.atom.op != PARENTHESES or factor.inverse or factor.exponent % 2 == 0:
            continue
        turned = scaled(factor.atom.operands[0], -1.0)
        if max(turned.numbers) > 0:
            changed = Factor(Atom(PARENTHESES, "", (turned,)), exponent=factor.exponent)
            return Product((*product.factors[:index], changed, *product.factors[index + 1 :])), -number
    return product, number
