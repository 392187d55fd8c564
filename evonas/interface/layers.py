"""Layers by name: one as a module, as the class that builders of networks take, and in the places of a network's norms.

A name is what ``evonas show`` takes: a catalogue name, a formula, the text form of a layer, ``RUN#rank``, the path of a
``.json`` file, or a ``Genome`` itself.
"""

import contextlib
import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Literal, get_args

import torch
from torch import nn

from evonas.errors import InputError
from evonas.graph.catalogue import known_layout
from evonas.graph.genome import Genome
from evonas.layer.classes import NamedNormAct, layer_class
from evonas.layer.export import class_name_of
from evonas.layer.lower import NormActLayer, Recipe
from evonas.layer.plan import layout_of
from evonas.search.named import NamedLayer, find_layer
from evonas.surgery.missed import listed
from evonas.surgery.sites import Exchange, NormActSite, SurgeryWarning, by_calls, exchange_of, nothing_made
from evonas.surgery.swap import by_modules, lost_methods

LayerName = str | PathLike[str] | Genome
Bare = Literal["keep", "affine", "layer"]


def create_layer(
    layer: LayerName,
    num_features: int,
    *,
    layout: str | None = None,
    groups: int | None = None,
    eps: float | None = None,
    momentum: float | None = None,
    act: bool = True,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> NormActLayer:
    """Make a layer that normalizes and activates, for ``num_features`` channels.

    Args:
        layer: a catalogue name, a formula, the text form of a layer, ``RUN#rank``, the path of a ``.json`` file, or a
            ``Genome``.
        num_features: channels c of images [b, c, h, w], or features d of tokens [..., t, d].
        layout: axes of the input, ``bchw`` or ``btd``; None takes those that the layer is made for.
        groups: channel groups of group moments, lowered until they divide the channels.
        eps: guard inside roots, divisions and logarithms.
        momentum: weight of the newest batch in running values.
        act: False gives the affine alone, for places where no activation follows a normalization.
        device: of parameters and running values, ``"meta"`` included.
        dtype: of parameters and running values.

    ``groups``, ``eps`` and ``momentum`` default to those of the run that ``RUN#rank`` names, and otherwise to 32, 1e-5
    and 0.1.

    Raises:
        InputError: there is no such layer, it does not go with the layout, or ``layout`` is missing for a layer without
            moments.

    Example:
        ``layer = evonas.create_layer("evonorm-s0", 64)``
    """
    named = _named(layer)
    recipe = _recipe(named, layout_of(named.genome, layout or named.layout), groups, eps, momentum)
    return NormActLayer(recipe, num_features, act=act, device=device, dtype=dtype)


def norm_act(
    layer: LayerName,
    *,
    layout: str | None = None,
    groups: int | None = None,
    eps: float | None = None,
    momentum: float | None = None,
) -> type[NamedNormAct]:
    """A class of layers, for the argument ``norm_layer`` of timm and torchvision.

    ``norm_act(...)(64)`` makes a layer for 64 channels. The class is added to timm's table of layers that normalize and
    activate, where timm is installed; networks of timm that build the two in one, such as EfficientNet and RegNet, take
    no other class. There timm asks for the affine alone where no activation follows.

    Networks that build norms and activations separately keep their own activation behind each layer. timm's leave it
    out with ``act_layer=torch.nn.Identity``; ``replace_norm_act`` takes both out of any network.

    Args:
        layer: as for ``create_layer``.
        layout: as for ``create_layer``.
        groups: default of the class's ``groups``, as for ``create_layer``.
        eps: default of the class's ``eps``, as for ``create_layer``.
        momentum: default of the class's ``momentum``, as for ``create_layer``.

    Raises:
        InputError: as ``create_layer``.

    Example:
        ``timm.create_model("efficientnet_b0", norm_layer=evonas.norm_act("evonorm-s0"))``
    """
    named = _named(layer)
    recipe = _recipe(named, layout_of(named.genome, layout or named.layout), groups, eps, momentum)
    made = layer_class(class_name_of(named.genome, named.name, recipe.layout), recipe)
    _introduce_to_timm(made)
    return made


def replace_norm_act(
    model: nn.Module,
    layer: LayerName | Callable[[NormActSite], nn.Module | None],
    *,
    sites: Sequence[NormActSite] | None = None,
    bare: Bare = "keep",
    layout: str | None = None,
    groups: int | None = None,
    eps: float | None = None,
    momentum: float | None = None,
) -> nn.Module:
    """A copy of a network with a layer in the place of every norm and of the activation that follows it.

    Norms of images that no activation follows are bare and stay, unless ``bare`` says otherwise. Norms of tokens, as in
    transformers, never have an activation, and a layer that is made for tokens takes their place. Sites of the other
    layout stay. New modules take the device, dtype and mode of the norms that they replace.

    The copy is of the network's own class, with all its methods, where an exchange of modules computes the same, and
    ``nn.Identity`` takes the places of the activations. It does not where one activation module also follows something
    else, as in torchvision's ResNet: each such block becomes an ``fx.GraphModule``. Where that is not possible, as
    where the activation is a function that ``forward`` calls, the whole network does. A ``SurgeryWarning`` names the
    methods that are lost then.

    Args:
        model: the network; it is left untouched and shares nothing with the copy.
        layer: as for ``create_layer``; or a function that gives the module for a site, or None to keep it.
        sites: the sites to replace, from ``norm_act_sites(model)``; None means all.
        bare: what becomes of bare norms of images: ``keep`` leaves them, ``affine`` puts the affine of the layer alone
            in their place, as the authors of EvoNorm do, ``layer`` the whole layer.
        layout: only sites of this layout, ``bchw`` or ``btd``; None takes those that the layer is made for.
        groups: as for ``create_layer``.
        eps: as for ``create_layer``.
        momentum: as for ``create_layer``.

    A ``SurgeryWarning`` also says where nothing was replaced and why, where residual branches are no longer normalized
    or are activated before their sum, and which norms are no sites.

    Raises:
        InputError: there is no such layer or network, torch.fx cannot trace the network, it has no site, a site is not
            one of this network, or a function gives something else than a module or None.

    Example:
        ``model = evonas.replace_norm_act(model, "evonorm-s0")``
    """
    if not isinstance(model, nn.Module):
        raise InputError("model", f"is a {type(model).__name__}", accepted="a torch.nn.Module")
    if callable(layer):
        return _replace_with(model, layer, sites, bare, (layout, groups, eps, momentum))
    if bare not in get_args(Bare):
        raise InputError("bare", repr(bare), accepted=", ".join(get_args(Bare)))
    named = _named(layer)
    wanted = layout or named.layout
    if wanted is not None:
        layout_of(named.genome, wanted)  # refuses one that the layer does not go with

    def make(site: NormActSite) -> nn.Module | None:
        stands = site.act is not None or site.layout == "btd" or bare != "keep"
        if not stands or wanted not in (None, site.layout):
            return None
        recipe = _recipe(named, site.layout, groups, eps, momentum)
        return NormActLayer(
            recipe, site.num_features, act=site.act is not None or site.layout == "btd" or bare == "layer"
        )

    exchange = exchange_of(model, make, sites)
    return _made(model, exchange, _nothing_by_name(exchange, wanted))


def _replace_with(
    model: nn.Module,
    make: Callable[[NormActSite], nn.Module | None],
    sites: Sequence[NormActSite] | None,
    bare: Bare,
    others: tuple[object, ...],
) -> nn.Module:
    """As ``replace_norm_act``, with a function that makes the modules."""
    if isinstance(make, type):
        remedy = f"give lambda site: {make.__name__}(site.num_features) if site.act else None"
        raise InputError("layer", f"is the class {make.__name__}", accepted="a name or a function", remedy=remedy)
    if bare != "keep" or any(other is not None for other in others):
        remedy = "say in the function what stands at a site, and how it is made"
        found = "bare, layout, groups, eps or momentum is given beside a function"
        raise InputError("layer", found, accepted="these beside the name of a layer", remedy=remedy)
    exchange = exchange_of(model, make, sites)
    return _made(model, exchange, nothing_made(exchange))


def _made(model: nn.Module, exchange: Exchange, nothing: str) -> nn.Module:
    """The copy of a model with an exchange made, and what is to be said about it; ``nothing`` where it is empty."""
    remarks = exchange.remarks() if exchange.made else [nothing]
    made = by_modules(model, exchange)
    if made is None:
        made, lost = by_calls(exchange), lost_methods(model)
        if lost:
            remarks.append(
                f"the copy is an fx.GraphModule without the methods of {type(model).__name__} ({listed(lost)}): "
                "an exchange of modules alone would compute something else there"
            )
    for remark in remarks:
        warnings.warn(remark, SurgeryWarning, stacklevel=3)
    return made


def _nothing_by_name(exchange: Exchange, layout: str | None) -> str:
    """Why a named layer was put nowhere, for people."""
    if not exchange.chosen:
        return nothing_made(exchange)
    fitting = [site for site in exchange.chosen if layout in (None, site.layout)]
    strange = len(exchange.chosen) - len(fitting)
    reasons = []
    if fitting:
        names = listed([site.norm for site in fitting])
        reasons.append(
            f"no activation follows the {len(fitting)} norms {names}; bare='layer' puts the layer in their place, and "
            "bare='affine' its affine alone"
        )
    if strange:
        inputs = {"bchw": "images [b, c, h, w]", "btd": "tokens [..., t, d]"}
        other = "btd" if layout == "bchw" else "bchw"
        reasons.append(f"{strange} norms are of {inputs[other]}, and the layer is for {inputs[layout or 'bchw']}")
    return f"nothing was replaced: {'; '.join(reasons)}"


def _named(layer: LayerName) -> NamedLayer:
    if isinstance(layer, Genome):
        return NamedLayer(layer, layout=known_layout(layer))
    if isinstance(layer, str | PathLike):
        return find_layer(str(layer))
    accepted = "a catalogue name, a formula, a text form, RUN#rank, the path of a .json file, or a Genome"
    raise InputError("layer", f"is a {type(layer).__name__}", accepted=accepted)


def _recipe(named: NamedLayer, layout: str, groups: int | None, eps: float | None, momentum: float | None) -> Recipe:
    usual = named.lowering
    return Recipe(
        named.genome,
        layout,
        usual.groups if groups is None else groups,
        usual.eps if eps is None else eps,
        usual.momentum if momentum is None else momentum,
    )


def _introduce_to_timm(layer: type[NamedNormAct]) -> None:
    """Add a class to timm's tables of layers that normalize and activate, and of those that torch.fx does not enter."""
    with contextlib.suppress(ImportError):  # timm is not installed, or has no such table
        from timm.layers.create_norm_act import _NORM_ACT_TYPES
        from timm.models import register_notrace_module

        _NORM_ACT_TYPES.add(layer)
        register_notrace_module(layer)
