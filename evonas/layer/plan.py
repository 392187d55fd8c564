"""What a genome computes, call by call: decisions that lowering to torch.fx and export to source share."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.graph import functions
from evonas.graph.catalogue import known_layout
from evonas.graph.genome import Genome
from evonas.graph.node import NUM_INITIAL, Node
from evonas.graph.primitive import INDEX_SETS, INITIAL_NODES, LAYOUTS, PRIMITIVES, constant
from evonas.layer.fuse import standardized


class Setting(StrEnum):
    """A number that is known once a layer is made; calls refer to it by name."""

    GROUPS = "groups"
    EPS = "eps"


@dataclass(frozen=True, slots=True)
class Variable:
    """The value of an earlier step, or the input ``x``."""

    name: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the layer, one value per channel: [c]."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function; where ``function`` is text, of that method of the first argument."""

    function: Callable[..., Tensor] | str
    arguments: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class BatchCall:
    """A call of a ``BatchMoment`` that the layer keeps under ``module``.

    Attributes:
        module: a name that is unique within the layer, e.g. ``std_bhw_0``.
        moment: the primitive: ``mean``, ``rms`` or ``std``.
        per_channel: the operand varies over channels; otherwise there is a single running value.
        operand: what the moment is taken of.
    """

    module: str
    moment: str
    per_channel: bool
    operand: "Expression"


Expression = Call | BatchCall | Variable | Parameter | Setting | float | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """``name = value``; the value has size 1 along the axes of ``bchw`` that are not in ``varies``."""

    name: str
    value: Call | BatchCall
    varies: frozenset[str]


X, OUTPUT = Variable("x"), Variable("y")


def _of_channel(parameter: str) -> Call:
    return Call(functions.per_channel, (Parameter(parameter),))


def _narrow(value: Expression) -> Call:
    return Call(functions.narrow, (value, X))


