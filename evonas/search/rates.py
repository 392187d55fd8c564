"""One layer on one task at several learning rates, of which the worse half is dropped at every mark.

Successive halving of the rates: all start from the same weights and see the same batches, and at a mark those with the
lower training loss of the latest steps go on. A rate whose loss left the numbers is dropped too. A layer is judged by
the best rate there is: while it is trained by the one with the lowest loss, at the end by the one with the best score.
With a single rate nothing is dropped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from evonas.config import LayerConfig, QualityConfig, TrainingConfig
from evonas.graph.genome import Genome
from evonas.search.outcome import Rejection
from evonas.search.rungs import Hurdle, late_loss
from evonas.search.training import OnStep, Step, Training, unobserved
from evonas.tasks.task import Task
from evonas.training.fit import StopReason


def halving_steps(training: TrainingConfig, marks: Sequence[int]) -> set[int]:
    """Steps after which the worse half of the learning rates is dropped.

    They are the marks before the end of the training; where there is none, a quarter and a half of its steps. A single
    learning rate has none.
    """
    if len(training.rates) == 1:
        return set()
    total = training.steps
    return {m for m in marks if m < total} or {m for m in (total // 4, total // 2) if m}


@dataclass(slots=True)
class TaskTrainings:
    """One genome on one task, trained at each learning rate that is not dropped yet.

    Attributes:
        task: the network and its data.
        left: the trainings that go on, the best one first.
        rungs: score at every rung, each that of the best rate there.
    """

    task: Task
    left: list[Training]
    rungs: dict[int, float] = field(default_factory=dict)
    _dropped_steps: int = 0

    @classmethod
    def of(
        cls,
        task: Task,
        genome: Genome,
        settings: TrainingConfig,
        layer: LayerConfig,
        seed: int,
        on_step: OnStep = unobserved,
    ) -> Self:
        """Trainings at all learning rates of the settings, none of them begun."""
        several = len(settings.rates) > 1

        def training(rate: float) -> Training:
            watch = _saying_the_rate(on_step, rate) if several else on_step
            return Training(task, genome, settings.at_rate(rate), layer, seed, watch)

        return cls(task, [training(rate) for rate in settings.rates])

    @property
    def best(self) -> Training:
        """The training that the layer is judged by."""
        return self.left[0]

    @property
    def steps(self) -> int:
        """Optimizer steps taken in all, at dropped rates too."""
        return self._dropped_steps + sum(len(training.losses) for training in self.left)

    def advance_to(self, steps: int, *, halve: bool) -> None:
        """Train on up to so many steps, drop what diverged and, if asked for, the worse half of the rates.

        A diverged rate is one of the worse half. Where all diverge, the one that got furthest is left.
        """
        for training in self.left:
            training.advance(steps - len(training.losses))
        kept = math.ceil(len(self.left) / 2) if halve else len(self.left)
        finite = [training for training in self.left if training.stop is StopReason.COMPLETED]
        finite.sort(key=lambda training: late_loss(training.losses))
        self._keep(finite[:kept] or [max(self.left, key=lambda training: len(training.losses))])

    def finish(self) -> float:
        """The best score of the rates that are left; the others are dropped."""
        scores = {id(training): training.score() for training in self.left}
        best = max(self.left, key=lambda t: scores[id(t)] if math.isfinite(scores[id(t)]) else -math.inf)
        self._keep([best])
        return scores[id(best)]

    def diverged(self, stage: str) -> Rejection | None:
        """A rejection if the loss left the numbers at every rate that was left."""
        return self.best.diverged(stage)

    def at_rung(self, hurdle: Hurdle | None) -> Rejection | None:
        """Note the best rate's score at a rung; a rejection if it is behind on this task."""
        rejection = self.best.at_rung(hurdle)
        self.rungs |= {len(self.best.losses): self.best.rungs[len(self.best.losses)]}
        return rejection

    def rejected_by_quality(self, settings: QualityConfig) -> Rejection | None:
        """The quality protocol, asked of the best rate."""
        return self.best.rejected_by_quality(settings)

    def _keep(self, kept: list[Training]) -> None:
        """Forget the others, and so their networks; their steps are counted."""
        self._dropped_steps = self.steps - sum(len(training.losses) for training in kept)
        self.left = kept


def _saying_the_rate(on_step: OnStep, rate: float) -> OnStep:
    def watch(step: Step) -> None:
        on_step(replace(step, what=", ".join(filter(None, (f"learning rate {rate:g}", step.what)))))

    return watch
