"""Calls a network with parameters that are not its own: one set, or several sets at once (``torch.func.vmap``)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from evonas.errors import InputError
from evonas.surgery.recalibrate import has_running_statistics

InDims = int | tuple[int | None, ...] | None


def call_with(
    model: nn.Module,
    theta: Mapping[str, Tensor],
    count: int | None,
    inputs: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    in_dims: InDims,
    randomness: str,
) -> Any:
    """The network's output with some of its parameters replaced, for each of ``count`` sets of them.

    Running statistics move once, to the mean of what they would become for one set alone.

    Args:
        model: the network; its parameters are as before when the call is over, also by an exception.
        theta: by name; with a leading ``count``, unless that is None.
        count: the number of sets; None for a single one.
        inputs: arguments of the network.
        kwargs: named arguments, shared by all sets.
        in_dims: 0 for inputs with a leading ``count``, None for those that are shared; one for all, or for each.
        randomness: of ``vmap``: ``different`` or ``same``.

    Raises:
        InputError: ``in_dims`` does not fit the inputs.
    """
    dims = in_dims if isinstance(in_dims, tuple) else (in_dims,) * len(inputs)
    _require_dims(dims, inputs, count)
    if count is None:
        return functional_call(model, dict(theta), inputs, dict(kwargs))
    statistics = _running_statistics(model)

    def call(theta: dict[str, Tensor], statistics: dict[str, Tensor], inputs: tuple[Any, ...]) -> Any:
        state = {**theta, **statistics}
        output = functional_call(model, state, inputs, dict(kwargs))
        return output, {name: state[name] for name in statistics}

    beside = {name: p.expand(count, *p.shape) for name, p in _vectors_beside(model, theta).items()}
    before = {name: buffer.expand(count, *buffer.shape).clone() for name, buffer in statistics.items()}
    mapped = vmap(call, in_dims=(0, 0, dims), randomness=randomness)
    output, after = mapped({**theta, **beside}, before, inputs)
    with torch.no_grad():
        for name, buffer in statistics.items():
            buffer += (after[name] - buffer).mean(0)
    return output


def _running_statistics(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that a call changes now; counters of calls, which do not depend on parameters, are left out."""
    layers = {name: m for name, m in model.named_modules() if m.training and has_running_statistics(m)}
    return {
        f"{layer}.{name}".lstrip("."): buffer
        for layer, module in layers.items()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.is_floating_point()
    }


def _vectors_beside(model: nn.Module, theta: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
    """Other parameters of modules that own replaced ones, where all are vectors, as in norms.

    Such modules may write in place (x * weight).add_(bias), which vmap forbids if the bias alone has several values.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    replaced = {id(parameters[name]) for name in theta}
    names = {id(parameter): name for name, parameter in parameters.items()}  # one for tied ones
    beside = dict[str, nn.Parameter]()
    if len(replaced) == len(names):
        return beside
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if all(p.ndim <= 1 for p in own) and any(id(p) in replaced for p in own):
            beside |= {names[id(p)]: p for p in own if id(p) not in replaced}
    return beside


def _require_dims(dims: tuple[int | None, ...], inputs: tuple[Any, ...], count: int | None) -> None:
    if len(dims) != len(inputs) or any(dim not in (None, 0) for dim in dims):
        raise InputError("in_dims", str(dims), accepted=f"None, 0, or {len(inputs)} of them in a tuple")
    for position, (dim, value) in enumerate(zip(dims, inputs, strict=True)):
        if dim is None:
            continue
        if count is None:
            raise InputError("in_dims", "0 for a single gamma", accepted="None", remedy="give gamma as [n, d]")
        if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != count:
            found = str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"input {position}", found, accepted=f"a tensor [{count}, ...], for {count} gammas")
