"""Compile lowered layers with torch.compile: once for a genome, for all its sites in all networks.

A compiled function takes everything a site has of its own as arguments (parameters, running values, the input), and its
shapes are dynamic. It serves training alone: layers in evaluation, without gradients, in another dtype or memory
format, or on maps of one pixel run as before, so that nothing is compiled for them. Compiled layers have first
derivatives only; the stability protocol's network must stay as it was.

A failure, of the compiler or of a call, is remembered with its reason and the layers run as before from then on.
"""

import operator
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

from evonas.errors import first_line
from evonas.graph import functions
from evonas.layer.lower import NormActLayer
from evonas.layer.ops import BatchMoment

EXAMPLE = (
    64,
    6,
    16,
    15,
)  # batch, channels a group, height, width: all different, as equal sizes would be tied together


class CompiledFunction:
    """The training function of all layers with one body, compiled when it is made.

    Attributes:
        failure: why it is not used any more; empty as long as it works.
        seconds: what compiling took.
    """

    def __init__(self, body: fx.GraphModule, layer: NormActLayer) -> None:
        self.failure = ""
        self._moments = [str(node.target) for node in layer.body.graph.nodes if node.op == "call_module"]
        started = time.perf_counter()
        try:
            self._function = torch.compile(body, fullgraph=True, dynamic=True)
            self._warm_up(layer)
        except Exception as error:  # whatever the compiler meets, training goes on without it
            self._fail(error)
        self.seconds = time.perf_counter() - started

    def __call__(self, layer: NormActLayer, x: Tensor) -> Tensor | None:
        """The layer's output in training; None where this function is not for such an input, or has failed."""
        if self.failure or not _serves(layer, x):
            return None
        parameters = (getattr(layer, name) for name in layer.argument_names)
        running = (getattr(layer.body, name).running for name in self._moments)
        try:
            # views, since torch takes the sizes of parameters themselves for constants
            output: Tensor = self._function(x, *(p.view_as(p) for p in parameters), *running)
        except Exception as error:  # a wrong input fails again without the compiler, with a message of its own
            self._fail(error)
            return None
        return output

    def _warm_up(self, layer: NormActLayer) -> None:
        """Compile forward and backward, on numbers of no meaning."""
        from torch._dynamo.decorators import mark_unbacked  # the compiler takes a second to import

        batch, in_group, height, width = EXAMPLE
        weight, channels = layer.weight, in_group * layer.groups
        x = weight.new_zeros((batch, channels, height, width), requires_grad=True)
        mark_unbacked(x, 0)  # no conditions on the batch: its size decides nothing
        parameters = [weight.new_ones(channels, requires_grad=True).view(-1) for _ in layer.argument_names]
        running = [getattr(layer.body, name).running for name in self._moments]
        stand_ins = [r.new_ones((1, channels if r.numel() > 1 else 1, 1, 1)) for r in running]
        with torch.enable_grad():
            self._function(x, *parameters, *stand_ins).sum().backward()

    def _fail(self, error: Exception) -> None:
        self.failure = f"{type(error).__name__}: {first_line(error)}"


@dataclass(frozen=True, slots=True)
class CompileOutcome:
    """What compiling the layers of a model came to.

    Attributes:
        layers: how many layers now use a compiled function.
        seconds: spent on compiling now; 0 where all functions were there.
        functions: those the layers use, failed ones among them.
    """

    layers: int
    seconds: float
    functions: tuple[CompiledFunction, ...] = field(repr=False)

    @property
    def failure(self) -> str:
        """The first reason why a function is not used, also one that came up in training; empty if all are."""
        return next((f.failure for f in self.functions if f.failure), "")


class LayerCompiler:
    """Compiles layers, and keeps the functions for other networks with the same layers: one compiler a candidate.

    Use as a context: leaving it lets go of the functions and of what torch remembers about them.
    """

    def __init__(self) -> None:
        self._functions: dict[str, CompiledFunction] = {}

    def compile_layers(self, model: nn.Module) -> CompileOutcome:
        """Switch every layer for maps of a model to compiled functions; training stays possible whatever happens.

        Parameters, buffers, their names and the layers' state dicts stay as they are; copies and pickles of the
        model are as if it had not been compiled.
        """
        lowered = (module for module in model.modules() if isinstance(module, NormActLayer))
        layers = [layer for layer in lowered if layer.layout == "bchw"]
        used, seconds = list[CompiledFunction](), 0.0
        for layer in layers:
            body = shared_body(layer.body)
            key = f"{layer.groups} {layer.weight.dtype} {layer.weight.device} {body.code}"
            if key not in self._functions:
                self._functions[key] = CompiledFunction(body, layer)
                seconds += self._functions[key].seconds
            layer.compiled = self._functions[key]
            used.append(self._functions[key])
        return CompileOutcome(sum(not f.failure for f in used), seconds, tuple(dict.fromkeys(used)))

    def __enter__(self) -> "LayerCompiler":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._functions:
            return  # resetting would import the compiler
        for function in self._functions.values():
            function.failure = "the compiler was closed"
        self._functions.clear()
        torch.compiler.reset()


def compiling_pays(
    step_seconds: float, steps_left: int, *, compile_seconds: float, saved_share: float, margin: float = 1.5
) -> bool:
    """Whether compiling a candidate's layers is expected to save time.

    Args:
        step_seconds: of one training step of every network that is left to train, summed, without compiling.
        steps_left: steps that each of them still takes.
        compile_seconds: what compiling is expected to take.
        saved_share: share of a step that compiled layers save.
        margin: how many times its cost compiling must save; above 1 as both are estimates.
    """
    return steps_left * step_seconds * saved_share > margin * compile_seconds


def shared_body(body: fx.GraphModule) -> fx.GraphModule:
    """The body of a layer as a function that keeps nothing: running values are arguments after the parameters.

    Bodies of layers that share a compiled function have equal code. Moments over the batch branch on whether it is
    empty; a check that it is not spares the compiler the question.
    """
    graph, new = fx.Graph(), dict[fx.Node, fx.Node]()
    nodes = list(body.graph.nodes)
    for node in nodes:
        if node.op == "placeholder":
            new[node] = graph.placeholder(str(node.target))
    running = {node: graph.placeholder(str(node.target)) for node in nodes if node.op == "call_module"}
    if running:
        size = graph.call_method("size", (next(iter(new.values())), 0))
        graph.call_function(torch._check, (graph.call_function(operator.gt, (size, 0)),))
    for node in nodes:
        if node.op == "call_module":
            moment = body.get_submodule(str(node.target))
            assert isinstance(moment, BatchMoment)
            settings = (moment.moment, moment.eps, moment.momentum, True)
            (operand,) = node.args
            assert isinstance(operand, fx.Node)
            new[node] = graph.call_function(functions.batch_moment, (new[operand], running[node], *settings))
        elif node.op != "placeholder":
            new[node] = graph.node_copy(node, lambda old: new[old])
    return fx.GraphModule({}, graph, class_name="SharedBody")


def _serves(layer: NormActLayer, x: Tensor) -> bool:
    return (
        layer.training
        and torch.is_grad_enabled()
        and x.requires_grad
        and x.dtype == layer.weight.dtype
        and x.ndim == 4
        and min(x.shape) > 1
        and x.is_contiguous()
        and not torch.is_autocast_enabled(x.device.type)
        and not torch.compiler.is_compiling()
    )
