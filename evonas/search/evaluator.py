"""Train a layer on every task, rejecting it as soon as it shows that it does not learn."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count, pairwise

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from evonas.config import LayerConfig, ProtocolsConfig, SearchConfig, TrainingConfig
from evonas.errors import InputError, StopError, described, first_line, is_out_of_memory
from evonas.extensions import load_extensions
from evonas.graph.genome import Genome
from evonas.search.ascent import ascend_gradient_norm, weight_matrices
from evonas.search.compiling import CandidateCompiler, Mode
from evonas.search.objectives import OBJECTIVES, MeasurementContext, require_measurable
from evonas.search.outcome import EXECUTION, RESOURCE, Evaluation, Rejection
from evonas.search.rates import TaskTrainings, halving_steps
from evonas.search.rungs import Hurdle, late_loss
from evonas.search.small_batch import small_batch_score
from evonas.search.training import OnStep, Step, Training, thinned, unobserved
from evonas.surgery.install import layout_in
from evonas.tasks.from_config import tasks_from_config
from evonas.tasks.task import Task, first_samples, placed, score_of
from evonas.training.device import find_device
from evonas.training.fit import StopReason
from evonas.training.topk import inner_linear_layers, sparse_inputs


@dataclass(frozen=True, slots=True)
class Evaluator:
    """Judges genomes: a quality gate on every task, the stability protocol, then training on every task, rung by rung.

    What was trained in full also gets the ``objectives`` beside those of the tasks, by name.

    Several learning rates are tried side by side on every task. After each of ``rate_marks`` steps the worse half of
    those left there is dropped, see ``evonas.search.rates``; without marks, after a quarter and a half of the training.
    Gated or not, a layer is trained at the same rates.

    Every genome sees the same initial weights and the same batches for a given seed, so differences are the layer's.
    """

    tasks: tuple[Task, ...]
    training: TrainingConfig = field(default_factory=TrainingConfig)
    protocols: ProtocolsConfig = field(default_factory=ProtocolsConfig)
    layer: LayerConfig = field(default_factory=LayerConfig)
    seed: int = 1
    rungs: tuple[int, ...] = ()
    objectives: tuple[str, ...] = ()
    compile: Mode = "never"
    rate_marks: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse objectives that cannot be measured on the first task."""
        if self.objectives:
            require_measurable(self.objectives, self.tasks[0])

    @classmethod
    def from_config(cls, config: SearchConfig) -> "Evaluator":
        """The evaluator of a search file, its data loaded; see ``evaluator_from_config``."""
        return evaluator_from_config(config)

    def __call__(
        self,
        genome: Genome,
        *,
        gated: bool = True,
        hurdles: Sequence[Hurdle] = (),
        seed: int | None = None,
        findings: bool = False,
        on_step: OnStep = unobserved,
    ) -> Evaluation:
        """Evaluate one genome.

        An error of any kind becomes a rejection, so that one layer cannot end a search; not so an ``InputError``, which
        is no layer's fault, and a ``StopError``.

        Args:
            genome: the layer.
            gated: whether the quality gate, the stability protocol and the hurdles apply.
            hurdles: what it must reach at the rungs to be trained further.
            seed: stands in for the evaluator's own.
            findings: whether the tasks' figures, curves and pictures are wanted.
            on_step: called at every step of all trainings. To end the evaluation it may raise a ``StopError``.
        """
        if seed is not None:
            return replace(self, seed=seed)(genome, gated=gated, hurdles=hurdles, findings=findings, on_step=on_step)
        started, several = time.perf_counter(), len(self.training.rates) > 1
        settings = (self.training, self.layer, self.seed)
        trainings = [TaskTrainings.of(task, genome, *settings, on_step) for task in self.tasks]
        compiler = CandidateCompiler(self.compile)
        try:
            with compiler:
                asked = {h.steps: h for h in hurdles if gated}
                rejection = self._reject(genome, trainings, gated, asked, compiler, on_step)
            objectives = {} if rejection else {t.task.name: t.finish() for t in trainings}
            extras = {} if rejection else self._extras(trainings[0].best)
            if wrong := {name: value for name, value in extras.items() if not math.isfinite(value)}:
                rejection = Rejection("objectives", "not a finite number", detail=", ".join(wrong))
                objectives, extras = {}, {}
        except (InputError, StopError):
            raise
        except (Exception, SystemExit) as error:
            rejection, objectives, extras = failed(error), {}, {}
        return Evaluation(
            key=genome.key,
            seed=self.seed,
            steps=sum(training.steps for training in trainings),
            seconds=time.perf_counter() - started,
            objectives=objectives,
            rejection=rejection,
            traces={t.task.name: thinned(t.best.losses, self.training.steps) for t in trainings if t.steps},
            rungs={t.task.name: tuple(t.rungs.items()) for t in trainings if t.rungs},
            extras=extras,
            compiled=compiler.outcome,
            rates={t.task.name: t.best.settings.learning_rate for t in trainings} if several and objectives else {},
            findings={t.task.name: t.best.findings() for t in trainings} if findings and objectives else {},
        )

    def _extras(self, trained: Training) -> dict[str, float]:
        """Secondary objectives (latency, ...), measured on the first task, at multiples of its learning rate."""
        quality, genome = self.protocols.quality, trained.genome

        def short(factor: float) -> Training:
            settings = self.training.at_rate(factor * trained.settings.learning_rate)
            training = Training(self.tasks[0], genome, settings, self.layer, self.seed, trained.on_step)
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
                return score_of(trained.task.metric(trained.network))

        def shifted_metric() -> float:
            return trained.task.shifted(trained.network) if trained.task.shifted else math.nan

        layout = layout_in(trained.network)
        subject = MeasurementContext(
            genome,
            self.layer,
            layout,
            trained.device,
            trains,
            losses,
            sparse_metric,
            shifted_metric,
            lambda: small_batch_score(trained),
        )
        return {name: _measured(name, subject) for name in self.objectives}

    def stability(self, genome: Genome, on_step: OnStep = unobserved) -> Rejection | None:
        """The stability protocol, on the first task's untrained network."""
        settings, task = self.protocols.stability, self.tasks[0]
        if not settings.steps:
            return None
        model = placed(task, task.build(self.seed), genome, self.layer).train()
        batch = first_samples(next(task.batches(self.seed)), settings.batch_size)
        taken = count()

        def loss() -> Tensor:
            on_step(Step(task.name, next(taken), settings.steps, "stability"))
            return task.loss(model, batch)

        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivatives
            ascent = ascend_gradient_norm(
                loss,
                weight_matrices(model),
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
        trainings: list[TaskTrainings],
        gated: bool,
        hurdles: dict[int, Hurdle],
        compiler: CandidateCompiler,
        on_step: OnStep,
    ) -> Rejection | None:
        """Train every task from mark to mark, as long as nothing is wrong; one task after the other, to stop early."""
        total, rungs = self.training.steps, {steps for steps in self.rungs if steps < self.training.steps}
        gate = min(self.protocols.quality.steps, total) if gated else 0
        halvings = halving_steps(self.training, self.rate_marks)
        marks = sorted({*rungs, *halvings, total, *([gate] if gated else [])})
        for done, mark in pairwise([0, *marks]):
            if done or self.compile == "always":  # before the first steps there is no time to go by
                left = [training for of_task in trainings for training in of_task.left]
                step_seconds = sum(t.seconds for t in left) / max(done, 1)
                compiler.consider([t.network for t in left], step_seconds=step_seconds, steps_left=mark - done)
            hurdle = hurdles.get(mark)
            for training in trainings:
                training.advance_to(mark, halve=mark in halvings)
                if rejection := training.diverged("quality" if mark <= gate else "training"):
                    return rejection
                if mark in rungs and (rejection := training.at_rung(hurdle)):
                    return rejection
                if mark == gate and (rejection := training.rejected_by_quality(self.protocols.quality)):
                    return rejection
            if hurdle and (rejection := hurdle.stopped({t.task.name: t.rungs[mark] for t in trainings})):
                return rejection
            if mark == gate and (rejection := self.stability(genome, on_step)):
                return rejection
        return None


