"""Formulas of a genome: one expression, as plain text or LaTeX. ``evonas.graph.reading`` reads plain ones back."""

from collections import Counter
from functools import cache

from evonas.errors import InputError
from evonas.graph import reading
from evonas.graph.node import NUM_INITIAL, Node
from evonas.graph.notation import Nodes, fresh_names
from evonas.graph.primitive import ATOM, INDEX_SETS, PRIMITIVES, Primitive, PrintedForm, primitive_of
from evonas.graph.simplify import POWER, simplified

SHORTEST_DEFINED = 20  # characters of a part that is used more than once and gets a name of its own
LARGEST_FORMULA = 48  # operations; in a larger one all such parts do


def formula(nodes: Nodes, *, latex: bool = False, exact: bool = False) -> str:
    """The expression of the last node; all intermediate nodes are taken to be active. See ``Genome.formula``."""
    nodes = nodes if exact else simplified(nodes)
    names, shown = named_parts(nodes, exact=exact), _Writing(nodes, latex=latex, exact=exact)
    definitions = []
    for position in range(len(nodes)):
        definition = shown.write(position)
        if position in names:
            definitions.append(f"{names[position]} = {definition}")
            shown.call(position, names[position])
    if not definitions:
        return shown.texts[-1]
    separator, where = (",\\; ", "\\;\\mathrm{where}\\; ") if latex else ("; ", " where ")
    return shown.texts[-1] + where + separator.join(definitions)


def named_parts(nodes: Nodes, *, exact: bool = False) -> dict[int, str]:
    """The parts of an expression that are used more than once and are written once, with their names, by position.

    Short parts are not among them unless the whole expression is large.
    """
    sizes: list[int] = []  # of trees, which grow without bound where parts are shared
    for node in nodes:
        sizes.append(min(1 + sum(sizes[i] for i in node.inputs), LARGEST_FORMULA + 1))
    shortest = SHORTEST_DEFINED if sizes[-1] <= LARGEST_FORMULA else 0
    uses = Counter(i for node in nodes for i in node.inputs)
    plain, names, fresh = _Writing(nodes, exact=exact), {}, fresh_names()
    for position in range(len(nodes)):
        measured = plain.write(position)
        if position >= NUM_INITIAL and uses[position] > 1 and len(measured) >= shortest:
            names[position] = next(fresh)
            plain.call(position, names[position])
    return names


class _Writing:
    """The expressions of nodes, each written from those of its operands.

    Args:
        nodes: what is written.
        latex: as LaTeX, not as plain text.
        exact: with every parenthesis that tells genomes apart, such as that of ``x + (v0 + v1)``.
    """

    def __init__(self, nodes: Nodes, *, latex: bool = False, exact: bool = False) -> None:
        self._nodes, self._latex, self._exact = nodes, latex, exact
        self._named: set[int] = set()
        self._precedences: list[int] = []
        self.texts: list[str] = []

    def call(self, position: int, name: str) -> None:
        """Write a name in the place of a node from now on."""
        self.texts[position], self._precedences[position] = name, ATOM
        self._named.add(position)

    def write(self, position: int) -> str:
        """The expression of the next node."""
        node = self._nodes[position]
        form = _form(node, latex=self._latex, exact=self._exact)
        sources = list(node.inputs)
        if node.op == "add":
            minus = [self.texts[source].startswith("-") for source in sources]
            sources = sources[::-1] if minus == [True, False] else sources  # 'b - a' reads better than '-a + b'
        operands = []
        for slot, source in enumerate(sources):
            text = self.texts[source]
            if self._precedences[source] < self._least(node, slot, source, form):
                text = f"\\left({text}\\right)" if self._latex else f"({text})"
            operands.append(text)
        axes = ""
        if node.axes:
            axes = INDEX_SETS[node.axes].latex if self._latex else node.axes
        self.texts.append(form.template.format(*operands, axes=axes).replace(" + -", " - "))
        self._precedences.append(form.precedence)
        return self.texts[-1]

    def _least(self, node: Node, slot: int, source: int, form: PrintedForm) -> int:
        """The precedence from which on an operand needs no parentheses."""
        least = form.operands[slot]
        if self._exact and slot and node.op in ("add", "mul"):
            subtracted = node.op == "add" and self._nodes[source].op == "neg" and source not in self._named
            return least if subtracted else least + 1  # a + b + c is (a + b) + c
        if self._exact and node.op == "neg" and self.texts[source][0].isdigit():
            return ATOM + 1  # -2 is a number, -(2) an operation on one
        return least


def _form(node: Node, *, latex: bool, exact: bool) -> PrintedForm:
    """How the operation of a node is written."""
    if node.op.startswith(POWER):
        exponent = node.op.removeprefix(POWER)
        return PrintedForm(f"{{0}}^{{{{{exponent}}}}}" if latex else f"{{0}}^{exponent}", 4, (ATOM,))
    primitive = primitive_of(node.op)
    if latex:
        return primitive.latex
    if exact and node.op == "0":
        return PrintedForm("0.0")  # 0 is the initial node
    own = primitive.kind in ("elementwise", "moment") and node.op not in PRIMITIVES.builtin
    return _call(primitive) if own and (exact or not _is_readable(primitive)) else primitive.plain


def _call(primitive: Primitive) -> PrintedForm:
    """The form in which the operation of a user can always be read."""
    axes = "[{axes}]" if primitive.kind == "moment" else ""
    slots = ", ".join(f"{{{slot}}}" for slot in range(primitive.arity))
    return PrintedForm(f"{primitive.name}{axes}({slots})", operands=(0,) * primitive.arity)


@cache
def _is_readable(primitive: Primitive) -> bool:
    """Whether the form that a user gave an operation can be typed back."""
    try:
        reading.from_formula(primitive.plain.template.format(*["(x + v0)"] * primitive.arity, axes="hw"))
    except InputError:
        return False
    return True
