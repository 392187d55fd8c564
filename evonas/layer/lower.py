"""Lower a genome to a torch module through torch.fx."""

import torch
from torch import Tensor, fx, nn

from evonas.errors import InputError
from evonas.graph import functions
from evonas.graph.genome import Genome
from evonas.graph.node import Node
from evonas.graph.primitive import INDEX_SETS, PRIMITIVES
from evonas.layer.ops import BatchMoment

LAYOUTS = ("bchw",)


class NormActLayer(nn.Module):
    """A lowered layer: body(x) * weight + bias, both per channel, the body computed by an fx graph.

    Attributes:
        genome: what was lowered.
        weight: the trailing affine's scale, initially 1.
        bias: the trailing affine's shift, initially 0.
        v0: per-channel parameter of the genome, initially 0; None where the layer does not use it.
        v1: per-channel parameter of the genome, initially 1; None where the layer does not use it.
        body: the fx graph of everything, its parameters given as arguments; ``print(layer.body.code)`` reads well.

    Shapes: x [b, c, h, w] -> the same.
    """

    def __init__(self, body: fx.GraphModule, genome: Genome, num_features: int, *, groups: int, act: bool) -> None:
        super().__init__()
        self.genome, self.num_features, self.groups, self.act = genome, num_features, groups, act
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        used = {node.target for node in body.graph.nodes if node.op == "placeholder"}
        for name, initial in (("v0", 0.0), ("v1", 1.0)):
            value = nn.Parameter(torch.full((num_features,), initial)) if name in used else None
            self.register_parameter(name, value)
        self._arguments = [name for name in ("v0", "v1", "weight", "bias") if name in used]
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        output: Tensor = self.body(x, *(getattr(self, name) for name in self._arguments))
        return output

    def extra_repr(self) -> str:
        """What ``print(layer)`` shows."""
        formula = self.genome.formula() if self.act else "x"
        return f"{self.num_features}, ({formula}) * weight + bias, groups={self.groups}"


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


def lower(
    genome: Genome,
    num_features: int,
    *,
    layout: str = "bchw",
    groups: int = 32,
    eps: float = 1e-5,
    momentum: float = 0.1,
    act: bool = True,
) -> NormActLayer:
    """Make the torch module of a genome.

    Equal expressions are computed once, and everything that does not vary over an axis has size 1 along it.
    Moments over the batch keep running values (``BatchMoment``).

    Args:
        genome: the layer.
        num_features: channels c of the input [b, c, h, w].
        layout: axes of the input; ``bchw``.
        groups: channel groups of ``ghw`` moments, lowered until they divide the channels.
        eps: guard inside roots, divisions and logarithms.
        momentum: weight of the newest batch in running values.
        act: False gives the affine alone, for places where no activation follows a normalization (the convention of
            the released EvoNorms).

    Raises:
        InputError: an unknown layout, or fewer than 1 feature or group.
    """
    if layout not in LAYOUTS:
        raise InputError("layout", repr(layout), accepted=", ".join(LAYOUTS))
    for name, number in (("num_features", num_features), ("groups", groups)):
        if number < 1:
            raise InputError(name, str(number), accepted="1 or more")
    groups = fit_groups(groups, num_features)
    graph, modules = fx.Graph(), nn.ModuleDict()
    x = graph.placeholder("x")
    output = x
    if act:
        output = _Emitter(graph, modules, genome, num_features, groups, eps, momentum).emit(x)
    weight, bias = (
        graph.call_function(functions.per_channel, (graph.placeholder(name), x)) for name in ("weight", "bias")
    )
    graph.output(graph.call_function(torch.add, (graph.call_function(torch.mul, (output, weight)), bias)))
    _placeholders_first(graph)
    graph.lint()
    body = fx.GraphModule(modules, graph, class_name="LayerBody")
    return NormActLayer(body, genome, num_features, groups=groups, act=act)


def _placeholders_first(graph: fx.Graph) -> None:
    """Torch.fx wants arguments before everything else; emission adds them where they are first needed."""
    first = next(iter(graph.nodes))
    for name in ("bias", "weight", "v1", "v0"):
        for node in graph.nodes:
            if node.op == "placeholder" and node.target == name:
                first.append(node)


class _Emitter:
    """Writes the active nodes of one genome into one fx graph."""

    def __init__(
        self,
        graph: fx.Graph,
        modules: nn.ModuleDict,
        genome: Genome,
        channels: int,
        groups: int,
        eps: float,
        momentum: float,
    ) -> None:
        self.graph, self.modules, self.genome = graph, modules, genome
        self.channels, self.groups, self.eps, self.momentum = channels, groups, eps, momentum
        self.bounded = bounded_from_zero(genome.nodes)

    def emit(self, x: fx.Node) -> fx.Node:
        self.x = x
        by_key: dict[str, fx.Node] = {}
        for position in self.genome.active_positions:
            key = self.genome.node_keys[position]
            if key not in by_key:
                operands = [by_key[self.genome.node_keys[i]] for i in self.genome.nodes[position].inputs]
                by_key[key] = self._node(position, operands)
        output = by_key[self.genome.key]
        if not self.genome.varies[-1] >= frozenset("bchw"):
            output = self.graph.call_method("expand_as", (output, x))
        return output

    def _node(self, position: int, operands: list[fx.Node]) -> fx.Node:
        node = self.genome.nodes[position]
        primitive = PRIMITIVES[node.op]
        if node.op == "x":
            return self.x
        if node.op == "zero":
            return self.graph.call_method("new_zeros", (self.x, (1, 1, 1, 1)))
        if primitive.kind == "initial":
            return self.graph.call_function(functions.per_channel, (self.graph.placeholder(node.op), self.x))
        if primitive.kind == "moment":
            return self._moment(position, operands[0])
        if node.op == "div" and self.bounded[node.inputs[1]]:
            return self.graph.call_function(torch.div, tuple(operands))
        if node.op == "max" and "zero" in (ops := [self.genome.nodes[i].op for i in node.inputs]):
            return self.graph.call_function(torch.relu, (operands[1 - ops.index("zero")],))
        extra = (self.eps,) if primitive.guarded else ()
        assert primitive.torch is not None  # only initial nodes have none
        return self.graph.call_function(primitive.torch, (*operands, *extra))

    def _moment(self, position: int, operand: fx.Node) -> fx.Node:
        node = self.genome.nodes[position]
        index_set, over_channels = INDEX_SETS[node.axes], "c" in self.genome.varies[node.inputs[0]]
        if index_set.batch:
            name = f"{node.op}_{node.axes}_{len(self.modules)}"
            channels = self.channels if over_channels else 1
            self.modules[name] = BatchMoment(node.op, channels, self.eps, self.momentum)
            return self.graph.call_module(name, (operand,))
        function, extra = PRIMITIVES[node.op].torch, ((self.eps,) if PRIMITIVES[node.op].guarded else ())
        assert function is not None  # a moment has one
        if not (index_set.grouped and over_channels):
            dims = tuple("bchw".index(letter) for letter in index_set.reduced)
            return self.graph.call_function(function, (operand, dims, *extra))
        split = self.graph.call_function(functions.split_groups, (operand, self.groups))
        grouped = self.graph.call_function(function, (split, (2, 3, 4), *extra))
        return self.graph.call_function(functions.merge_groups, (grouped, self.channels))
