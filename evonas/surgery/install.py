"""A layer in the place of a network's own, as every candidate is judged."""

import warnings
from collections.abc import Callable, Sequence

from torch import nn

from evonas.config import LayerConfig
from evonas.graph.genome import Genome
from evonas.layer.lower import NormActLayer, lower
from evonas.surgery.modules import replace_modules
from evonas.surgery.sites import NormActSite, SurgeryWarning, features_of, replace_norm_act


def with_layer(model: nn.Module, genome: Genome, layer: LayerConfig, norms: Sequence[str] = ()) -> nn.Module:
    """A copy of a network with a layer at every normalization-activation site, or in the place of the named norms.

    Norms of maps without an activation become affine. Those of tokens stand without one anyway: the layer takes their
    place.

    Args:
        model: the network.
        genome: the layer.
        layer: how it is lowered.
        norms: patterns of modules, as of ``Task.norms``.
    """

    def made(features: int, layout: str, *, act: bool) -> nn.Module:
        return lower(
            genome, features, layout=layout, groups=layer.groups, eps=layer.eps, momentum=layer.momentum, act=act
        )

    if norms:
        return replace_modules(model, dict.fromkeys(norms, lambda norm: made(features_of(norm), "btd", act=True)))
    return install_layers(
        model,
        lambda site: made(site.num_features, site.layout, act=site.act is not None or site.layout == "btd"),
    )


def layout_in(network: nn.Module) -> str:
    """The layout of the first layer that ``with_layer`` put into a network."""
    return next(module.layout for module in network.modules() if isinstance(module, NormActLayer))


def install_layers(model: nn.Module, make: Callable[[NormActSite], nn.Module | None]) -> nn.Module:
    """A copy of a network with ``make(site)`` at every site; no warnings, they would be the same for every layer."""
    with warnings.catch_warnings(category=SurgeryWarning, action="ignore"):
        return replace_norm_act(model, make)
