"""What an intervention gains and what it costs, for any scorer."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.errors import InputError
from evonas.studies.steering.intervention import Intervention
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.recording import frozen, record
from evonas.studies.steering.sites import Batch, run
from evonas.studies.steering.wasserstein import squared_wasserstein

Measure = Callable[[nn.Module], float]


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve: the strength, the concept's score, and the price, such as a perplexity on neutral text."""

    strength: float
    score: float
    price: float


def strength_curve(
    intervention: Intervention, model: nn.Module, strengths: Iterable[float], score: Measure, price: Measure
) -> tuple[Point, ...]:
    """The model measured at each strength.

    Args:
        intervention: what is switched on.
        model: on what.
        strengths: 0 gives the untouched model.
        score: from the steered model to how much of the concept it shows, e.g. by generating and classifying.
        price: from the steered model to what it lost, e.g. ``lambda m: perplexity(m, neutral)``.

    Raises:
        InputError: as for ``Intervention.on``.
    """
    points = []
    for strength in strengths:
        with intervention.on(model, strength):
            points.append(Point(strength, score(model), price(model)))
    return tuple(points)


@torch.no_grad()
def perplexity(model: nn.Module, batches: Iterable[Batch]) -> float:
    r"""$\exp(-\frac1T \sum_t \log p(x_t \mid x_{<t}))$ over all tokens that follow one which is not padding.

    Args:
        model: puts out logits [b, t, vocabulary], or an object whose ``logits`` they are; evaluated in evaluation mode.
        batches: token ids [b, t], or mappings with ``input_ids`` and, where there is padding, ``attention_mask``.

    Raises:
        InputError: no token follows another, or a batch without token ids.
    """
    total, tokens = 0.0, 0
    with frozen(model):
        for batch in batches:
            ids, mask = _ids_and_mask(batch)
            output = run(model, batch)
            logits: Tensor = output if isinstance(output, Tensor) else output.logits
            losses = functional.cross_entropy(logits[:, :-1].float().mT, ids[:, 1:], reduction="none")
            counted = mask[:, 1:] & mask[:, :-1]
            total += losses[counted].double().sum().item()
            tokens += int(counted.sum())
    if not tokens:
        raise InputError("batches", "no token follows another", accepted="samples of 2 tokens or more")
    return float(torch.tensor(total / tokens, dtype=torch.float64).exp())


def distances(
    intervention: Intervention,
    model: nn.Module,
    source: Iterable[Batch],
    target: Iterable[Batch],
    *,
    strength: float = 1.0,
    pool: str = "mean",
    skip_first: bool = True,
) -> Mapping[str, float]:
    """How far the steered source is from the target: the mean over neurons of W_2^2, by name of the site.

    With samples that were not fitted on, it tells whether the maps hold beyond those. Targets pass through the
    untouched model.

    Raises:
        InputError: as for ``fit`` and ``Intervention.on``.
    """
    pooling, sites = Pooling(pool, skip_first), intervention.sites
    with frozen(model):
        with intervention.on(model, 0.0):  # checks the sites
            goals = record(model, sites, target, pooling, "target")
        with intervention.on(model, strength):
            moved = record(model, sites, source, pooling, "source")
    pairs = zip(sites, moved, goals, strict=True)
    return {site.name: squared_wasserstein(samples, goal).mean().item() for site, samples, goal in pairs}


def _ids_and_mask(batch: Batch) -> tuple[Tensor, Tensor]:
    ids: Any = batch if isinstance(batch, Tensor) else batch.get("input_ids")
    if not isinstance(ids, Tensor) or ids.ndim != 2:
        raise InputError("batch", "holds no token ids", accepted="a tensor [b, t], or a mapping with 'input_ids'")
    mask = None if isinstance(batch, Tensor) else batch.get("attention_mask")
    return ids, torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