ZERO = Call("new_zeros", (X, (1, 1, 1, 1)))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a layer computes: the steps in order, then the output, which is the trailing affine if there is one.

    Attributes:
        steps: each may use those before it.
        output: the value of the layer.
        argument: the name of the input: ``x``, or ``tokens`` that the first step makes ``x`` of.
    """

    steps: tuple[Step, ...]
    output: Expression
    argument: str = X.name


def _with_affine(steps: list[Step], y: Expression, scale: Expression | None) -> Plan:
    """The steps, then y * scale * weight + bias with the two scales multiplied first: they are small."""
    last = [Step(name, _of_channel(name), frozenset("c")) for name in ("weight", "bias")]
    weight, bias = (Variable(step.name) for step in last)
    output = Call(functions.affine, (y, weight if scale is None else _times(weight, scale), bias))
    return Plan((*steps, *last), output)


def _times(factor: Expression | None, scale: Expression) -> Expression:
    """The product of two scales, either of which may be one over something."""
    if factor is None:
        return scale
    for one, other in ((factor, scale), (scale, factor)):
        match other:
            case Call(function, (divisor,)) if function is functions.reciprocal:
                return Call(torch.div, (one, divisor))
    return Call(torch.mul, (factor, scale))


def affine_alone(layout: str) -> Plan:
    """The plan of x * weight + bias."""
    return _in_layout(_with_affine([], X, None), layout)


def _in_layout(plan: Plan, layout: str) -> Plan:
    """The plan for inputs of a layout; inside, everything is [b, c, h, w]."""
    if layout == "bchw":
        return plan
    tokens = Variable("tokens")
    enter = Step(X.name, Call(functions.as_maps, (tokens,)), frozenset("bchw"))
    return Plan((enter, *plan.steps), Call(functions.as_tokens, (plan.output, tokens)), tokens.name)


def layout_of(genome: Genome, layout: str | None) -> str:
    """The layout a layer is made for: the given one, or that of its index sets, or that it was published for.

    A layer without moments computes the same in every layout but for the axis of its per-channel parameters, so that
    nothing in it tells where the channels are.

    Raises:
        InputError: an unknown layout, index sets of another one or of two, or no layout for a layer without moments
            that is not in the catalogue.
    """
    if layout is not None and layout not in LAYOUTS:
        raise InputError("layout", repr(layout), accepted=", ".join(LAYOUTS))
    chosen = layout or known_layout(genome)
    if chosen is None:
        raise InputError(
            "layout",
            f"not given, and {genome.formula()} has no moment that tells which axis holds the channels",
            accepted="bchw, where channels come second, or btd, where features come last",
        )
    if other := [found for found in genome.layouts if found != chosen]:
        fitting = ", ".join(name for name, s in INDEX_SETS.items() if s.layout == chosen)
        raise InputError("layout", f"the layer has index sets of {other[0]}, not of {chosen}", accepted=fitting)
    return chosen


def fit_groups(groups: int, channels: int) -> int:
    """The largest number of groups up to ``groups`` that divides the channels."""
    return next(g for g in range(min(groups, channels), 0, -1) if channels % g == 0)


def bounded_from_zero(nodes: tuple[Node, ...]) -> list[bool]:
    """Per node, whether its value is surely at least sqrt(eps), so that dividing by it needs no guard."""
    result: list[bool] = []
    for node in nodes:
        of = [result[i] for i in node.inputs]
        sure = {"std": True, "rms": True, "max": any(of)} | dict.fromkeys(("min", "add", "mean", "abs"), all(of))
        result.append(bool(of) and sure.get(node.op, False))
    return result


def plan_of(genome: Genome, layout: str, *, affine: bool = True) -> Plan:
    """The plan of a genome for inputs of a layout, with the trailing affine or without it.

    There is one step for each different expression among the active nodes that the output needs. Variables have the
    names of the active genome's text. (y - mean(y)) / std(y) is one call where torch has one. Products with values that
    do not vary over the map, and quotients by such, are put together while they are small: x / std * v1 becomes
    x * (v1 / std), and the trailing affine takes part in it.
    """
    return _in_layout(_Planner(genome.active()).plan(affine), layout)


class _Planner:
    def __init__(self, genome: Genome) -> None:
        self.nodes, self.keys, self.varies = genome.nodes, genome.node_keys, genome.varies
        self.bounded = bounded_from_zero(genome.nodes)
        self.positions = genome.active_positions
        *statements, _ = genome.to_text().split("; ")
        self.names = [*INITIAL_NODES, *(s.partition(" = ")[0] for s in statements), OUTPUT.name]
        self.first: dict[str, int] = {}  # of several nodes with one expression, the first is computed
        for position in self.positions:
            self.first.setdefault(self.keys[position], position)
        self.standardized = standardized(genome)
        self._drop_unneeded()
        self.wide = self._wide()
        self.deferred = self._deferred()
        self.scaled: dict[int, tuple[Expression, Expression]] = {}  # what was deferred, as (value, scale)
        self.batch_calls = 0

    def plan(self, affine: bool) -> Plan:
        steps = []
        for position in self.first.values():
            if self._constant(position) is not None or self.nodes[position].op in ("x", "zero"):
                continue  # x is there, numbers are written where they are used
            value = self._value(position)
            if position not in self.deferred:
                steps.append(Step(self.names[position], value, self.varies[position]))
        last = self._of(len(self.nodes) - 1)
        if last in self.scaled:
            y, scale = self.scaled[last]
            return _with_affine(steps, y, scale) if affine else Plan((*steps,), Call(torch.mul, (y, _narrow(scale))))
        output = self._operand(last)
        if self.varies[last] != frozenset("bchw"):
            steps.append(Step(OUTPUT.name, Call("expand_as", (self._in_map(last), X)), frozenset("bchw")))
            output = OUTPUT
        return _with_affine(steps, output, None) if affine else Plan((*steps,), output)

    def _of(self, position: int) -> int:
        """The node that is computed for this one."""
        return self.first[self.keys[position]]

    def _operands_of(self, position: int) -> list[int]:
        """The nodes that this one is computed from."""
        inputs = (self.standardized[position],) if position in self.standardized else self.nodes[position].inputs
        return [self._of(i) for i in inputs]

    def _drop_unneeded(self) -> None:
        """Leave out what only calls that take several nodes together would have needed."""
        needed = {self._of(len(self.nodes) - 1)}
        for position in reversed(self.first.values()):
            if position in needed:
                needed.update(self._operands_of(position))
        self.first = {key: position for key, position in self.first.items() if position in needed}

    def _scaling(self, position: int) -> tuple[int, Expression] | None:
        """The operand that this node only scales, and the scale; None if the node does anything else."""
        node = self.nodes[position]
        if node.op not in ("mul", "div") or position in self.standardized:
            return None
        left, right = (self._of(i) for i in node.inputs)
        if node.op == "mul" and self._over_map(right):
            left, right = right, left
        if not self._over_map(left) or self._over_map(right):
            return None
        if node.op == "mul":
            return left, self._operand(right)
        # one over a guarded divisor may be beyond half precision
        return (left, Call(functions.reciprocal, (self._operand(right),))) if self.bounded[right] else None

    def _over_map(self, position: int) -> bool:
        return bool(self.varies[position] & {"h", "w"})

    def _wide(self) -> list[bool]:
        """Per node, whether it is of statistics and parameters alone, which are in single precision, and not a map."""
        result: list[bool] = []
        for node, varies in zip(self.nodes, self.varies, strict=True):
            of_these = node.op != "x" and all(result[i] for i in node.inputs)
            result.append(bool(node.axes) or (of_these and varies != frozenset("bchw")))
        return result

    def _deferred(self) -> set[int]:
        """The scalings whose result is only scaled further, so that the scales can be multiplied first."""
        result, plain = set[int](), set[int]()  # plain: needed as they are
        for position in reversed(self.first.values()):
            scaling = self._scaling(position)
            if scaling is not None and position not in plain:
                result.add(position)
            plain.update(i for i in self._operands_of(position) if scaling is None or i != scaling[0])
        return result

    def _operand(self, position: int) -> Expression:
        number = self._constant(position)
        if number is not None:
            return Call("new_full", (X, (1, 1, 1, 1), number))
        return ZERO if self.nodes[position].op == "zero" else Variable(self.names[self._of(position)])

    def _in_map(self, position: int) -> Expression:
        """The operand for an operation on a map, which is in the dtype of x."""
        operand = self._operand(position)
        return _narrow(operand) if isinstance(operand, Variable) and self.wide[position] else operand

    def _constant(self, position: int) -> float | None:
        return constant(self.nodes[position].op)

    def _value(self, position: int) -> Call | BatchCall:
        node = self.nodes[position]
        if position < NUM_INITIAL:
            return _of_channel(node.op)
        if scaling := self._scaling(position):
            source, scale = scaling
            value, factor = self.scaled.get(source, (self._in_map(source), None))
            scale = _times(factor, scale)
            if position in self.deferred:
                self.scaled[position] = value, scale
            return Call(torch.mul, (value, _narrow(scale)))
        if position in self.standardized:
            axes = self.nodes[node.inputs[1]].axes
            return _standardizing(axes, self._in_map(self.standardized[position]))
        if node.axes:
            return self._moment(node, self._operand(node.inputs[0]))
        operands = [self._operand(i) if self.wide[position] else self._in_map(i) for i in node.inputs]
        if node.op == "div" and self.bounded[node.inputs[1]]:
            over_map = any(self._over_map(i) for i in node.inputs)
            return Call(functions.quotient if over_map else torch.div, tuple(operands))
        if node.op == "max" and ZERO in operands:
            return Call(torch.relu, (operands[1 - operands.index(ZERO)],))
        if node.op in ("max", "min"):
            for limited, limit in (node.inputs, node.inputs[::-1]):
                if (number := self._constant(limit)) is not None:
                    clamp = torch.clamp_min if node.op == "max" else torch.clamp_max
                    return Call(clamp, (operands[node.inputs.index(limited)], number))
        if node.op == "max" and not self._over_map(node.inputs[0]):
            operands.reverse()  # its gradient keeps the second operand: better the small one
        return _guarded(node.op, *operands)

    def _moment(self, node: Node, operand: Expression) -> Call | BatchCall:
        index_set, over_channels = INDEX_SETS[node.axes], "c" in self.varies[node.inputs[0]]
        if index_set.batch:
            self.batch_calls += 1
            module = f"{node.op}_{node.axes}_{self.batch_calls - 1}"
            return BatchCall(module, node.op, over_channels, operand)
        if index_set.grouped and over_channels:
            split = Call(functions.split_groups, (operand, Setting.GROUPS))
            dims = (2, *("bgchw".index(letter) for letter in index_set.reduced))
            return Call(functions.merge_groups, (_guarded(node.op, split, dims), X))
        # a group of equal values has the moment of one of them: nothing to reduce but a size of 1
        return _guarded(node.op, operand, tuple("bchw".index(letter) for letter in index_set.reduced or "c"))


def _guarded(op: str, *arguments: Expression) -> Call:
    """A call of a primitive's torch function, with ``eps`` last if it takes one."""
    primitive = PRIMITIVES[op]
    assert primitive.torch is not None  # only initial nodes have none
    return Call(primitive.torch, (*arguments, Setting.EPS) if primitive.guarded else arguments)


def _standardizing(axes: str, operand: Expression) -> Call:
    """(y - mean(y)) / std(y) of a map y."""
    index_set = INDEX_SETS[axes]
    if "h" not in index_set.reduced:
        return Call(functions.standardize_features, (operand, Setting.EPS))
    each_channel = Call("size", (operand, 1))
    groups = Setting.GROUPS if index_set.grouped else 1 if "c" in index_set.reduced else each_channel
    return Call(functions.standardize, (operand, groups, Setting.EPS))
