"""Maps written into the weights of the modules whose output they steer: no cost at inference, and no hooks."""

import copy
from collections import defaultdict

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.methods import SteeringMap
from evonas.studies.steering.sites import SteeringSite

GAINS = (0.0, 1.0)  # a norm multiplies by its weight, or, as Gemma's, by 1 + weight
_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_TOLERANCE = 1e-4  # of the check; norms of language models compute in float32, whatever they are given

Weights = dict[str, Tensor]  # new values of a module's parameters, by name


def folded_weights(model: nn.Module, site: SteeringSite, affine: SteeringMap, *, add_bias: bool) -> Weights:
    r"""Weights with which the module at a site puts out $w z + b$ where it puts out z now; the model is left alone.

    For a linear layer or convolution $(W, c) \to (w W, w c + b)$ by output neuron; for a norm with gain g and bias c,
    $(g, c) \to (w g, w c + b)$. Norms are torch's, and any module with one weight per neuron; that the gain of these
    enters so, or as 1 + g, is tried on random inputs.

    Args:
        model: holds the module; needed to see whether others share its weights.
        site: where.
        affine: what to fold, its strength included.
        add_bias: whether a layer that has none may get a bias. The configuration of the model then does not know of
            it: a saved checkpoint loads without it.

    Raises:
        InputError: saying why the result would not be exact.
    """
    module = model.get_submodule(site.name)
    if not isinstance(affine, AffineMap):
        raise _not_exact(site, "the map depends on its input, which no weight does")
    if affine.is_bounded:
        raise _not_exact(site, "the map acts between bounds only, which no weight can", "fit with bounded=False")
    weight, bias = (module._parameters.get(name) for name in ("weight", "bias"))
    if weight is None:
        remedy = "choose its last linear layer or norm as the site"
        raise _not_exact(site, f"a {site.kind} has no weight of its own at its output", remedy)
    _require_unshared(model, site, module)
    if bias is None and affine.bias.any():
        if "bias" not in module._parameters:
            shifted = int((affine.bias != 0).sum())
            raise _not_exact(site, f"a {site.kind} adds no bias, and the map shifts {shifted} neurons")
        if not add_bias:
            remedy = "add_bias=True gives it one, which a checkpoint loads only if its model has it"
            raise _not_exact(site, f"this {site.kind} has no bias", remedy)
    scale, shift = (part.to(weight.device, torch.float64) for part in (affine.weight, affine.bias))
    new: Weights = {}
    if bias is not None or affine.bias.any():
        new["bias"] = (scale * (0.0 if bias is None else bias.double()) + shift).to(weight.dtype)
    if weight.ndim == 1:
        return _folded_norm(site, module, weight, affine, new)
    return {"weight": (weight.double() * scale.view(_per_neuron(site, module, weight))).to(weight.dtype), **new}


@torch.no_grad()
def set_weights(module: nn.Module, weights: Weights) -> None:
    """Write new values into a module's parameters, in place; a missing bias is made."""
    for name, value in weights.items():
        parameter = module._parameters[name]
        if parameter is None:
            module.register_parameter(name, nn.Parameter(value))
        else:
            parameter.copy_(value)


def _folded_norm(site: SteeringSite, module: nn.Module, weight: Tensor, affine: AffineMap, new: Weights) -> Weights:
    scale = affine.weight.to(weight.device, torch.float64)
    for gain in GAINS:
        value = (weight.double() + gain) * scale - gain
        if type(module) in _NORMS or _reproduces(site, module, affine, {"weight": value, **new}):
            return {"weight": value.to(weight.dtype), **new}
    raise _not_exact(site, f"a {site.kind} does not simply scale by its weight and add its bias")


@torch.no_grad()
def _reproduces(site: SteeringSite, module: nn.Module, affine: AffineMap, new: Weights) -> bool:
    """Whether a copy of the module with new weights puts out what the map makes of the old one's output."""
    plain = copy.deepcopy(module).double().eval()
    for hooks in (plain._forward_hooks, plain._forward_pre_hooks):
        hooks.clear()
    changed = copy.deepcopy(plain)
    set_weights(changed, {name: value.double() for name, value in new.items()})
    shape = (4, site.features, 3, 3) if site.axis == 1 else (4, 3, site.features)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x.to(new["weight"].device)
    try:
        wanted, found = affine(plain(x), site.axis), changed(x)
    except (RuntimeError, TypeError, ValueError):  # wants other inputs
        return False
    return bool((found - wanted).abs().max() <= _TOLERANCE * wanted.abs().max())


def _per_neuron(site: SteeringSite, module: nn.Module, weight: Tensor) -> list[int]:
    """The shape in which one number per output neuron multiplies a weight of several axes."""
    shape = [1] * weight.ndim
    if type(module) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
        shape[0] = -1
    elif type(module).__name__ == "Conv1D" and tuple(weight.shape[1:]) == (site.features,):  # transformers', [in, out]
        shape[1] = -1
    else:
        raise _not_exact(site, f"how the weight of a {site.kind} makes its output is not known")
    if weight.shape[shape.index(-1)] != site.features:
        raise _not_exact(site, f"its weight is {list(weight.shape)} for {site.features} neurons")
    return shape


def _require_unshared(model: nn.Module, site: SteeringSite, module: nn.Module) -> None:
    owners = defaultdict[int, list[str]](list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners[id(parameter)].append(name)
    for name, parameter in module.named_parameters(recurse=False):
        others = [owner for owner in owners[id(parameter)] if owner != f"{site.name}.{name}"]
        if others:
            raise _not_exact(site, f"its {name} is shared with {others[0]}")


def _not_exact(site: SteeringSite, why: str, remedy: str = "keep the hooks: intervention.on(model)") -> InputError:
    return InputError(site.name, f"the map cannot be folded exactly: {why}", remedy=remedy)
