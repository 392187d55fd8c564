"""The response of a layer as pages define it, from the torch functions of its primitives: what browsers are held to."""

from dataclasses import dataclass

import torch
from torch import Tensor

from evonas.graph.genome import Genome
from evonas.graph.node import Node
from evonas.graph.primitive import PRIMITIVES, constant

GROUP = 201  # quantiles of the normal distribution, at (i + 1/2) / 201


@dataclass(frozen=True, slots=True)
class Setting:
    """Values of the parameters, and of the group that moments are taken over."""

    v0: float = 0.0
    v1: float = 1.0
    mu: float = 0.0
    sigma: float = 1.0
    eps: float = 1e-5


def group_of(setting: Setting) -> Tensor:
    """The inputs that every moment is taken over."""
    places = (torch.arange(GROUP, dtype=torch.float64) + 0.5) / GROUP
    return setting.mu + setting.sigma * torch.special.ndtri(places)


def response(genome: Genome, inputs: Tensor, setting: Setting) -> tuple[Tensor, Tensor]:
    """Outputs and derivatives at some inputs, with the moments of the group held fixed."""
    moments: dict[int, Tensor] = {}
    _output(genome, group_of(setting), setting, moments)
    x = inputs.clone().requires_grad_()
    y = _output(genome, x, setting, {place: moment.detach() for place, moment in moments.items()})
    (slope,) = torch.autograd.grad(y.expand(x.shape).sum() + 0 * x.sum(), x)
    return y.detach().expand(x.shape), slope


def _output(genome: Genome, x: Tensor, setting: Setting, moments: dict[int, Tensor]) -> Tensor:
    """The last node's values; moments that are not there yet are taken over x, and put there."""
    values: list[Tensor] = []
    for place, node in enumerate(genome.nodes):
        if node.axes and place not in moments:
            primitive, operand = PRIMITIVES[node.op], values[node.inputs[0]].expand(x.shape)
            assert primitive.torch is not None
            moments[place] = primitive.torch(operand, (0,), *([setting.eps] if primitive.guarded else []))
        values.append(moments[place] if node.axes else _value(node, values, x, setting))
    return values[-1]


def _value(node: Node, values: list[Tensor], x: Tensor, setting: Setting) -> Tensor:
    if node.op == "x":
        return x
    known = {"zero": 0.0, "v0": setting.v0, "v1": setting.v1}.get(node.op, constant(node.op))
    if known is not None:
        return torch.tensor([known], dtype=x.dtype)
    primitive = PRIMITIVES[node.op]
    assert primitive.torch is not None
    operands = [values[source] for source in node.inputs]
    return primitive.torch(*operands, *([setting.eps] if primitive.guarded else []))
