"""The same layer in the operations of a search space, which has no numbers.

Formulas for people have numbers that their layers have not: x + x is shown as 2 x. Typed as the first layer of a
search, they are to be what they came from.
"""

from evonas.graph.genome import Genome
from evonas.graph.node import INITIAL, NUM_INITIAL, Node
from evonas.graph.primitive import INITIAL_NODES, constant, constant_op

LARGEST = 2**16  # numbers above it stay
ZERO = INITIAL_NODES.index("zero")


def without_numbers(genome: Genome, *, squares: bool) -> Genome:
    """The layer with sums in the place of whole numbers and halves: 2 x is x + x, 1 is exp(0), 0.5 is sigmoid(0).

    Args:
        genome: the layer; other numbers in it stay.
        squares: whether squares may stay, too; otherwise they are products.
    """
    numbers = [constant(node.op) for node in genome.nodes]
    products = [] if squares else [node for node in genome.nodes if node.op == "square"]
    if not products and all(number is None for number in numbers):
        return genome
    speller = _Speller()
    for node, number in zip(genome.nodes[NUM_INITIAL:], numbers[NUM_INITIAL:], strict=True):
        speller.add(node, number, squares=squares)
    speller.finish()
    return Genome(tuple(speller.nodes)).active()


class _Speller:
    """Nodes without numbers, and where those of the genome are among them."""

    def __init__(self) -> None:
        self.nodes = list(INITIAL)
        self._positions: list[int | float] = list(
            range(NUM_INITIAL)
        )  # or, as a float, a number that is not spelled yet

    def add(self, node: Node, number: float | None, *, squares: bool) -> None:
        """Spell the next node of the genome."""
        self._positions.append(number if number is not None else self._spelled(node, squares=squares))

    def finish(self) -> None:
        """Make the last node the output, also where an earlier one, or a number, came to be it."""
        output = self._position(len(self._positions) - 1)
        if output != len(self.nodes) - 1 or output < NUM_INITIAL:
            self._node("add", output, ZERO)

    def _position(self, old: int) -> int:
        found = self._positions[old]
        return found if isinstance(found, int) else self._number(found)

    def _node(self, op: str, *inputs: int, axes: str = "") -> int:
        self.nodes.append(Node(op, inputs, axes))
        return len(self.nodes) - 1

    def _spelled(self, node: Node, *, squares: bool) -> int:
        if node.op == "mul":
            for first, other in (node.inputs, node.inputs[::-1]):
                factor = self._positions[first]
                if isinstance(factor, float) and _is_short(factor):
                    return self._multiple(factor, self._position(other))
        inputs = [self._position(i) for i in node.inputs]
        if node.op == "square" and not squares:
            return self._node("mul", inputs[0], inputs[0])
        return self._node(node.op, *inputs, axes=node.axes)

    def _number(self, number: float) -> int:
        if number == 0:
            return ZERO
        if _is_short(number):
            return self._multiple(number, self._node("exp", ZERO))
        if _is_short(2 * number):
            return self._multiple(2 * number, self._node("sigmoid", ZERO))
        return self._node(constant_op(number))

    def _multiple(self, number: float, position: int) -> int:
        total = self._times(int(abs(number)), position)
        return self._node("neg", total) if number < 0 else total

    def _times(self, count: int, position: int) -> int:
        if count == 1:
            return position
        if count % 2:
            return self._node("add", self._times(count - 1, position), position)
        half = self._times(count // 2, position)
        return self._node("add", half, half)


def _is_short(number: float) -> bool:
    return number == int(number) and 1 <= abs(number) <= LARGEST
