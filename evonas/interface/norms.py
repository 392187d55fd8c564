"""Layers in the places of the norms of transformers: found by class, since such models cannot be traced."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.interface.layers import LayerName, create_layer
from evonas.surgery.modules import replace_modules

_NAMES = ("rmsnorm", "layernorm")  # in the name of a norm's class, in lower case
_SAME = 1e-4  # relative difference of outputs up to which two norms compute the same


def replace_norms(model: nn.Module, layer: LayerName, *, names: str = "**") -> nn.Module:
    """A copy of a model in which a layer for tokens stands in the place of each RMSNorm and LayerNorm.

    Norms are known by their class: torch's own, and those of transformers, which are called ``LlamaRMSNorm`` and the
    like. The layer takes eps of the norm. Its scale and shift are those that the norm applies, so that ``"rmsnorm"``
    in the place of an RMSNorm changes nothing, also where a model keeps the scale less 1.

    Args:
        model: the network, for instance of transformers; it is left untouched.
        layer: as for ``create_layer``; for tokens [..., t, d].
        names: a pattern, as for ``replace_modules``, of the norms that are meant: ``"**.input_layernorm"``.

    Raises:
        InputError: no such layer, or no such norm in the model.

    Example:
        ``model = evonas.replace_norms(model, "dyt")``
    """
    create_layer(layer, 8, layout="btd")  # refuses one that is not for tokens before anything is copied
    norms = {name for name, module in model.named_modules(remove_duplicate=False) if is_token_norm(module)}
    if not norms:
        accepted = "a model with modules whose class is called RMSNorm or LayerNorm"
        raise InputError(type(model).__name__, "it has no norm of tokens", accepted=accepted)

    def made(old: nn.Module) -> nn.Module | None:
        return _in_place_of(old, layer) if is_token_norm(old) else None

    return replace_modules(model, {names: made})


def is_token_norm(module: nn.Module) -> bool:
    """Whether a module is an RMSNorm or a LayerNorm over the last axis, by the name of its class and by its weight."""
    name = type(module).__name__.lower()
    weight = getattr(module, "weight", None)
    return any(kind in name for kind in _NAMES) and isinstance(weight, Tensor) and weight.ndim == 1


def _in_place_of(old: nn.Module, layer: LayerName) -> nn.Module:
    weight = old.weight
    assert isinstance(weight, Tensor)
    eps = next((float(e) for name in ("eps", "variance_epsilon") if (e := getattr(old, name, None))), None)
    new = create_layer(layer, weight.numel(), layout="btd", eps=eps)
    with torch.no_grad():
        for parameter, value in zip((new.weight, new.bias), _applied(old), strict=True):
            parameter.copy_(value)
    return new


def _applied(old: nn.Module) -> tuple[Tensor, Tensor]:
    """The scale and shift that a norm applies to what it has normalized."""
    weight, bias = old.weight, getattr(old, "bias", None)
    assert isinstance(weight, Tensor)
    shift = bias if isinstance(bias, Tensor) else torch.zeros_like(weight)
    x = torch.linspace(-2.0, 3.0, weight.numel()).to(weight)
    y = old(x[None, None])[0, 0] - shift
    for normalized in _normalized(x):
        for scale in (weight, 1 + weight):
            if torch.allclose(y, normalized * scale, rtol=_SAME, atol=_SAME * float(y.abs().max())):
                return scale, shift
    return weight, shift


def _normalized(x: Tensor) -> Iterator[Tensor]:
    """As RMSNorm does it, and as LayerNorm does."""
    yield x / x.square().mean().sqrt()
    yield (x - x.mean()) / x.std(correction=0)
