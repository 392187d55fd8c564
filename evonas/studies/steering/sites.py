"""Where maps stand: modules found by name, what they put out, and the hooks that steer and record."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from evonas.config.section import PositiveInt, Section
from evonas.errors import InputError
from evonas.studies.steering.residual import ResidualWatch
from evonas.surgery.modules import matching, unmatched

Batch = Tensor | Mapping[str, Any]
SiteMap = Callable[[Tensor, int], Tensor]

_FEATURES_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm)
_FEATURES_SECOND = (
    *(nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm),
    *(nn.modules.instancenorm._InstanceNorm, nn.GroupNorm),
)


class SteeringSite(Section):
    """A module whose output is steered.

    Attributes:
        name: its qualified name, e.g. ``"model.layers.0.post_attention_layernorm"``.
        features: neurons of its output; the first element, where it puts out a tuple.
        axis: that of the neurons: -1, or 1 in maps [b, c, h, w].
        kind: class name.
        writes_residual: whether its output goes into a residual sum, or is one; see ``ResidualWatch``.
    """

    name: str
    features: PositiveInt
    axis: Literal[-1, 1]
    kind: str
    writes_residual: bool


def run(model: nn.Module, batch: Batch) -> Any:
    """The model's output for a batch: a tensor is its only argument, a mapping its arguments by name.

    Raises:
        InputError: something else.
    """
    if isinstance(batch, Tensor):
        return model(batch)
    if isinstance(batch, Mapping):
        return model(**batch)
    remedy = "give the model's inputs without labels"
    raise InputError("batch", f"a {type(batch).__name__}", accepted="a tensor, or a mapping of inputs", remedy=remedy)


@torch.no_grad()
def find_sites(model: nn.Module, patterns: Iterable[str], batch: Batch) -> tuple[SteeringSite, ...]:
    """The modules that a pattern matches, in the order in which one whole forward pass calls them.

    Neurons are the last axis of tokens [b, t, d] and vectors [b, d]. Of four axes they are the second, [b, c, h, w],
    but for torch's Linear, LayerNorm and RMSNorm; of torch's convolutions, batch, instance and group norms they are
    always the second.

    Args:
        model: the network, in evaluation mode.
        patterns: as of ``evonas.replace_modules``.
        batch: what it is called with.

    Raises:
        InputError: a pattern that matches nothing, or a module that is not called exactly once, or does not put out a
            tensor, or a tuple that begins with one, of two to five axes.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    chosen: set[str] = set()
    for pattern in patterns:
        found = matching(pattern, modules)
        if not found:
            raise unmatched(pattern, modules, f"modules of this {type(model).__name__}")
        chosen.update(found)
    outputs: dict[str, tuple[int, Literal[-1, 1]]] = {}  # features and axis, in the order of calls
    with ResidualWatch(model) as watch, ExitStack() as hooks:

        def note(name: str, module: nn.Module, _inputs: object, output: Any) -> None:
            if name in outputs:
                raise _uncallable(name, "called more than once in a forward pass")
            tensor = main_output(name, output)
            if not 2 <= tensor.ndim <= 5:
                raise InputError(name, f"puts out {list(tensor.shape)}", accepted="two to five axes, samples first")
            axis = _feature_axis(module, tensor)
            outputs[name] = (tensor.shape[axis], axis)
            watch.mark(name, tensor)

        for name in chosen:
            hooks.enter_context(modules[name].register_forward_hook(partial(note, name)))
        run(model, batch)
    for name in sorted(chosen - outputs.keys()):
        raise _uncallable(name, "not called in a forward pass")
    return tuple(
        SteeringSite(
            name=name,
            features=features,
            axis=axis,
            kind=type(modules[name]).__name__,
            writes_residual=name in watch.writers,
        )
        for name, (features, axis) in outputs.items()
    )


@contextmanager
def steered(model: nn.Module, sites: Sequence[SteeringSite], maps: Sequence[SiteMap]) -> Iterator[None]:
    """Within it, the output of each site goes through its map, for all tokens and positions.

    Raises:
        InputError: from the forward pass, where an output has not as many neurons as the map.
    """
    with ExitStack() as hooks:
        for site, affine in zip(sites, maps, strict=True):
            module = model.get_submodule(site.name)
            hooks.enter_context(module.register_forward_hook(partial(_steer, site, affine)))
        yield


def require_sites(model: nn.Module, sites: Sequence[SteeringSite], origin: str) -> list[nn.Module]:
    """The modules of the sites.

    Raises:
        InputError: one is not there, or is of another size, as far as its weights show; ``origin`` names the model
            for which the sites were found.
    """
    modules = dict(model.named_modules())
    found = []
    for site in sites:
        if site.name not in modules:
            raise InputError(site.name, f"no such module in this {type(model).__name__}", remedy=_origin(origin))
        features = known_features(modules[site.name])
        if features not in (None, site.features):
            raise _other_size(site, features, f"in this {type(model).__name__}", origin)
        found.append(modules[site.name])
    return found


def known_features(module: nn.Module) -> int | None:
    """Neurons of a module's output by its own weights: of linear layers, convolutions and norms; else None."""
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.out_channels
    weight = module._parameters.get("weight")
    return len(weight) if weight is not None and weight.ndim == 1 and len(weight) > 1 else None


def main_output(name: str, output: Any) -> Tensor:
    """The tensor that is steered and recorded: the output, or the first element of a tuple.

    Raises:
        InputError: it is something else.
    """
    first = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(first, Tensor):
        accepted = "a module whose output is a tensor, or a tuple that begins with one"
        raise InputError(name, f"puts out a {type(first).__name__}", accepted=accepted)
    return first


def _steer(site: SteeringSite, affine: SiteMap, _module: nn.Module, _inputs: object, output: Any) -> Any:
    tensor = main_output(site.name, output)
    if tensor.shape[site.axis] != site.features:
        raise _other_size(site, tensor.shape[site.axis], "put out by this model", "")
    moved = affine(tensor, site.axis)
    return type(output)((moved, *output[1:])) if isinstance(output, tuple | list) else moved


def _feature_axis(module: nn.Module, output: Tensor) -> Literal[-1, 1]:
    if isinstance(module, _FEATURES_SECOND):
        return 1
    return 1 if output.ndim >= 4 and type(module) not in _FEATURES_LAST else -1


def _uncallable(name: str, trouble: str) -> InputError:
    return InputError(name, trouble, accepted="modules called once", remedy="choose other sites, or a narrower pattern")


def _other_size(site: SteeringSite, features: int | None, where: str, origin: str) -> InputError:
    return InputError(site.name, f"{features} neurons {where}", accepted=str(site.features), remedy=_origin(origin))


def _origin(origin: str) -> str:
    return f"the intervention was made for a {origin}" if origin else ""
