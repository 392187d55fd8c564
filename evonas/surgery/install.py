"""A layer in the place of a network's own, as every candidate is judged."""

import warnings
from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from evonas.config import LayerConfig
from evonas.graph.genome import Genome
from evonas.layer.lower import NormActLayer, lower
from evonas.surgery.modules import replace_modules
from evonas.surgery.sites import NormActSite, SurgeryWarning, features_of, replace_norm_act

Bare = Literal["affine", "norm"]
"""What stands where no activation follows a norm of maps: the layer's affine alone, as its authors have it, or the
network's own norm."""


def with_layer(
    model: nn.Module,
    genome: Genome,
    layer: LayerConfig,
    norms: Sequence[str] = (),
    *,
    parts: Sequence[str] = (),
    bare: Bare = "affine",
) -> nn.Module:
    """A copy of a network with a layer at every normalization-activation site, or in the place of the named norms.

    Norms of tokens stand without an activation anyway: the layer takes their place.

    Args:
        model: the network.
        genome: the layer.
        layer: how it is lowered.
        norms: patterns of modules, as of ``Task.norms``.
        parts: names of submodules, as of ``Task.parts``: each is traced by itself, and the rest of the network stays as
            it is.
        bare: what stands at norms of maps that no activation follows: the layer's ``affine`` alone, or the network's
            own ``norm``.

    Raises:
        InputError: there is no site, a part is unknown, or ``torch.fx`` cannot trace the network or a part.
    """

    def made(features: int, layout: str, *, act: bool) -> nn.Module:
        return lower(
            genome, features, layout=layout, groups=layer.groups, eps=layer.eps, momentum=layer.momentum, act=act
        )

    def at(site: NormActSite) -> nn.Module | None:
        act = site.act is not None or site.layout == "btd"
        return made(site.num_features, site.layout, act=act) if act or bare == "affine" else None

    if norms:
        return replace_modules(model, dict.fromkeys(norms, lambda norm: made(features_of(norm), "btd", act=True)))
    return install_layers(model, at, parts)


def layout_in(network: nn.Module) -> str:
    """The layout of the first layer that ``with_layer`` put into a network."""
    return next(module.layout for module in network.modules() if isinstance(module, NormActLayer))


def install_layers(
    model: nn.Module, make: Callable[[NormActSite], nn.Module | None], parts: Sequence[str] = ()
) -> nn.Module:
    """A copy of a network with ``make(site)`` at every site; no warnings, they would be the same for every layer.

    Args:
        model: the network.
        make: builds the layer at a site; None keeps what stands there.
        parts: names of the submodules whose sites are meant; none means the whole network. The copy then keeps the
            network's class, and only its parts are traced.
    """
    with warnings.catch_warnings(category=SurgeryWarning, action="ignore"):
        if not parts:
            return replace_norm_act(model, make)
        return replace_modules(model, dict.fromkeys(parts, lambda part: replace_norm_act(part, make)))
