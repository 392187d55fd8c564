"""Lower a genome to a torch module through torch.fx."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, fx, nn

from evonas.errors import InputError
from evonas.graph import functions
from evonas.graph.catalogue import genome_of
from evonas.graph.genome import Genome
from evonas.graph.primitive import PRIMITIVES
from evonas.layer.ops import BatchMoment
from evonas.layer.plan import (
    BatchCall,
    Call,
    Expression,
    Parameter,
    Plan,
    Setting,
    Variable,
    affine_alone,
    fit_groups,
    layout_of,
    plan_of,
)

PARAMETERS = ("v0", "v1", "weight", "bias")  # of every channel one value, in the order of a body's arguments


@dataclass(frozen=True, slots=True)
class Recipe:
    """How layers are lowered, whatever their number of features.

    Attributes:
        genome: the layer.
        layout: axes of the inputs, ``bchw`` or ``btd``.
        groups: channel groups, lowered until they divide the channels.
        eps: guard inside roots, divisions and logarithms.
        momentum: weight of the newest batch in running values.

    Raises:
        InputError: a number that cannot be.
    """

    genome: Genome
    layout: str
    groups: int = 32
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        _require_count("groups", self.groups)
        if not self.eps >= 0:
            raise InputError("eps", repr(self.eps), accepted="0 or more")
        if not 0 <= self.momentum <= 1:
            raise InputError("momentum", repr(self.momentum), accepted="0 to 1")


class NormActLayer(nn.Module):
    """A lowered layer: body(x) * weight + bias, both per channel, the body computed by an fx graph.

    Attributes:
        recipe: how it was lowered.
        genome: what was lowered.
        weight: the trailing affine's scale, initially 1.
        bias: the trailing affine's shift, initially 0.
        v0: per-channel parameter of the genome, initially 0; None where the layer does not use it.
        v1: per-channel parameter of the genome, initially 1; None where the layer does not use it.
        body: the fx graph of everything, its parameters given as arguments; see ``print(layer.body.code)``.
        argument_names: the parameters that the body takes after x, in order.
        compiled: computes the same in training where it can, and gives None where it cannot; see
            ``evonas.layer.compiling``. It stays behind when the layer is copied or pickled.

    Shapes: x [b, c, h, w] -> the same; with layout ``btd`` x [..., t, d] -> the same.
    """

    v0: nn.Parameter | None
    v1: nn.Parameter | None
    compiled: "Callable[[NormActLayer, Tensor], Tensor | None] | None" = None

    def __init__(
        self,
        recipe: Recipe,
        num_features: int,
        *,
        act: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _require_count("num_features", num_features)
        self.recipe, self.genome, self.layout = recipe, recipe.genome, recipe.layout
        self.num_features, self.groups, self.act = num_features, fit_groups(recipe.groups, num_features), act
        plan = plan_of(self.genome, self.layout) if act else affine_alone(self.layout)
        body = body_of(plan, recipe, num_features, device, dtype)

        def parameter() -> nn.Parameter:
            return nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))

        self.weight, self.bias = parameter(), parameter()
        self.argument_names = argument_names(body)
        for name in ("v0", "v1"):
            self.register_parameter(name, parameter() if name in self.argument_names else None)
        self.reset_parameters()
        self.body = body

    def reset_parameters(self) -> None:
        """Set the parameters to their initial values; running values are reset by the parts that hold them."""
        for parameter, value in ((self.weight, 1.0), (self.bias, 0.0), (self.v0, 0.0), (self.v1, 1.0)):
            if parameter is not None:
                nn.init.constant_(parameter, value)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer.

        Raises:
            InputError: an input without the layer's channels where they should be.
        """
        if self.compiled is not None and (compiled := self.compiled(self, x)) is not None:
            return compiled
        try:  # checks after the fact cost nothing where nothing is wrong
            output: Tensor = self.body(x, *(getattr(self, name) for name in self.argument_names))
        except Exception as error:
            self._refuse_shape(x, error)
            raise
        return output

    def _refuse_shape(self, x: Tensor, error: Exception) -> None:
        maps, wanted = self.layout == "bchw", self.num_features
        fits = x.shape[1] == wanted if maps and x.ndim == 4 else not maps and x.ndim > 1 and x.shape[-1] == wanted
        if not fits:
            accepted = f"[b, {wanted}, h, w]" if maps else f"[..., t, {wanted}]"
            remedy = "layers of images and of tokens are lowered with layout='bchw' and layout='btd'"
            raise InputError("x", f"has the shape {list(x.shape)}", accepted=accepted, remedy=remedy) from error

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "compiled"}

    def extra_repr(self) -> str:
        """What ``print(layer)`` shows."""
        formula = self.genome.formula() if self.act else "x"
        return f"{self.num_features}, ({formula}) * weight + bias, layout={self.layout}, groups={self.groups}"


