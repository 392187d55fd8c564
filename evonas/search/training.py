"""One layer on one task, trained from one stop to the next."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from evonas.config import LayerConfig, QualityConfig, TrainingConfig
from evonas.graph.genome import Genome
from evonas.search.outcome import Rejection
from evonas.search.rungs import Hurdle, likelihood
from evonas.surgery.install import with_layer
from evonas.tasks.task import Task
from evonas.training.fit import StopReason, fit

ADAM_BETAS = (0.9, 0.95)


def task_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW; weight decay on matrices and kernels only, never on a layer's vectors."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            groups, lr=settings.learning_rate, betas=ADAM_BETAS, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        groups,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        weight_decay=settings.weight_decay,
    )


@dataclass(frozen=True, slots=True)
class Step:
    """Where an evaluation is.

    Attributes:
        task: the network that is worked with.
        number: steps taken.
        of: steps that would be taken in all; 0 where there are none to count.
        what: what is done, if it is not training.
    """

    task: str
    number: int = 0
    of: int = 0
    what: str = ""

    def __str__(self) -> str:
        count = f"step {self.number} of {self.of}" if self.of else ""
        return ", ".join(filter(None, (self.task, self.what, count)))


OnStep = Callable[[Step], None]


def unobserved(_: Step) -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Training:
    """One genome on one task, trained from one stop to the next."""

    task: Task
    genome: Genome
    settings: TrainingConfig
    layer: LayerConfig
    seed: int
    on_step: OnStep = unobserved
    losses: list[float] = field(default_factory=list)
    rungs: dict[int, float] = field(default_factory=dict)
    stop: StopReason = StopReason.COMPLETED
    seconds: float = 0.0
    _model: nn.Module | None = None
    _optimizer: torch.optim.Optimizer | None = None
    _schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    _batches: Iterator[Any] | None = None
    _scored_at: tuple[int, float] | None = None

    @property
    def network(self) -> nn.Module:
        """The network with the layer in it, built on first use."""
        if self._model is None:
            fresh = self.task.build(self.seed)
            self._model = with_layer(fresh, self.genome, self.layer, self.task.norms).train()
            self._optimizer = task_optimizer(self._model, self.settings)
            self._schedule = _schedule(self._optimizer, self.settings)
            self._batches = self.task.batches(self.seed)
        return self._model

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def advance(self, steps: int) -> None:
        """Train on for some steps, from the start on the first call."""
        if steps <= 0 or self.stop is StopReason.DIVERGED:
            return
        self.on_step(Step(self.task.name, len(self.losses), self.settings.steps))
        model = self.network
        assert self._batches is not None
        assert self._optimizer is not None
        started, done = time.perf_counter(), len(self.losses) + 1
        trace = fit(
            lambda batch: self.task.loss(model, batch),
            self._batches,
            self._optimizer,
            steps=steps,
            schedule=self._schedule,
            after_step=lambda step, _: self.on_step(Step(self.task.name, done + step, self.settings.steps)),
            check_every=10,
        )
        self.seconds += time.perf_counter() - started
        self.losses.extend(trace.losses)
        self.stop = trace.stop

    def score(self) -> float:
        """The metric at the current step, computed once."""
        if self._scored_at is None or self._scored_at[0] != len(self.losses):
            self.on_step(Step(self.task.name, what="scoring"))
            self._scored_at = (len(self.losses), self.task.metric(self.network))
        return self._scored_at[1]

    def diverged(self, stage: str) -> Rejection | None:
        """A rejection if the loss left the numbers."""
        if self.stop is StopReason.DIVERGED:
            return Rejection(stage, "diverged", self.task.name, measured=float(len(self.losses)))
        return None

    def at_rung(self, hurdle: Hurdle | None) -> Rejection | None:
        """Note the score at a rung; a rejection if it is behind on this task."""
        steps = len(self.losses)
        self.rungs[steps] = likelihood(self.losses)
        return hurdle.stopped_on(self.task.name, self.rungs[steps]) if hurdle else None

    def rejected_by_quality(self, settings: QualityConfig) -> Rejection | None:
        """The quality protocol: the metric after a few steps must reach a minimum."""
        score = self.score()
        if score < settings.min_accuracy:
            return Rejection("quality", "accuracy too low", self.task.name, score, settings.min_accuracy)
        return None


def _schedule(
    optimizer: torch.optim.Optimizer, settings: TrainingConfig
) -> torch.optim.lr_scheduler.LRScheduler | None:
    whole, warmup = settings.steps, settings.warmup
    if not warmup:  # as torch computes it, bit for bit
        return None if settings.schedule == "constant" else CosineAnnealingLR(optimizer, whole)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(1, whole - warmup)
        return 1.0 if settings.schedule == "constant" else (1 + math.cos(math.pi * progress)) / 2

    return LambdaLR(optimizer, factor)
