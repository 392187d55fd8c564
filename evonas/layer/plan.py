"""What a genome computes, call by call: decisions that lowering to torch.fx and export to source share."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from evonas.graph import functions
from evonas.graph.genome import Genome
from evonas.graph.node import NUM_INITIAL, Node
from evonas.graph.primitive import INDEX_SETS, INITIAL_NODES, PRIMITIVES


class Setting(StrEnum):
    """A number that is known once a layer is made; calls refer to it by name."""

    CHANNELS = "num_features"
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


Expression = Call | BatchCall | Variable | Parameter | Setting | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """``name = value``; the value has size 1 along the axes of ``bchw`` that are not in ``varies``."""

    name: str
    value: Call | BatchCall
    varies: frozenset[str]


X, OUTPUT = Variable("x"), Variable("y")


def _of_channel(parameter: str) -> Call:
    return Call(functions.per_channel, (Parameter(parameter), X))


ZERO = Call("new_zeros", (X, (1, 1, 1, 1)))
AFFINE = Call(torch.add, (Call(torch.mul, (OUTPUT, _of_channel("weight"))), _of_channel("bias")))


def fit_groups(groups: int, channels: int) -> int:
    """The largest number of groups up to ``groups`` that divides the channels."""
    return next(g for g in range(min(groups, channels), 0, -1) if channels % g == 0)


def bounded_from_zero(nodes: tuple[Node, ...]) -> list[bool]:
    """Per node, whether its value is surely at least sqrt(eps), so that dividing by it needs no guard."""
    result: list[bool] = []
    for node in nodes:
        of = [result[i] for i in node.inputs]
        sure = {"std": True, "rms": True, "max": any(of), "add": all(of), "mean": all(of), "abs": all(of)}
        result.append(bool(of) and sure.get(node.op, False))
    return result


def steps_of(genome: Genome) -> tuple[Step, ...]:
    """The steps from ``x`` to ``y``; ``AFFINE`` follows them.

    There is one step for each different expression among the active nodes. Variables have the names of the
    active genome's text, whose last statement gives ``y``.
    """
    return _Planner(genome.active()).steps()


class _Planner:
    def __init__(self, genome: Genome) -> None:
        self.nodes, self.keys, self.varies = genome.nodes, genome.node_keys, genome.varies
        self.bounded = bounded_from_zero(genome.nodes)
        self.positions = genome.active_positions
        *statements, _ = genome.to_text().split("; ")
        self.names = [*INITIAL_NODES, *(s.partition(" = ")[0] for s in statements), OUTPUT.name]
        self.batch_calls = 0

    def steps(self) -> tuple[Step, ...]:
        first: dict[str, str] = {}  # the variable of each expression
        steps = []
        for position in self.positions:
            if self.keys[position] in first:
                self.names[position] = first[self.keys[position]]
                continue
            first[self.keys[position]] = self.names[position]
            if self.nodes[position].op not in ("x", "zero"):  # x is there, 0 is written where it is used
                steps.append(Step(self.names[position], self._value(position), self.varies[position]))
        if self.varies[-1] != frozenset("bchw"):
            steps.append(Step(OUTPUT.name, Call("expand_as", (OUTPUT, X)), frozenset("bchw")))
        return tuple(steps)

    def _value(self, position: int) -> Call | BatchCall:
        node = self.nodes[position]
        if position < NUM_INITIAL:
            return _of_channel(node.op)
        operands = [ZERO if self.nodes[i].op == "zero" else Variable(self.names[i]) for i in node.inputs]
        if node.axes:
            return self._moment(node, operands[0])
        if node.op == "div" and self.bounded[node.inputs[1]]:
            return Call(torch.div, tuple(operands))
        if node.op == "max" and ZERO in operands:
            return Call(torch.relu, (operands[1 - operands.index(ZERO)],))
        return _guarded(node.op, *operands)

    def _moment(self, node: Node, operand: Expression) -> Call | BatchCall:
        index_set, over_channels = INDEX_SETS[node.axes], "c" in self.varies[node.inputs[0]]
        if index_set.batch:
            self.batch_calls += 1
            module = f"{node.op}_{node.axes}_{self.batch_calls - 1}"
            return BatchCall(module, node.op, over_channels, operand)
        if not (index_set.grouped and over_channels):
            return _guarded(node.op, operand, tuple("bchw".index(letter) for letter in index_set.reduced))
        split = Call(functions.split_groups, (operand, Setting.GROUPS))
        return Call(functions.merge_groups, (_guarded(node.op, split, (2, 3, 4)), Setting.CHANNELS))


def _guarded(op: str, *arguments: Expression) -> Call:
    """A call of a primitive's torch function, with ``eps`` last if it takes one."""
    primitive = PRIMITIVES[op]
    assert primitive.torch is not None  # only initial nodes have none
    return Call(primitive.torch, (*arguments, Setting.EPS) if primitive.guarded else arguments)
