"""Finds the normalization-activation sites of a model by call site, and replaces them in a copy.

A module name is not enough to say which activation belongs to a norm: torchvision's ``BasicBlock`` calls
one ``relu`` module both after ``bn1`` and after the addition. So the model is traced with ``torch.fx``, and a
norm is paired with an activation only where the activation's call directly consumes the norm's output.
"""

import copy
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from evonas.errors import InputError

_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)

# Sigmoid, Hardsigmoid, Softmax and GLU are gates, not activations: a norm in front of one is bare.
_ACTIVATIONS = (
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.Hardtanh, nn.Tanh, nn.Softplus, nn.Softsign),
    *(nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish),
)
_GATES = ("Sigmoid", "HardSigmoid")  # timm's own spelling, in timm.layers.activations
_METHODS = frozenset({"relu", "relu_", "tanh", "tanh_"})
_FUNCTIONS = frozenset(
    {
        *(torch.relu, torch.relu_, torch.tanh, torch.tanh_, torch.celu, torch.selu, torch.rrelu),
        *(F.relu, F.relu_, F.relu6, F.leaky_relu, F.rrelu, F.hardtanh, F.tanh, F.softplus, F.softsign),
        *(F.elu, F.elu_, F.celu, F.selu, F.gelu, F.silu, F.mish, F.hardswish),
    }
)

# what takes another path in training, or reads its input twice where it stands for one activation
_LEAF_MODULES = (
    "timm.layers.activations",
    "timm.layers.drop",
    "timm.layers.patch_dropout",
    "torchvision.ops.stoch",
)


@dataclass(frozen=True, slots=True)
class NormActSite:
    """One call of a norm, with the activation that directly consumes its output.

    Attributes:
        norm: qualified name of the norm module, e.g. ``"layer1.0.bn1"``.
        act: class or function name of the activation, e.g. ``"ReLU"`` or ``"relu"``; None for a bare norm.
        num_features: channels the norm normalizes.
        nodes: fx node names: the norm's call, the skipped ``nn.Identity`` calls, the activation's call.
        fused: one module does both, as timm's ``BatchNormAct2d``.
    """

    norm: str
    act: str | None
    num_features: int
    nodes: tuple[str, ...]
    fused: bool


def norm_act_sites(model: nn.Module) -> tuple[NormActSite, ...]:
    """The normalization-activation sites of ``model``, in the order in which ``forward`` calls them.

    A norm whose output has several users, or whose single user (``nn.Identity`` skipped) is no activation, is
    a bare norm. Not seen: norms inside modules that are not traced (``nn.TransformerEncoderLayer``, timm's
    untraceable ones), functional norms (``F.batch_norm``), activations spelled out (``x * x.sigmoid()``).

    Args:
        model: the network; optional inputs of its ``forward`` are taken at their defaults.

    Raises:
        InputError: fx cannot trace the model.
    """
    return _sites(_trace(model), dict(model.named_modules()))