def failed(error: BaseException) -> Rejection:
    """The rejection of a layer whose evaluation raised an error."""
    if is_out_of_memory(error):
        return Rejection(RESOURCE, "out of memory", detail=first_line(error))
    return Rejection(EXECUTION, "error", detail=described(error))


def _measured(name: str, subject: MeasurementContext) -> float:
    """The value of an objective; an error says which one it was."""
    try:
        return OBJECTIVES[name].measure(subject)
    except RuntimeError as error:
        raise RuntimeError(f"objectives.{name}: {first_line(error)}") from error


def evaluator_from_config(config: SearchConfig) -> Evaluator:
    """The evaluator of a search, its data and its extensions loaded.

    Raises:
        InputError: missing data, a wrong architecture, an unknown device or objective, a missing extension, or a first
            task without what an objective needs.
    """
    load_extensions(config.extensions)
    for name in config.objectives.names:
        OBJECTIVES.find(name, "objectives.own")
    device = find_device(config.execution.device)
    tasks = tasks_from_config(config, device)
    measured = config.objectives.activation_sparsity
    if measured and not inner_linear_layers(tasks[0].build(config.seed)):
        found = f"{tasks[0].name} has no linear layer or 1x1 convolution but its head"
        accepted = "a transformer or a network with 1x1 convolutions as the first task"
        raise InputError("objectives.activation_sparsity", found, accepted=accepted)
    return Evaluator(
        tasks,
        config.training,
        config.protocols,
        config.layer,
        config.seed,
        config.rungs.steps,
        config.objectives.names,
        config.execution.compile,
        (*config.rungs.steps, config.protocols.quality.steps),
    )


def evaluators_from_config(config: SearchConfig) -> tuple[Evaluator, ...]:
    """The evaluator of a search, and one for each of the conditions under which layers race; all share their data.

    Raises:
        InputError: as ``evaluator_from_config``.
    """
    conditions = config.racing.conditions
    tasks = (*config.tasks, *(task for each in conditions for task in each.tasks))
    whole, first = evaluator_from_config(config.model_copy(update={"tasks": tasks})), len(config.tasks)
    search = replace(whole, tasks=whole.tasks[:first])
    evaluators, done = [search], first
    for each in conditions:
        own = whole.tasks[done : done + len(each.tasks)] or search.tasks
        training = each.training(config.training)
        evaluators.append(replace(search, tasks=own, training=training, rungs=(), objectives=()))
        done += len(each.tasks)
    return tuple(evaluators)
