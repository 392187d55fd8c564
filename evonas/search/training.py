"""One layer on one task, trained from one stop to the next."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from evonas.config import LayerConfig, QualityConfig, TrainingConfig
from evonas.graph.genome import Genome
from evonas.search.outcome import Findings, Rejection
from evonas.search.rungs import Hurdle, likelihood
from evonas.tasks.task import Task, placed, score_of
from evonas.training.fit import StopReason, fit

ADAM_BETAS = (0.9, 0.95)
TRACE_POINTS = 20


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
Points = tuple[tuple[int, float], ...]


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
    figures: Mapping[str, float] = field(default_factory=dict)
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
            self._model = placed(self.task, fresh, self.genome, self.layer).train()
            if self.settings.channels_last:
                self._model = self._model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._optimizer = (self.task.optimizer or task_optimizer)(self._model, self.settings)
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

        def loss(batch: Any) -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.autocast):
                return self.task.loss(model, batch)

        def after_step(step: int, _: Tensor) -> None:
            if self.task.after_step is not None:
                self.task.after_step(model, done + step)
            self.on_step(Step(self.task.name, done + step, self.settings.steps))

        trace = fit(
            loss,
            self._batches,
            self._optimizer,
            steps=steps,
            schedule=self._schedule,
            after_step=after_step,
            check_every=10,
            accumulate=self.settings.accumulate,
        )
        self.seconds += time.perf_counter() - started
        self.losses.extend(trace.losses)
        self.stop = trace.stop

    def score(self) -> float:
        """The metric at the current step, computed once."""
        if self._scored_at is None or self._scored_at[0] != len(self.losses):
            self.on_step(Step(self.task.name, what="scoring"))
            found = self.task.metric(self.network)
            self.figures = found if isinstance(found, Mapping) else {}
            self._scored_at = (len(self.losses), score_of(found))
        return self._scored_at[1]

    def findings(self) -> Findings:
        """What the task reports of its trained network beside the score; the losses are a curve too."""
        self.score()
        task, network = self.task, self.network
        curves: dict[str, Points] = {"training loss": thinned(self.losses, len(self.losses))}
        if task.curves is not None:
            curves |= {name: tuple(found) for name, found in task.curves(network).items()}
        return Findings(dict(self.figures), curves, dict(task.pictures(network)) if task.pictures else {})

    def diverged(self, stage: str) -> Rejection | None:
        """A rejection if the loss left the numbers."""
        if self.stop is StopReason.DIVERGED:
            return Rejection(stage, "diverged", self.task.name, measured=float(len(self.losses)))
        return None

    def at_rung(self, hurdle: Hurdle | None) -> Rejection | None:
        """Note the score at a rung; a rejection if it is behind on this task."""
        steps = len(self.losses)
        self.rungs[steps] = self.score() if self.task.rung_by_metric else likelihood(self.losses)
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


def thinned(losses: Sequence[float], total: int) -> tuple[tuple[int, float], ...]:
    """A few (step, loss) points of a training of ``total`` steps; a shorter one has the first of them.

    Losses that are not numbers are left out, JSON has no name for them.
    """
    every = max(1, total // TRACE_POINTS)
    return tuple((i + 1, v) for i, v in enumerate(losses) if (i + 1) % every == 0 and abs(v) < float("inf"))
