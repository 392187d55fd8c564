"""The layers that a gate scores: the last ones of MLPs whose activation gates another layer."""

from collections.abc import Sequence

from torch import nn

from evonas.errors import InputError
from evonas.studies.sparsity.sites import LinearSite

# in an MLP: the last layer, the module of its activation, and the layer whose output the activation gates
DOWN, ACTIVATION, UP = ("down_proj", "c_proj", "fc2", "w2"), ("act_fn", "activation_fn", "act"), ("up_proj", "w3")


def gated_layers(model: nn.Module, sites: Sequence[LinearSite]) -> tuple[dict[LinearSite, nn.Module], dict[str, str]]:
    """The last layers of MLPs with the module of their activation, and with the layer whose outputs they drop."""
    activations, partners = dict[LinearSite, nn.Module](), dict[str, str]()
    for site in sites:
        parent = site.name.rpartition(".")[0]
        siblings = dict(model.get_submodule(parent).named_children())
        activation = next((siblings[name] for name in ACTIVATION if name in siblings), None)
        if site.kind not in DOWN or activation is None:
            continue
        activations[site] = activation
        for name in UP:
            if name in siblings:
                partners[site.name] = f"{parent}.{name}"
    if not activations:
        found = f"no layer named {', '.join(DOWN)} beside an activation named {', '.join(ACTIVATION)}"
        raise InputError("method cats", found, remedy="take another method, or include the MLPs")
    return activations, partners
