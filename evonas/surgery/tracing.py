"""Traces a network with ``torch.fx`` down to its norms and activations, for both of its modes at once."""

import copy
import math
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from evonas.errors import InputError, first_line
from evonas.training.modes import evaluating

NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)

# what takes another path in training, or reads its input twice where it stands for one activation
DROPS = ("timm.layers.drop", "torchvision.ops.stoch")
_LEAF_MODULES = (*DROPS, "timm.layers.activations", "timm.layers.patch_dropout")


class ByMode(nn.Module):
    """One of two numbers by the mode of the model: ``p if self.training else 0.0``, kept alive in a graph."""

    def __init__(self, in_training: float, in_evaluation: float) -> None:
        """Keeps both values."""
        super().__init__()
        self.in_training = in_training
        self.in_evaluation = in_evaluation

    def forward(self) -> float:
        """The value for the current mode."""
        return self.in_training if self.training else self.in_evaluation


class SiteTracer(fx.Tracer):
    """Stops at norms, activations, lowered layers, and what timm and torchvision say cannot be traced."""

    def __init__(self) -> None:
        """Takes no arguments: fx builds the tracer of a pickled GraphModule anew."""
        # neither package is imported here: a model can hold their modules only if they are imported already
        ops = sys.modules.get("torchvision.ops")
        searched: Any = (math, ops) if ops else (math,)  # fx declares a tuple of one
        functions = tuple(f for f in _timm_registry("get_notrace_functions") if callable(f))
        super().__init__(autowrap_modules=searched, autowrap_functions=functions)
        self._untraceable = set(_timm_registry("get_notrace_modules"))
        self.leaves: Collection[str] = ()  # names of further modules to stop at

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the call of ``m`` stays one node of the graph."""
        return (
            isinstance(m, (*NORMS, ByMode))
            or type(m) in self._untraceable
            or module_qualified_name in self.leaves
            or type(m).__module__.startswith(_LEAF_MODULES)
            or isinstance(getattr(m, "body", None), fx.GraphModule)  # a layer lowered by evonas
            or super().is_leaf_module(m, module_qualified_name)
        )

    def create_proxy(self, kind: str, target: Any, args: tuple[Any, ...], *rest: Any, **options: Any) -> Any:
        """A proxy for a new node; an optional input of the model becomes its default instead.

        A proxy in its place would answer ``mask is not None`` with True and trace the wrong branch.
        """
        if kind == "placeholder" and args and isinstance(args[0], (type(None), bool, int, float, str)):
            return args[0]
        return super().create_proxy(kind, target, args, *rest, **options)


def _timm_registry(function: str) -> list[Any]:
    """What timm has registered as not to be traced; nothing where timm is not loaded."""
    for place in ("timm.layers", "timm.models._features_fx"):  # timm moved the registry in 2025
        registry = getattr(sys.modules.get(place), function, None)
        if registry is not None:
            return list(registry())
    return []


def trace(model: nn.Module, *, keep_constants: bool = False, leaves: Collection[str] = ()) -> fx.Graph:
    """The graph of ``model`` in its present mode, with a node for every norm and activation.

    Args:
        model: the network, left as it was unless ``keep_constants``.
        keep_constants: whether tensors that fx meets on the way stay on the model, where a GraphModule needs them.
        leaves: names of modules whose calls stay one node each, whatever they are.

    Raises:
        InputError: fx cannot trace the model; names the line of its code.
    """
    if not keep_constants:
        # fx leaves the tensors it meets on the model, and a forward that caches its values would keep stand-ins of them
        model = copy.deepcopy(model)
    tracer = SiteTracer()
    tracer.leaves = leaves
    try:
        return tracer.trace(model)
    except Exception as error:
        raise InputError(
            type(model).__name__,
            f"torch.fx cannot trace this model: {_line_of(error)}: {type(error).__name__}: {first_line(error)}",
            remedy="give a part of it whose forward does not branch on tensor values, e.g. its backbone, or replace "
            "modules by name with replace_modules(model, {pattern: factory})",
        ) from error


def _line_of(error: Exception) -> str:
    """Where the model's own code was when tracing failed: file, line and text."""
    skipped = (str(Path(torch.__file__).parent), str(Path(__file__).parent))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(skipped)]
    if not frames:
        return "in torch"
    last = frames[-1]
    return f"{'/'.join(Path(last.filename).parts[-3:])}:{last.lineno}: {last.line}"


def mode_free_graph(model: nn.Module, *, leaves: Collection[str] = ()) -> fx.Graph:
    """The graph of ``model`` for both modes.

    Tracing turns ``self.training`` into a constant, so that a functional dropout would never switch again; so
    the model is traced in both modes, and numbers that differ become ``ByMode`` calls.
    """
    with evaluating(model):
        evaluated = trace(model, leaves=leaves)
        trained = trace(model.train(), keep_constants=True, leaves=leaves)
    if len(trained.nodes) != len(evaluated.nodes):
        raise _mode_error(model)
    for node, twin in zip(list(trained.nodes), evaluated.nodes, strict=True):
        for place, values in _switches(node, twin, model).items():
            name = f"_by_mode_{node.name}_{place}"
            model.add_module(name, ByMode(*values).train(model.training))
            with trained.inserting_before(node):
                value = trained.call_module(name)
            if isinstance(place, int):
                node.update_arg(place, value)
            else:
                node.update_kwarg(place, value)
    return trained


def _switches(node: fx.Node, twin: fx.Node, model: nn.Module) -> dict[int | str, tuple[Any, Any]]:
    """The arguments of ``node`` that differ in its twin of the evaluation graph, each with both values."""
    here, there = _arguments(node), _arguments(twin)
    if (node.op, node.target, here.keys()) != (twin.op, twin.target, there.keys()):
        raise _mode_error(model)
    # nodes of two graphs are equal by name, which is their repr
    pairs = {place: (here[place], there[place]) for place in here if repr(here[place]) != repr(there[place])}
    if not all(isinstance(value, (bool, int, float)) for pair in pairs.values() for value in pair):
        raise _mode_error(model)
    return pairs


def _arguments(node: fx.Node) -> dict[int | str, Any]:
    """Positional arguments by position, the others by name."""
    arguments: dict[int | str, Any] = dict(enumerate(node.args))
    arguments.update(node.kwargs)
    return arguments


def _mode_error(model: nn.Module) -> InputError:
    return InputError(
        type(model).__name__,
        "forward takes different paths in training and evaluation, and a traced copy can keep only one",
        remedy="turn off what runs in one mode only, e.g. auxiliary heads, or give a part of the model",
    )
