"""LinEAS: all maps trained together, through the network, to match pooled activations neuron by neuron."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.proximal import shrink_to_identity
from evonas.studies.steering.recording import Recorder
from evonas.studies.steering.sites import Batch, SteeringSite, steered
from evonas.studies.steering.wasserstein import Quantiles, quantiles, require_reduction, transport_loss
from evonas.training.fit import StopReason, fit

OPTIMIZERS: dict[str, Callable[[list[Tensor], float], torch.optim.Optimizer]] = {
    "sgd": lambda parameters, rate: torch.optim.SGD(parameters, rate),
    "adam": lambda parameters, rate: torch.optim.Adam(parameters, rate, betas=(0.9, 0.9)),
}
FLOOR = 1e-3  # share of the learning rate at the end


@dataclass(frozen=True, slots=True)
class LinEASSettings:
    """How the maps are trained.

    Attributes:
        steps: how many.
        lr: the first learning rate; 0.1 is the paper's for language models, with ``sgd`` and ``mean``. It falls to a
            thousandth along a half cosine.
        sparsity: gamma; 0 leaves the proximal step out.
        reduction: ``mean`` or ``sum``; see ``transport_loss``.
        optimizer: ``sgd`` without momentum, or ``adam`` with betas of 0.9.
        neurons: share of all neurons that may be steered; see ``steepest``.

    Raises:
        InputError: one of them is out of range.
    """

    steps: int = 1000
    lr: float = 0.1
    sparsity: float = 0.0
    reduction: str = "mean"
    optimizer: str = "sgd"
    neurons: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError("steps", str(self.steps), accepted="1 or more")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError("lr", str(self.lr), accepted="a finite number above 0")
        if not (math.isfinite(self.sparsity) and self.sparsity >= 0):
            raise InputError("sparsity", str(self.sparsity), accepted="0 or a finite number above")
        require_reduction(self.reduction)
        if self.optimizer not in OPTIMIZERS:
            raise InputError("optimizer", repr(self.optimizer), accepted=", ".join(OPTIMIZERS))
        if not 0 < self.neurons <= 1:
            raise InputError("neurons", str(self.neurons), accepted="a share above 0, up to 1")

    def rate(self, step: int) -> float:
        """The learning rate of a step, over that of the first."""
        return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * step / self.steps)) / 2


@dataclass(frozen=True, slots=True)
class Held:
    """Samples that a training does not see.

    Attributes:
        source: batches.
        target: [m, d] for each site, from the untouched network.
    """

    source: tuple[Batch, ...]
    target: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """What a training gave.

    Attributes:
        maps: one for each site; with held-out samples those of the step after which their loss was least.
        losses: of every step that was taken.
        held: the loss of the held-out samples before the first step and after each; empty without any.
    """

    maps: tuple[AffineMap, ...]
    losses: tuple[float, ...]
    held: tuple[float, ...] = ()


def train_maps(
    model: nn.Module,
    sites: Sequence[SteeringSite],
    source: Sequence[Batch],
    target: Sequence[Tensor],
    pooling: Pooling,
    settings: LinEASSettings,
    on_step: Callable[[int, Tensor], None] | None = None,
    *,
    held: Held | None = None,
    patience: int | None = None,
    stop_after: int | None = None,
) -> Training:
    r"""Maps that start at the identity and end where the steered source resembles the target.

    Each step takes one source batch through the network with its maps, compares what comes out of each site with the
    whole target, $C = \sum_l \sum_k W_2^2$ (``transport_loss``), and moves all w and b against the gradient. Then, with
    sparsity $\gamma$, it takes the proximal step of $\gamma\sum_l (\lVert w_l - 1\rVert_1 + \lVert b_l\rVert_1 +
    \sqrt{d_l}(\lVert w_l - 1\rVert_2 + \lVert b_l\rVert_2))$ at that step's learning rate. With less than all neurons,
    those of ``steepest`` alone are trained; the others stay the identity.

    Args:
        model: frozen, in evaluation mode.
        sites: in the order of calls.
        source: batches of two samples or more, taken in turn, over and over.
        target: [m, d] for each site, from the untouched network.
        pooling: as it was for the target.
        settings: everything else.
        on_step: called last in each step, with its number (from 0) and its loss.
        held: samples whose loss decides which step's maps are given.
        patience: end after so many steps without a new least loss of these.
        stop_after: take so many steps of those that are planned.

    Source: Rodriguez et al. 2025, sections 3 and 4; the threshold of the proximal step, learning rate times gamma, is
    that of the released code, as Algorithm 1 leaves the step size out.

    Raises:
        InputError: loss or maps left the finite numbers.
    """
    weights = [nn.Parameter(torch.ones_like(goal[0])) for goal in target]
    biases = [nn.Parameter(torch.zeros_like(goal[0])) for goal in target]
    maps = list(map(AffineMap, weights, biases))
    optimizer = OPTIMIZERS[settings.optimizer]([*weights, *biases], settings.lr)
    goals: dict[int, list[Quantiles]] = {}  # by number of source samples

    def after_step(step: int, loss: Tensor) -> None:
        if settings.sparsity:
            threshold = settings.lr * settings.rate(step) * settings.sparsity
            for weight, bias in zip(weights, biases, strict=True):
                shrink_to_identity(weight, bias, threshold)
        if on_step is not None:
            on_step(step, loss)

    with steered(model, sites, maps), Recorder(model, sites, pooling) as record:

        def loss(batch: Batch) -> Tensor:
            pooled = record(batch)
            n = len(pooled[0])
            if n not in goals:
                goals[n] = [quantiles(samples, n) for samples in target]
            return transport_loss(pooled, goals[n], settings.reduction)

        def held_loss() -> float:
            assert held is not None
            with torch.no_grad():
                parts = [torch.cat(pooled) for pooled in zip(*map(record, held.source), strict=True)]
                goal = [quantiles(samples, len(parts[0])) for samples in held.target]
                return float(transport_loss(parts, goal, settings.reduction))

        if settings.neurons < 1:
            _train_only(maps, steepest(loss, source, maps, settings.neurons))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, settings.rate)
        batches, losses, stop = cycle(source), list[float](), StopReason.COMPLETED
        curve = [held_loss()] if held is not None else []
        best, least = _copied(maps), 0
        for step in range(settings.steps if stop_after is None else stop_after):
            trace = fit(
                loss, batches, optimizer, steps=1, schedule=schedule, after_step=partial(_numbered, after_step, step)
            )
            losses += trace.losses
            if (stop := trace.stop) is StopReason.DIVERGED:
                break
            if held is not None:
                curve.append(held_loss())
                if curve[-1] < curve[least]:
                    best, least = _copied(maps), step + 1
                elif patience is not None and step + 1 - least >= patience:
                    break
    finite = all(parameter.isfinite().all() for parameter in (*weights, *biases))
    if stop is StopReason.DIVERGED or not finite:
        place = f"at step {len(losses)} of {settings.steps}"
        found = f"{settings.lr}: loss or maps became infinite or not a number {place}"
        raise InputError("lr", found, remedy="lower it")
    return Training(best if held is not None else _copied(maps), tuple(losses), tuple(curve))


def _numbered(after_step: Callable[[int, Tensor], None], step: int, _: int, loss: Tensor) -> None:
    after_step(step, loss)


def _copied(maps: Sequence[AffineMap]) -> tuple[AffineMap, ...]:
    return tuple(AffineMap(affine.weight.detach().clone(), affine.bias.detach().clone()) for affine in maps)


def steepest(
    loss: Callable[[Batch], Tensor], source: Sequence[Batch], maps: Sequence[AffineMap], share: float
) -> list[Tensor]:
    r"""The neurons in whose maps the loss is steepest, $\max(|\partial C/\partial w_k|, |\partial C/\partial b_k|)$.

    They are chosen among all sites together, by the gradient over all source batches where the maps now are. A penalty
    on the sum of sizes, with no groups, would leave the identity at the same neurons first, but shrink what it keeps.

    Args:
        loss: of a batch, a function of the maps.
        source: the batches.
        maps: leaves that take gradients.
        share: of all neurons, rounded up to a whole one.

    Shapes: -> bool [d_l] for each site.
    """
    parameters = [parameter for affine in maps for parameter in (affine.weight, affine.bias)]
    batches = [torch.autograd.grad(loss(batch), parameters) for batch in source]
    gradients = [torch.stack(parts).sum(0).abs() for parts in zip(*batches, strict=True)]
    slopes = list(map(torch.maximum, gradients[::2], gradients[1::2]))
    every = torch.cat(slopes)
    chosen = torch.zeros_like(every, dtype=torch.bool)
    chosen[every.topk(math.ceil(share * len(every))).indices] = True
    return list(chosen.split([len(slope) for slope in slopes]))


def _train_only(maps: Sequence[AffineMap], neurons: Sequence[Tensor]) -> None:
    """Gradients of all others become 0, from which either optimizer never moves them."""
    for affine, chosen in zip(maps, neurons, strict=True):
        for parameter in (affine.weight, affine.bias):
            parameter.register_hook(chosen.mul)
