"""What a few batches tell about a model: which layers share an input, and how scores are distributed."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.sparsity.sites import LinearSite
from evonas.surgery.calls import call, inference

SAMPLES = 2**18  # scores kept of a layer; the share below a quantile of them is right to about 0.001


@dataclass(frozen=True, slots=True)
class Group:
    """Layers that read the output of one normalization.

    Attributes:
        sites: the layers, in the order of their calls.
        gain: what the normalization multiplied with last [n]; None where it has no such weight.
    """

    sites: tuple[LinearSite, ...]
    gain: Tensor | None


def normalized_groups(model: nn.Module, sites: Sequence[LinearSite], batch: Any) -> tuple[Group, ...]:
    """The layers that read a normalization's output, grouped by that output, as one forward pass shows them.

    A normalization is a module whose class has "norm" in its name.
    """
    read: dict[LinearSite, Tensor] = {}  # held, so that no two tensors have one identity
    written: dict[int, tuple[nn.Module, Tensor]] = {}

    def note_input(site: LinearSite, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read.setdefault(site, inputs[0])

    def note_output(norm: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            written[id(output)] = (norm, output)

    with ExitStack() as hooks, inference(model):
        for site in sites:
            if not site.stride:
                hooks.enter_context(site.module.register_forward_pre_hook(partial(note_input, site)))
        for part in model.modules():
            if "norm" in type(part).__name__.lower():
                hooks.enter_context(part.register_forward_hook(note_output))
        call(model, batch)
    found: dict[int, list[LinearSite]] = {}
    for site, x in read.items():
        if id(x) in written:
            found.setdefault(id(x), []).append(site)
    return tuple(Group(tuple(group), _gain(written[source][0], group[0].inputs)) for source, group in found.items())


def _gain(norm: nn.Module, features: int) -> Tensor | None:
    weight = dict(norm.named_parameters(recurse=False)).get("weight")
    return weight.detach() if weight is not None and weight.shape == (features,) else None


@contextmanager
def reached(sites: Sequence[LinearSite]) -> Iterator[set[str]]:
    """The names of the layers that are called while the context lasts."""
    seen = set[str]()
    with ExitStack() as hooks:
        for site in sites:
            hooks.enter_context(site.module.register_forward_pre_hook(lambda *_, name=site.name: seen.add(name)))
        yield seen


def require_reached(name: str, seen: Container[str]) -> None:
    """Refuse a layer of which calibration tells nothing.

    Raises:
        InputError: it was not called.
    """
    if name not in seen:
        remedy = "calibrate on more, or exclude it"
        raise InputError(name, "was not reached by the calibration batches", remedy=remedy)


def score_samples(
    model: nn.Module,
    scores: Sequence[tuple[LinearSite, Callable[[Tensor], Tensor]]],
    batches: Sequence[Any],
    placed: Mapping[LinearSite, nn.Module] | None = None,
) -> dict[str, Tensor]:
    """By name of a layer that was called, about ``SAMPLES`` sorted scores of its inputs, drawn from all batches.

    Of a sparse model, ``placed`` says what stands in the places of layers.
    """
    share = math.ceil(SAMPLES / len(batches))
    drawn: dict[str, list[Tensor]] = {site.name: [] for site, _ in scores}

    def note(
        number: int, site: LinearSite, score: Callable[[Tensor], Tensor], _module: nn.Module, inputs: tuple[Tensor, ...]
    ) -> None:
        values = score(site.features(inputs[0])).reshape(-1).cpu()
        if len(values) > share:  # the same places for all layers, so that those that share an input share a threshold
            generator = torch.Generator().manual_seed(derive_seed(number, "score samples"))
            values = values[torch.randint(len(values), (share,), generator=generator)]
        drawn[site.name].append(values.float())

    for number, batch in enumerate(batches):
        with ExitStack() as hooks, inference(model):
            for site, score in scores:
                module = (placed or {}).get(site, site.module)
                hooks.enter_context(module.register_forward_pre_hook(partial(note, number, site, score)))
            call(model, batch)
    return {name: torch.cat(parts).sort().values for name, parts in drawn.items() if parts}


def threshold_at(samples: Tensor, sparsity: float) -> float:
    """The score up to which the share ``sparsity`` of the sorted samples lies."""
    return samples[min(len(samples), math.ceil(sparsity * len(samples) - 1e-9)) - 1].item()
