"""How much each layer drops, for a given mean: by what dropping costs, measured layer by layer.

Costs are measured once: for every layer and a few sparsities the squared error of its block's output, with the rest of
the block dense. The greedy rule then needs no forward pass: squared errors add where the errors of layers are
uncorrelated. Source: the greedy rule is that of TEAL (Liu et al. 2024), which runs the block at every trial instead.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heapreplace
from typing import Any

import numpy as np
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.sparsity.sites import LinearSite
from evonas.surgery.calls import call, inference, output_of

UNIFORM, BEST = "uniform", "fisher"
TWICE, EVOLUTION = "fisher-twice", "evolution"  # begin with the split of ``fisher``
LEVELS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
STEP = 0.025  # of the smallest layer, the step of WINA's released search
LAST_SHARE = 0.25  # errors are taken over the last quarter of the positions, as in TEAL

Make = Callable[[LinearSite, float], nn.Module]


@dataclass(frozen=True, slots=True)
class Curve:
    """What dropping costs: errors at some sparsities; in between, the root of the error is linear.

    Errors grow about as the square of what is dropped. If they were linear in between, slopes would jump at the levels,
    and almost every share that goes by slopes would end on one.
    """

    levels: tuple[float, ...]
    errors: tuple[float, ...]

    def at(self, sparsity: float) -> float:
        """The error at a sparsity."""
        return float(np.interp(sparsity, self.levels, np.sqrt(self.errors))) ** 2


ErrorCurves = Mapping[str, Mapping[str, Curve]]  # by block and layer


def greedy(curves: Mapping[str, Curve], sizes: Mapping[str, int], target: float) -> dict[str, float]:
    """Sparsities whose mean, weighted by size, is ``target``, raised step by step where the error grows least.

    Every step drops the same number of weights, ``STEP`` of the smallest part, so that parts compete on equal terms;
    none goes beyond the last level of its curve. If errors are convex no other split has a smaller sum.

    Args:
        curves: by part, what dropping costs.
        sizes: by part, the number of its weights.
        target: the mean; at most the last level.
    """
    parts, shares = list(curves), dict.fromkeys(curves, 0.0)
    step, left = STEP * min(sizes[part] for part in parts), target * sum(sizes[part] for part in parts)

    def offer(place: int, most: float) -> tuple[float, int, float]:
        """How much the error grows per weight, if this part drops so many more, and how many it can."""
        curve, share, size = curves[parts[place]], shares[parts[place]], sizes[parts[place]]
        amount = min(most, (curve.levels[-1] - share) * size)
        if amount <= 1e-9 * step:
            return math.inf, place, 0.0  # at its last level
        return (curve.at(share + amount / size) - curve.at(share)) / amount, place, amount

    most, offers = 0.0, list[tuple[float, int, float]]()
    while left > 1e-9 * step:
        if (wanted := min(step, left)) != most:  # at the beginning, and when less than a step is left
            most = wanted
            offers = [offer(place, most) for place in range(len(parts))]
            heapify(offers)
        _, place, amount = offers[0]
        if not amount:
            break  # all are at their last level
        shares[parts[place]] += amount / sizes[parts[place]]
        left -= amount
        heapreplace(offers, offer(place, most))  # the others' have not changed
    return shares


def blocks_of(sites: Sequence[LinearSite]) -> dict[str, list[LinearSite]]:
    """The layers by the block that holds them: its name ends with the first number in theirs, as ``model.layers.3``.

    Layers without a number, and those that are themselves numbered, belong to the whole model, whose name is empty.
    """
    blocks: dict[str, list[LinearSite]] = {}
    for site in sites:
        parts = site.name.split(".")
        number = next((place for place, part in enumerate(parts) if part.isdecimal()), len(parts))
        blocks.setdefault(".".join(parts[: number + 1]) if number + 1 < len(parts) else "", []).append(site)
    return blocks


def block_curves(
    model: nn.Module, sites: Sequence[LinearSite], make: Make, batches: Sequence[Any]
) -> dict[str, dict[str, Curve]]:
    """By block and layer: the squared error of the block's output, relative to the square of that output.

    Args:
        model: the dense model; layers are exchanged while it is measured, and put back.
        sites: its layers.
        make: from a layer and a sparsity to what stands in its place.
        batches: what the model is run on.

    Raises:
        InputError: a block whose output is not finite.
    """
    return {block: _curves(model, block, held, make, batches) for block, held in blocks_of(sites).items()}


def _curves(
    model: nn.Module, block: str, sites: Sequence[LinearSite], make: Make, batches: Sequence[Any]
) -> dict[str, Curve]:
    layers = [(site, place, make(site, LEVELS[place])) for site in sites for place in range(1, len(LEVELS))]
    squares, total = {site.name: [0.0] * len(LEVELS) for site in sites}, 0.0
    with inference(model):
        for run in (run for batch in batches for run in _runs(model, block, batch)):
            dense = _last_part(output_of(run()))
            total += dense.square().sum().item()
            for site, place, layer in layers:
                with _exchanged(model, site, layer):
                    error = _last_part(output_of(run())) - dense
                squares[site.name][place] += error.square().sum().item()
    if not all(map(math.isfinite, (total, *(value for values in squares.values() for value in values)))):
        raise InputError(block or type(model).__name__, "its output on the calibration batches is not finite")
    return {name: Curve(LEVELS, tuple(value / (total or 1.0) for value in values)) for name, values in squares.items()}


def _runs(model: nn.Module, block: str, batch: Any) -> list[Callable[[], Any]]:
    """What runs the block, once for each of its calls, on what it is given when the model runs on the batch."""
    if not block:
        return [partial(call, model, batch)]
    part, calls = model.get_submodule(block), list[Callable[[], Any]]()

    def note(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls.append(partial(part, *inputs, **named))

    with part.register_forward_pre_hook(note, with_kwargs=True):
        call(model, batch)
    return calls


@contextmanager
def _exchanged(model: nn.Module, site: LinearSite, layer: nn.Module) -> Iterator[None]:
    """Replace one layer by another while the context lasts."""
    put(model, site, layer)
    try:
        yield
    finally:
        put(model, site, site.module)


def put(model: nn.Module, site: LinearSite, module: nn.Module) -> None:
    """Put a module under all names of a site."""
    for name in site.names:
        model.set_submodule(name, module)


def _last_part(output: Tensor) -> Tensor:
    if output.ndim != 3:  # no positions
        return output.float()
    return output[:, -max(1, math.ceil(LAST_SHARE * output.shape[1])) :].float()


def plain_curves(costs: ErrorCurves) -> dict[str, Any]:
    """Curves as JSON holds them."""
    return {
        block: {name: [list(curve.levels), list(curve.errors)] for name, curve in part.items()}
        for block, part in costs.items()
    }


def read_curves(recorded: Mapping[str, Any]) -> ErrorCurves:
    """The curves that ``plain_curves`` gave."""
    return {
        block: {name: Curve(tuple(levels), tuple(errors)) for name, (levels, errors) in part.items()}
        for block, part in recorded.items()
    }