def lower(
    genome: Genome | str,
    num_features: int,
    *,
    layout: str | None = None,
    groups: int = 32,
    eps: float = 1e-5,
    momentum: float = 0.1,
    act: bool = True,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> NormActLayer:
    """Make the torch module of a genome.

    Equal expressions are computed once, and everything that does not vary over an axis has size 1 along it.
    Moments over the batch keep running values (``BatchMoment``).

    Args:
        genome: the layer, or its catalogue name, formula or text form.
        num_features: channels c of the input [b, c, h, w], or features d of [..., t, d].
        layout: axes of the input: ``bchw`` or ``btd``. None takes that of the genome's index sets, or for a catalogue
            layer that it was published for; any other layer without moments needs it.
        groups: channel groups of ``ghw`` and the like, lowered until they divide the channels.
        eps: guard inside roots, divisions and logarithms.
        momentum: weight of the newest batch in running values.
        act: False gives the affine alone, for places where no activation follows a normalization (the
            convention of the released EvoNorms).
        device: of parameters and running values, ``"meta"`` included; None takes torch's default.
        dtype: of parameters and running values; None takes torch's default.

    Raises:
        InputError: no such layer, an unknown layout, one that is not the genome's or none where it is needed, or a
            number that cannot be.
    """
    genome = genome_of(genome)
    recipe = Recipe(genome, layout_of(genome, layout), groups, eps, momentum)
    return NormActLayer(recipe, num_features, act=act, device=device, dtype=dtype)


def body_of(
    plan: Plan,
    recipe: Recipe,
    num_features: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> fx.GraphModule:
    """The fx graph of a plan, called with the input and then with the parameters that it uses (``argument_names``).

    A parameter is given as [c], or as [b, c] where every sample has values of its own.
    """
    groups = fit_groups(recipe.groups, num_features)
    settings: dict[Setting, float] = {Setting.GROUPS: groups, Setting.EPS: recipe.eps}
    return _Emitter(num_features, settings, recipe.momentum, device, dtype).body(plan)


def argument_names(body: fx.GraphModule) -> list[str]:
    """The parameters that a body takes after its input, in order."""
    return [str(node.target) for node in body.graph.nodes if node.op == "placeholder"][1:]


def _require_count(name: str, number: object) -> None:
    if not isinstance(number, Integral) or number < 1:
        raise InputError(name, repr(number), accepted="1 or more")


class _WholeFunctions(fx.Tracer):
    """How torch.fx reads a pickled body back: the functions of primitives branch on dtypes and stay single calls."""

    def __init__(self) -> None:
        own = (primitive.torch for primitive in PRIMITIVES.values())
        super().__init__(
            autowrap_modules=(functions,), autowrap_functions=tuple(f for f in own if isinstance(f, FunctionType))
        )


class _Emitter:
    """Writes the steps of one layer into one fx graph."""

    def __init__(
        self,
        channels: int,
        settings: dict[Setting, float],
        momentum: float,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        self.device, self.dtype = device, dtype
        self.graph, self.modules = fx.Graph(tracer_cls=_WholeFunctions), nn.ModuleDict()
        self.channels, self.settings, self.momentum = channels, settings, momentum

    def body(self, plan: Plan) -> fx.GraphModule:
        self.variables = {plan.argument: self.graph.placeholder(plan.argument)}
        used = {step.name for step in plan.steps}
        self.parameters = {name: self.graph.placeholder(name) for name in PARAMETERS if name in used}
        for step in plan.steps:
            self.variables[step.name] = self._emit(step.value)
        self.graph.output(self._emit(plan.output))
        self.graph.lint()
        return fx.GraphModule(self.modules, self.graph, class_name="LayerBody")

    def _emit(self, expression: Expression) -> Any:
        match expression:
            case Variable(name):
                return self.variables[name]
            case Parameter(name):
                return self.parameters[name]
            case Setting():
                return self.settings[expression]
            case BatchCall():
                return self._batch_call(expression)
            case Call(function, arguments):
                values = tuple(map(self._emit, arguments))
                if isinstance(function, str):
                    return self.graph.call_method(function, values)
                return self.graph.call_function(function, values)
            case axes:
                return axes

    def _batch_call(self, call: BatchCall) -> fx.Node:
        channels = self.channels if call.per_channel else 1
        eps = self.settings[Setting.EPS]
        moment = BatchMoment(call.moment, channels, eps, self.momentum, self.device, self.dtype)
        self.modules[call.module] = moment
        return self.graph.call_module(call.module, (self._emit(call.operand),))
