r"""LinEAS that does not fit its few sentences: held-out ones say when to stop, and how far each neuron is to move.

With one scale and one shift for each neuron and 32 sentences, the loss of a training falls long after that of other
sentences has begun to rise. What is chosen here is chosen on sentences of the fit that a training has not seen, never
on those that judge it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.steering.lineas import Held, LinEASSettings, Training, train_maps
from evonas.studies.steering.maps import INVERTIBLE, AffineMap
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.recording import Recorder, samples_of
from evonas.studies.steering.sites import Batch, SteeringSite, steered
from evonas.studies.steering.wasserstein import squared_wasserstein

FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0)  # how far a neuron may move, of what it was fitted to
LEAST = 2  # samples on either side of a split


@dataclass(frozen=True, slots=True)
class HeldOutSettings:
    """What held-out samples are used for.

    Attributes:
        share: of the source and target samples that one training does not see; it ends where their loss is least.
        folds: instead of a share: each sample is held out once, in as many trainings; the number of steps with the
            least mean loss is then taken with all samples.
        shrink: also choose for each neuron, on held-out samples, how far it moves of what it was fitted to.

    Raises:
        InputError: one of them is out of range, or two of them exclude each other.
    """

    share: float = 0.0
    folds: int = 0
    shrink: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InputError("held_out", str(self.share), accepted="0 or more and less than 1")
        if self.folds < 0 or self.folds == 1:
            raise InputError("folds", str(self.folds), accepted="0, or 2 or more")
        if self.share and self.folds:
            raise InputError("held_out", f"{self.share} together with folds", accepted="one of the two")
        if self.shrink and not self.used:
            raise InputError("shrink", "without held-out samples", accepted="together with held_out or folds")

    @property
    def used(self) -> bool:
        """Whether anything is held out."""
        return bool(self.share or self.folds)


def train_held_out(
    model: nn.Module,
    sites: Sequence[SteeringSite],
    source: Sequence[Batch],
    target: Sequence[Tensor],
    pooling: Pooling,
    settings: LinEASSettings,
    held_out: HeldOutSettings,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Training:
    """Maps as of ``train_maps``, with its arguments, that were chosen on held-out samples.

    Raises:
        InputError: as ``train_maps``, or too few samples to hold any out.
    """
    trained: list[tuple[Training, Held]] = []
    folds = held_out.folds or 1
    for fold in range(folds):
        parts = _split(source, target, fold, held_out)
        patience = None if held_out.folds else max(3, settings.steps // 5)
        found = train_maps(model, sites, *parts[0], pooling, settings, on_step, held=parts[1], patience=patience)
        trained.append((found, parts[1]))
    if held_out.folds:
        curve = [sum(losses) for losses in zip(*(found.held for found, _ in trained), strict=True)]
        steps = min(range(len(curve)), key=curve.__getitem__)
        final = train_maps(model, sites, source, target, pooling, settings, on_step, stop_after=steps)
        final = Training(final.maps, final.losses, tuple(loss / folds for loss in curve))
    else:
        final = trained[0][0]
    if not held_out.shrink:
        return final
    factors = shrinkage(model, sites, [(found.maps, held) for found, held in trained], pooling)
    maps = [_shrunk(affine, factor) for affine, factor in zip(final.maps, factors, strict=True)]
    return Training(tuple(maps), final.losses, final.held)


def shrinkage(
    model: nn.Module,
    sites: Sequence[SteeringSite],
    trained: Sequence[tuple[Sequence[AffineMap], Held]],
    pooling: Pooling,
) -> list[Tensor]:
    r"""For each neuron the factor s of ``FACTORS`` at which held-out samples come nearest to the target.

    At one site the maps before it are at work in full, and $z + s (w z + b - z)$ takes the place of $w z + b$; what is
    compared is the squared Wasserstein distance, summed over all trainings.

    Args:
        model: as for ``train_maps``.
        sites: the same.
        trained: the maps of each training, and the samples that it did not see.
        pooling: the same.

    Shapes: -> [d_l] for each site.
    """
    totals = [goal.new_zeros(len(FACTORS), goal.shape[1]) for goal in trained[0][1].target]
    for maps, held in trained:
        with torch.no_grad(), steered(model, sites, maps), Recorder(model, sites, pooling) as record:
            moved = [torch.cat(parts) for parts in zip(*(record(batch) for batch in held.source), strict=True)]
        for total, after, goal, affine in zip(totals, moved, held.target, maps, strict=True):
            usable = affine.weight.abs() > INVERTIBLE
            before = torch.where(usable, (after - affine.bias) / torch.where(usable, affine.weight, 1.0), after)
            for place, factor in enumerate(FACTORS):
                total[place] += len(after) * squared_wasserstein(before + factor * (after - before), goal)
    choices = torch.tensor(FACTORS)
    return [choices.to(total)[total.argmin(0)] for total in totals]


def _shrunk(affine: AffineMap, factor: Tensor) -> AffineMap:
    return AffineMap(1 + factor * (affine.weight - 1), factor * affine.bias)


def _split(
    source: Sequence[Batch], target: Sequence[Tensor], fold: int, held_out: HeldOutSettings
) -> tuple[tuple[list[Batch], list[Tensor]], Held]:
    """The samples of a training, and those that it does not see; every k-th sample is held out."""
    n, m = sum(map(samples_of, source)), len(target[0])
    out = _held_places(n, fold, held_out, "source"), _held_places(m, fold, held_out, "target")
    seen = [_rows(batch, ~part) for batch, part in _by_batch(source, out[0])]
    seen = [batch for batch in seen if samples_of(batch) >= LEAST]
    if not seen:
        raise InputError("source", f"batches of {n // len(source)} samples", accepted="larger ones, to hold some out")
    held = [_rows(batch, part) for batch, part in _by_batch(source, out[0]) if part.any()]
    goals = [(pooled[~out[1].to(pooled.device)], pooled[out[1].to(pooled.device)]) for pooled in target]
    return (seen, [goal for goal, _ in goals]), Held(tuple(held), tuple(goal for _, goal in goals))


def _held_places(count: int, fold: int, held_out: HeldOutSettings, what: str) -> Tensor:
    """Which of the samples are held out, spread evenly over them. Shapes: bool [count]."""
    order = torch.arange(count)
    if held_out.folds:
        out = order % held_out.folds == fold
    else:
        wanted = round(held_out.share * count)
        out = torch.zeros(count, dtype=torch.bool)
        out[[number * count // wanted for number in range(wanted)] if wanted else []] = True
    if min(int(out.sum()), count - int(out.sum())) < LEAST:
        found = f"{count} samples, of which {int(out.sum())} are held out"
        raise InputError(what, found, accepted=f"{LEAST} or more on either side")
    return out


def _by_batch(batches: Sequence[Batch], out: Tensor) -> list[tuple[Batch, Tensor]]:
    ends = [0]
    for batch in batches:
        ends.append(ends[-1] + samples_of(batch))
    return [(batch, out[start:end]) for batch, (start, end) in zip(batches, pairwise(ends), strict=True)]


def _rows(batch: Batch, chosen: Tensor) -> Batch:
    """Some samples of a batch."""
    if isinstance(batch, Tensor):
        return batch[chosen.to(batch.device)]
    count = len(chosen)

    def part(value: object) -> object:
        if isinstance(value, Tensor) and value.ndim and len(value) == count:
            return value[chosen.to(value.device)]
        return value

    found: Mapping[str, object] = {name: part(value) for name, value in batch.items()}
    return found
