"""Finds the normalization-activation sites of a model by call site, and replaces them in a copy.

A module name is not enough to say which activation belongs to a norm: torchvision's ``BasicBlock`` calls
one ``relu`` module both after ``bn1`` and after the addition. So the model is traced with ``torch.fx``, and a
norm is paired with an activation only where the activation's call directly consumes the norm's output.
"""

import copy
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

import torch
import torch.nn.functional as F
from torch import fx, nn

from evonas.errors import InputError
from evonas.surgery.missed import listed, norms_beside, without_sites
from evonas.surgery.modules import like
from evonas.surgery.tracing import DROPS, NORMS, mode_free_graph, trace

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

_SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


@dataclass(frozen=True, slots=True)
class NormActSite:
    """One call of a norm, with the activation that directly consumes its output.

    Attributes:
        norm: qualified name of the norm module, e.g. ``"layer1.0.bn1"``.
        act: class or function name of the activation, e.g. ``"ReLU"`` or ``"relu"``; None for a bare norm.
        num_features: channels the norm normalizes.
        nodes: fx node names: the norm's call, the skipped ``nn.Identity`` calls, the activation's call.
        fused: one module does both, as timm's ``BatchNormAct2d``.
        before_sum: the norm is bare and its output goes into an addition only, as at the end of a residual branch.
        layout: of the norm's input: ``bchw``, or ``btd`` where features come last, as in transformers.
    """

    norm: str
    act: str | None
    num_features: int
    nodes: tuple[str, ...]
    fused: bool
    before_sum: bool = False
    layout: str = "bchw"


class SurgeryWarning(UserWarning):
    """A replacement that changes more than the layer, such as what a residual branch adds."""