def replace_norm_act(
    model: nn.Module,
    make: Callable[[NormActSite], nn.Module | None],
    *,
    sites: Sequence[NormActSite] | None = None,
) -> nn.Module:
    """A copy of ``model`` in which ``make(site)`` stands at each site, in place of norm and activation.

    The copy is an ``fx.GraphModule``: it has the modules of the model under their names, and its ``forward``
    with the required inputs; the other attributes and methods of its class are gone. A new module takes the
    norm's device, dtype, mode and qualified name; where one norm is called at several sites, the later ones
    get a numbered name. Sums in place (``out += shortcut``) become plain sums, so that a layer whose backward
    pass needs its result may stand on their left side.

    Args:
        model: the network; it is left untouched and shares nothing with the copy.
        make: builds the replacement, one call per site; None keeps the site as it is.
        sites: the sites to replace, from ``norm_act_sites(model)``; None means all.

    Raises:
        InputError: fx cannot trace the model, or a site is not one of this model.
    """
    model = copy.deepcopy(model)
    graph = _mode_free_graph(model)
    modules = dict(model.named_modules())
    known = _sites(graph, modules)
    for site in sites or ():
        _require_known(site, known, model)
    chosen = known if sites is None else [site for site in known if site in sites]
    made = {site: module for site in chosen if (module := make(site)) is not None}

    traced = fx.GraphModule(model, graph, class_name=type(model).__name__)
    for name, part in traced.named_modules():  # fx builds the containers anew, in training mode
        part.training = modules[name].training
    names = _names(made, known, set(modules))
    for site, module in made.items():
        _put(traced, site, names[site], _like(module, modules[site.norm], model))
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


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

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the call of ``m`` stays one node of the graph."""
        return (
            isinstance(m, (*_NORMS, ByMode))
            or type(m) in self._untraceable
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


def _trace(model: nn.Module, *, keep_constants: bool = False) -> fx.Graph:
    attributes = set(vars(model))
    try:
        return SiteTracer().trace(model)
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        raise InputError(
            type(model).__name__,
            f"torch.fx cannot trace this model: {type(error).__name__}: {reason}",
            remedy="give a part of it whose forward does not branch on tensor values, e.g. its backbone",
        ) from error
    finally:
        # fx leaves the tensors it meets on the way on the model, where only a GraphModule needs them
        for name in () if keep_constants else set(vars(model)) - attributes:
            delattr(model, name)


def _mode_free_graph(model: nn.Module) -> fx.Graph:
    """The graph of ``model`` for both modes.

    Tracing turns ``self.training`` into a constant, so that a functional dropout would never switch again; so
    the model is traced in both modes, and numbers that differ become ``ByMode`` calls.
    """
    modes = {module: module.training for module in model.modules()}
    evaluated = _trace(model.eval())
    trained = _trace(model.train(), keep_constants=True)
    for module, mode in modes.items():
        module.training = mode
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


def _sites(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> tuple[NormActSite, ...]:
    calls = [node for node in graph.nodes if isinstance(_called(node, modules), _NORMS)]
    return tuple(_site(node, modules) for node in calls)


def _site(call: fx.Node, modules: Mapping[str, nn.Module]) -> NormActSite:
    norm = modules[str(call.target)]
    name, features = str(call.target), _num_features(norm)
    own = _own_activation(norm, name)
    if own is not None:
        return NormActSite(name, own, features, (call.name,), fused=True)
    nodes = [call]
    while len(nodes[-1].users) == 1:
        nodes.append(next(iter(nodes[-1].users)))
        act = _activation(nodes[-1], nodes[-2], modules)
        if act is not None:
            return NormActSite(name, act, features, tuple(node.name for node in nodes), fused=False)
        if not isinstance(_called(nodes[-1], modules), nn.Identity):
            break
    return NormActSite(name, None, features, (call.name,), fused=False)


def _called(node: fx.Node, modules: Mapping[str, nn.Module]) -> nn.Module | None:
    return modules[str(node.target)] if node.op == "call_module" else None


def _num_features(norm: nn.Module) -> int:
    if isinstance(norm, nn.GroupNorm):
        return norm.num_channels
    if isinstance(norm, (nn.LayerNorm, nn.RMSNorm)):
        return int(norm.normalized_shape[-1])
    return int(norm.num_features)  # type: ignore[arg-type]  # the batch norms


def _own_activation(norm: nn.Module, name: str) -> str | None:
    """The activation inside a fused norm of timm; None for a plain norm or a fused one without activation."""
    children = dict(norm.named_children())
    if not isinstance(children.get("drop", nn.Identity()), nn.Identity):
        raise InputError(
            name,
            f"{type(norm).__name__} drops activations between its norm and its activation",
            remedy="build the model without its drop layer (timm: drop_block_rate=0)",
        )
    act = children.get("act")
    return None if act is None or isinstance(act, nn.Identity) else type(act).__name__


def _activation(node: fx.Node, source: fx.Node, modules: Mapping[str, nn.Module]) -> str | None:
    """The name of the activation that ``node`` applies to ``source``; None if it is anything else."""
    if source not in (*node.args[:1], node.kwargs.get("input")):
        return None
    module = _called(node, modules)
    if module is not None:
        name = type(module).__name__
        timms = type(module).__module__.startswith("timm.layers.activations") and name not in _GATES
        return name if timms or isinstance(module, _ACTIVATIONS) else None
    if node.op == "call_method" and node.target in _METHODS:
        return str(node.target).rstrip("_")
    if node.op == "call_function" and node.target in _FUNCTIONS:
        return str(getattr(node.target, "__name__", node.target)).rstrip("_")
    return None


def _require_known(site: NormActSite, known: Sequence[NormActSite], model: nn.Module) -> None:
    if site not in known:
        raise InputError(
            "sites",
            f"{site.norm} at {' -> '.join(site.nodes)} is not a site of this {type(model).__name__}",
            accepted=f"its {len(known)} sites: {', '.join(dict.fromkeys(s.norm for s in known))}",
            remedy="take sites from norm_act_sites(model)",
        )


def _names(
    made: Mapping[NormActSite, nn.Module], known: Sequence[NormActSite], taken: set[str]
) -> dict[NormActSite, str]:
    """A qualified name for each new module: the norm's own, unless another call still needs that."""
    kept = {site.norm for site in known if site not in made}
    taken = taken - ({site.norm for site in made} - kept)
    names: dict[NormActSite, str] = {}
    for site in made:
        candidates = chain([site.norm], (f"{site.norm}_{i}" for i in count(2)))
        names[site] = next(name for name in candidates if name not in taken)
        taken.add(names[site])
    return names


def _like(module: nn.Module, norm: nn.Module, model: nn.Module) -> nn.Module:
    """``module`` on the device, in the dtype and in the mode of ``norm``."""
    # a norm without parameters or buffers (affine=False) stands where the rest of the model does
    tensors = (t for owner in (norm, model) for t in (*owner.parameters(), *owner.buffers()))
    example = next((t for t in tensors if t.is_floating_point()), None)
    if example is not None:
        module = module.to(example.device, example.dtype)
    return module.train(norm.training)


def _put(traced: fx.GraphModule, site: NormActSite, name: str, module: nn.Module) -> None:
    """Calls ``module`` in place of the site's nodes."""
    nodes = {node.name: node for node in traced.graph.nodes}
    call, *followers = [nodes[node] for node in site.nodes]
    traced.add_submodule(name, module)
    call.target = name
    if followers:
        followers[-1].replace_all_uses_with(call)
    for node in reversed(followers):
        traced.graph.erase_node(node)
