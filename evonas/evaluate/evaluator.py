"""Train a layer on every task, rejecting it as soon as it shows that it does not learn."""

import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR
from torch.utils._pytree import tree_map

from evonas.config import LayerConfig, ProtocolsConfig, QualityConfig, SearchConfig, TrainingConfig
from evonas.errors import InputError
from evonas.evaluate.ascent import ascend_gradient_norm, kernels
from evonas.evaluate.compiling import CandidateCompiler, Mode
from evonas.evaluate.objectives import OBJECTIVES, Subject, switched_on
from evonas.evaluate.rungs import Hurdle, late_loss, likelihood
from evonas.graph.genome import Genome
from evonas.instrument.fit import StopReason, fit
from evonas.instrument.modules import replace_modules
from evonas.instrument.surgery import NormActSite, SurgeryWarning, features_of, replace_norm_act
from evonas.instrument.topk import inner_linear_layers, sparse_inputs
from evonas.layer.lower import lower
from evonas.record.outcome import Evaluation, Rejection
from evonas.tasks.from_config import tasks_from_config
from evonas.tasks.task import Task

TRACE_POINTS = 20
ADAM_BETAS = (0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Judges genomes: a quality gate on every task, the stability protocol, then training on every task, rung by rung.

    What was trained in full also gets the ``objectives`` beside those of the tasks, by name.

    Every genome sees the same initial weights and the same batches for a given seed, so differences are the layer's.
    """

    tasks: tuple[Task, ...]
    training: TrainingConfig
    protocols: ProtocolsConfig
    layer: LayerConfig
    seed: int
    rungs: tuple[int, ...] = ()
    objectives: tuple[str, ...] = ()
    compile: Mode = "auto"

    def __call__(
        self, genome: Genome, *, gated: bool = True, hurdles: Sequence[Hurdle] = (), seed: int | None = None
    ) -> Evaluation:
        """Evaluate one genome.

        An error inside torch becomes a rejection, so that one layer cannot end a search.

        Args:
            genome: the layer.
            gated: whether the quality gate, the stability protocol and the hurdles apply.
            hurdles: what it must reach at the rungs to be trained further.
            seed: stands in for the evaluator's own.
        """
        if seed is not None:
            return replace(self, seed=seed)(genome, gated=gated, hurdles=hurdles)
        started = time.perf_counter()
        trainings = [_Training(task, genome, self) for task in self.tasks]
        compiler = CandidateCompiler(self.compile)
        try:
            with compiler:
                rejection = self._reject(genome, trainings, gated, {h.steps: h for h in hurdles if gated}, compiler)
            objectives = {} if rejection else {t.task.name: t.score() for t in trainings}
            extras = {} if rejection else self._extras(trainings[0])
        except RuntimeError as error:  # torch's out-of-memory error is one too
            rejection = Rejection("execution", "error", detail=str(error).partition("\n")[0])
            objectives, extras = {}, {}
        return Evaluation(
            key=genome.key,
            seed=self.seed,
            steps=sum(len(training.losses) for training in trainings),
            seconds=time.perf_counter() - started,
            objectives=objectives,
            rejection=rejection,
            traces={t.task.name: _thinned(t.losses, self.training.steps) for t in trainings if t.losses},
            rungs={t.task.name: tuple(t.rungs.items()) for t in trainings if t.rungs},
            extras=extras,
            compiled=compiler.outcome,
        )

    def _extras(self, trained: "_Training") -> dict[str, float]:
        """The objectives beside those of the tasks, given the training of the first one."""
        quality, genome = self.protocols.quality, trained.genome

        def short(factor: float) -> _Training:
            rate = factor * self.training.learning_rate
            faster = replace(self, training=self.training.model_copy(update={"learning_rate": rate}))
            training = _Training(self.tasks[0], genome, faster)
            training.advance(min(quality.steps, self.training.steps))
            return training

        def trains(factor: float) -> bool:
            training = short(factor)
            return training.stop is StopReason.COMPLETED and training.score() >= quality.min_accuracy

        def losses(factor: float) -> tuple[float, float]:
            training = short(factor)
            finished = training.stop is StopReason.COMPLETED
            return training.losses[0], late_loss(training.losses) if finished else math.nan

        def sparse_metric(sparsity: float) -> float:
            if not sparsity:
                return trained.score()
            with sparse_inputs(inner_linear_layers(trained.network), sparsity):
                return trained.task.metric(trained.network)

        subject = Subject(genome, self.layer, trained.device, trains, losses, sparse_metric)
        return {name: OBJECTIVES[name].measure(subject) for name in self.objectives}

    def stability(self, genome: Genome) -> Rejection | None:
        """The stability protocol, on the first task's untrained network."""
        settings, task = self.protocols.stability, self.tasks[0]
        if not settings.steps:
            return None
        model = install(task.build(self.seed), genome, self.layer, task.norms).train()
        batch = tree_map(lambda tensor: tensor[: settings.batch_size], next(task.batches(self.seed)))
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivatives
            ascent = ascend_gradient_norm(
                lambda: task.loss(model, batch),
                kernels(model),
                steps=settings.steps,
                step_size=settings.step_size,
                limit=settings.limit,
            )
        if not ascent.exceeded:
            return None
        steps, norm = len(ascent.norms) - 1, min(ascent.norms[-1], sys.float_info.max)
        return Rejection("stability", "gradient norm too high", task.name, norm, settings.limit, f"after {steps} steps")

    def _reject(
        self,
        genome: Genome,
        trainings: list["_Training"],
        gated: bool,
        hurdles: dict[int, Hurdle],
        compiler: CandidateCompiler,
    ) -> Rejection | None:
        """Train every task from mark to mark, as long as nothing is wrong; one task after the other, to stop early."""
        total, rungs = self.training.steps, {steps for steps in self.rungs if steps < self.training.steps}
        gate = min(self.protocols.quality.steps, total) if gated else 0
        marks = sorted({*rungs, total, *([gate] if gated else [])})
        for done, mark in pairwise([0, *marks]):
            if done or self.compile == "always":  # before the first steps there is no time to go by
                step_seconds = sum(t.seconds for t in trainings) / max(done, 1)
                compiler.consider([t.network for t in trainings], step_seconds=step_seconds, steps_left=mark - done)
            hurdle = hurdles.get(mark)
            for training in trainings:
                training.advance(mark - len(training.losses))
                if rejection := training.diverged("quality" if mark <= gate else "training"):
                    return rejection
                if mark in rungs and (rejection := training.at_rung(hurdle)):
                    return rejection
                if mark == gate and (rejection := training.rejected_by_quality(self.protocols.quality)):
                    return rejection
            if hurdle and (rejection := hurdle.stopped({t.task.name: t.rungs[mark] for t in trainings})):
                return rejection
            if mark == gate and (rejection := self.stability(genome)):
                return rejection
        return None


def evaluator_from_config(config: SearchConfig) -> Evaluator:
    """The evaluator of a search, its data loaded.

    Raises:
        InputError: missing data, a wrong architecture, or an unknown device.
    """
    device = find_device(config.execution.device)
    tasks = tasks_from_config(config, device)
    objectives = switched_on(config.objectives)
    return Evaluator(
        tasks,
        config.training,
        config.protocols,
        config.layer,
        config.seed,
        config.rungs.steps,
        objectives,
        config.execution.compile,
    )


def find_device(name: str, where: str = "execution.device") -> torch.device:
    """The device called ``name``; ``auto`` is the first GPU, or the CPU where there is none.

    Raises:
        InputError: torch does not know it, or it cannot hold numbers here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError):
        raise InputError(where, repr(name), accepted="auto, cpu, cuda, cuda:0, ...") from None
    return device


def install(model: nn.Module, genome: Genome, layer: LayerConfig, norms: Sequence[str] = ()) -> nn.Module:
    """A copy of a network with a layer at every normalization-activation site, or in the place of the named norms.

    Norms of maps without an activation become affine. Those of tokens stand without one anyway: the layer takes their
    place.

    Args:
        model: the network.
        genome: the layer.
        layer: how it is lowered.
        norms: patterns of modules, as of ``Task.norms``.
    """

    def made(features: int, layout: str, *, act: bool) -> nn.Module:
        return lower(
            genome, features, layout=layout, groups=layer.groups, eps=layer.eps, momentum=layer.momentum, act=act
        )

    if norms:
        return replace_modules(model, dict.fromkeys(norms, lambda norm: made(features_of(norm), "btd", act=True)))
    return install_layers(
        model,
        lambda site: made(site.num_features, site.layout, act=site.act is not None or site.layout == "btd"),
    )


def install_layers(model: nn.Module, make: Callable[[NormActSite], nn.Module]) -> nn.Module:
    """A copy of a network with ``make(site)`` at every site; no warnings, they would be the same for every layer."""
    with warnings.catch_warnings(category=SurgeryWarning, action="ignore"):
        return replace_norm_act(model, make)


def make_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.Optimizer:
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


@dataclass(slots=True)
class _Training:
    """One genome on one task, trained piece by piece."""

    task: Task
    genome: Genome
    evaluator: Evaluator
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
            settings = self.evaluator.training
            fresh, layer = self.task.build(self.evaluator.seed), self.evaluator.layer
            self._model = install(fresh, self.genome, layer, self.task.norms).train()
            self._optimizer = make_optimizer(self._model, settings)
            self._schedule = _schedule(self._optimizer, settings)
            self._batches = self.task.batches(self.evaluator.seed)
        return self._model

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def advance(self, steps: int) -> None:
        """Train on for some steps, from the start on the first call."""
        if steps <= 0 or self.stop is StopReason.DIVERGED:
            return
        model = self.network
        assert self._batches is not None
        assert self._optimizer is not None
        started = time.perf_counter()
        trace = fit(
            lambda batch: self.task.loss(model, batch),
            self._batches,
            self._optimizer,
            steps=steps,
            schedule=self._schedule,
            check_every=10,
        )
        self.seconds += time.perf_counter() - started
        self.losses.extend(trace.losses)
        self.stop = trace.stop

    def score(self) -> float:
        """The metric at the current step, computed once."""
        if self._scored_at is None or self._scored_at[0] != len(self.losses):
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


def _thinned(losses: list[float], total: int) -> tuple[tuple[int, float], ...]:
    """A few (step, loss) points of a training of ``total`` steps; a shorter one has the first of them.

    Losses that are not numbers are left out, JSON has no name for them.
    """
    every = max(1, total // TRACE_POINTS)
    return tuple((i + 1, v) for i, v in enumerate(losses) if (i + 1) % every == 0 and abs(v) < float("inf"))