def norm_act_sites(model: nn.Module) -> tuple[NormActSite, ...]:
    """The normalization-activation sites of ``model``, in the order in which ``forward`` calls them.

    A norm whose output has several users, or whose single user (``nn.Identity`` skipped) is no activation, is
    a bare norm. Sites are calls of ``nn.BatchNorm2d``, ``SyncBatchNorm``, ``InstanceNorm2d``, ``GroupNorm``, and of
    ``LayerNorm`` and ``RMSNorm`` over one axis, with the classes that derive from them. Other norms are none, nor are
    norms inside modules that are not traced (``nn.TransformerEncoderLayer``, timm's untraceable ones), functional norms
    (``F.batch_norm``) and activations spelled out (``x * x.sigmoid()``).

    Args:
        model: the network; it is left untouched. Optional inputs of its ``forward`` are taken at their defaults.

    Raises:
        InputError: fx cannot trace the model.
    """
    return _sites(trace(model), dict(model.named_modules()))


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

    In a network that adds before it activates (torchvision's ResNet), the norm at the end of a residual branch is bare.
    An evolved layer there is either the affine alone (``act=False``), and the branch is no longer normalized, or acts
    on the branch before the sum, as nothing did. A ``SurgeryWarning`` says so; None from ``make`` keeps such a norm.

    A ``SurgeryWarning`` also says where nothing was replaced although there are sites, and where all sites were asked
    for and other norms stay that are no sites.

    Args:
        model: the network; it is left untouched and shares nothing with the copy.
        make: builds the replacement, one call per site; None keeps the site as it is.
        sites: the sites to replace, from ``norm_act_sites(model)``; None means all.

    Raises:
        InputError: fx cannot trace the model, it has no site, a site is not one of this model, or ``make`` gives
            something else than a module or None.
    """
    exchange = exchange_of(model, make, sites)
    for message in exchange.remarks() if exchange.made else [nothing_made(exchange)]:
        warnings.warn(message, SurgeryWarning, stacklevel=2)
    return by_calls(exchange)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is to stand where in a model.

    Attributes:
        model: a copy of it, which holds what tracing left there.
        graph: of the copy, for both modes.
        known: its sites.
        chosen: those that were asked for.
        made: the module for each site that is replaced, with device, dtype and mode of the norm.
        others: the class of every norm that is no site, by name.
    """

    model: nn.Module
    graph: fx.Graph
    known: tuple[NormActSite, ...]
    chosen: tuple[NormActSite, ...]
    made: Mapping[NormActSite, nn.Module]
    others: Mapping[str, str]

    def remarks(self) -> list[str]:
        """What the exchange does beside replacing layers, for people."""
        remarks = _sums(self.made)
        if self.others and len(self.chosen) == len(self.known):
            count = len(self.others)
            remarks.append(f"{count} norms stay as they are, since they are no sites: {listed(self.others)}")
        return remarks


def exchange_of(
    model: nn.Module, make: Callable[[NormActSite], nn.Module | None], sites: Sequence[NormActSite] | None
) -> Exchange:
    """What ``make`` gives for the sites of a model; arguments and errors are those of ``replace_norm_act``."""
    model = copy.deepcopy(model)
    graph = mode_free_graph(model)
    modules = dict(model.named_modules())
    known = _sites(graph, modules)
    others = norms_beside({site.norm for site in known}, modules)
    if not known:
        raise without_sites(others, model)
    for site in sites or ():
        _require_known(site, known, model)
    chosen = known if sites is None else tuple(site for site in known if site in sites)
    made = {site: module for site in chosen if (module := make(site)) is not None}
    made = {site: like(module, modules[site.norm], site.norm, model) for site, module in made.items()}
    return Exchange(model, graph, known, chosen, made, others)


def by_calls(exchange: Exchange) -> fx.GraphModule:
    """The model with an exchange made call by call, as an ``fx.GraphModule``; the exchange is used up."""
    model, modules = exchange.model, dict(exchange.model.named_modules())
    traced = fx.GraphModule(model, exchange.graph, class_name=type(model).__name__)
    for name, part in traced.named_modules():  # fx builds the containers anew, in training mode
        part.training = modules[name].training
    names = _names(exchange.made, exchange.known, set(modules))
    for site, module in exchange.made.items():
        _put(traced, site, names[site], module)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _sites(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> tuple[NormActSite, ...]:
    calls = [node for node in graph.nodes if _is_of_one_axis(_called(node, modules))]
    return tuple(_site(node, modules) for node in calls)


def _is_of_one_axis(module: nn.Module | None) -> bool:
    """Whether it is a norm whose features are one axis: a layer norm over [c, h, w] has no channels to replace."""
    several = isinstance(module, (nn.LayerNorm, nn.RMSNorm)) and len(module.normalized_shape) > 1
    return isinstance(module, NORMS) and not several


def _site(call: fx.Node, modules: Mapping[str, nn.Module]) -> NormActSite:
    norm = modules[str(call.target)]
    name, features, layout = str(call.target), features_of(norm), _layout(norm)
    own = _own_activation(norm, name)
    if own is not None:
        return NormActSite(name, own, features, (call.name,), fused=True, layout=layout)
    nodes = [call]
    while len(nodes[-1].users) == 1:
        nodes.append(next(iter(nodes[-1].users)))
        act = _activation(nodes[-1], nodes[-2], modules)
        if act is not None:
            return NormActSite(name, act, features, tuple(node.name for node in nodes), fused=False, layout=layout)
        if not isinstance(_called(nodes[-1], modules), nn.Identity):
            break
    summed = _is_summed(call, modules)
    return NormActSite(name, None, features, (call.name,), fused=False, before_sum=summed, layout=layout)


def _is_summed(node: fx.Node, modules: Mapping[str, nn.Module]) -> bool:
    """Whether the value goes into an addition and nowhere else, dropped paths and ``nn.Identity`` in between."""
    if len(node.users) != 1:
        return False
    user = next(iter(node.users))
    part = _called(user, modules)
    passes = isinstance(part, nn.Identity) or type(part).__module__.startswith(DROPS)
    return user.target in _SUMS or (passes and _is_summed(user, modules))


def _sums(made: Mapping[NormActSite, nn.Module]) -> list[str]:
    """What the layers do to residual branches, for people."""
    # what evonas lowers or exports says by ``act`` whether it is the affine alone
    acts = {site: getattr(module, "act", None) for site, module in made.items() if site.before_sum}
    messages = []
    for act, what in ((False, "only scaled, no longer normalized"), (True, "activated, as it was not")):
        names = [site.norm for site, found in acts.items() if found is act]
        if names:
            messages.append(
                f"{len(names)} residual branches are {what} before their sum ({names[0]}, ...): the norms there have "
                "no activation; to keep them, return None for sites with before_sum"
            )
    return messages


def nothing_made(exchange: Exchange) -> str:
    """Why a network was left as it is, for people."""
    chosen = exchange.chosen
    if not chosen:
        return f"nothing was replaced: none of the {len(exchange.known)} sites was asked for"
    bare, names = sum(site.act is None for site in chosen), listed([site.norm for site in chosen])
    return f"nothing was replaced: make gave None for all {len(chosen)} sites ({names}); {bare} have no activation"


def _called(node: fx.Node, modules: Mapping[str, nn.Module]) -> nn.Module | None:
    return modules[str(node.target)] if node.op == "call_module" else None


def features_of(norm: nn.Module) -> int:
    """How many channels or features a norm normalizes."""
    if isinstance(norm, nn.GroupNorm):
        return norm.num_channels
    if isinstance(norm, (nn.LayerNorm, nn.RMSNorm)):
        return int(norm.normalized_shape[-1])
    return int(norm.num_features)  # type: ignore[arg-type]  # the batch and instance norms


def _layout(norm: nn.Module) -> str:
    """Where features come: timm and torchvision have layer norms of channels too, which move them to the end."""
    last = isinstance(norm, (nn.LayerNorm, nn.RMSNorm)) and not type(norm).__name__.endswith("2d")
    return "btd" if last else "bchw"


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
