"""Rungs: training stops early where a layer falls behind others at equal steps.

Asynchronous successive halving in its stopping form: a layer that reaches a rung goes on if it is among the best
1 / reduction of the latest results there, and is never waited for. Results are told in a fixed order and each candidate
takes its hurdles along when it is asked for, so the outcome does not depend on the number of workers.
Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934), algorithm 2.

The score at a rung is the likelihood exp(-l), l being the mean training loss of the latest steps: all layers see the
same batches, so it is far less noisy than an accuracy, and it costs nothing.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp

from evonas.config import RungsConfig
from evonas.search.outcome import Evaluation, Rejection

STAGE = "rungs"
FEWEST_LOSSES = 10
FEWEST_FOR_FLOORS = 5  # the least of fewer layers says little about what a good layer may have on one task
LEAST_REFERENCE = 1e-9  # a reference with huge losses has a likelihood of 0.0


def likelihood(losses: Sequence[float]) -> float:
    """exp(-late loss): the geometric mean probability of the labels."""
    return exp(-late_loss(losses))


def late_loss(losses: Sequence[float]) -> float:
    """Mean over the last quarter of the steps, at least 10."""
    latest = losses[-max(FEWEST_LOSSES, len(losses) // 4) :]
    return sum(latest) / len(latest)


@dataclass(frozen=True, slots=True)
class Hurdle:
    """What a layer must reach at a rung to be trained further.

    Attributes:
        steps: training steps at which the rung stands.
        references: the reference layer's score at equal steps, per task.
        threshold: least mean over tasks of score / reference.
        floors: least score / reference on a single task: what the layers that went on have at least; a layer below it
            need not be tried on the other tasks.
    """

    steps: int
    references: Mapping[str, float]
    threshold: float = 0.0
    floors: Mapping[str, float] = field(default_factory=dict)

    def relative(self, scores: Mapping[str, float]) -> float:
        """Mean over tasks of score / reference: tasks count the same, however easy they are."""
        return _mean(self.ratios(scores))

    def stopped_on(self, task: str, score: float) -> Rejection | None:
        """A rejection if a layer with this score on one task is not worth trying on others."""
        return self._behind(self._ratio(task, score), self.floors.get(task, 0.0), task)

    def stopped(self, scores: Mapping[str, float]) -> Rejection | None:
        """A rejection if a layer with these scores is not trained further."""
        return self._behind(self.relative(scores), self.threshold)

    def ratios(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Score / reference per task."""
        return {task: self._ratio(task, score) for task, score in scores.items()}

    def _ratio(self, task: str, score: float) -> float:
        return score / max(self.references[task], LEAST_REFERENCE)

    def _behind(self, measured: float, limit: float, task: str = "") -> Rejection | None:
        if measured >= limit:
            return None
        return Rejection(STAGE, f"behind at step {self.steps}", task, measured, limit)


class Ladder:
    """What is known at each rung, and the hurdles that follow from it.

    Args:
        settings: the ``[rungs]`` section.
        reference: the layer whose curve scores are held against, trained to the end; without one there are no rungs.
    """

    def __init__(self, settings: RungsConfig, reference: Evaluation | None) -> None:
        self._rungs = [
            _Rung(Hurdle(steps, scores_at(reference, steps), settings.least), reduction, deque(maxlen=settings.window))
            for steps, reduction in (settings.by_rung if reference is not None else ())
        ]

    def hurdles(self) -> tuple[Hurdle, ...]:
        """The hurdles of a candidate that is asked for now, in the order of their steps."""
        return tuple(rung.hurdle_now() for rung in self._rungs)

    def tell(self, evaluation: Evaluation) -> None:
        """Take a candidate's scores at the rungs it came to; where it did not get through all tasks, it is a loser."""
        for number, rung in enumerate(self._rungs):
            scores = scores_at(evaluation, rung.least.steps)
            whole = scores.keys() == rung.least.references.keys()
            if whole or scores or number == 0:
                rung.results.append(rung.least.ratios(scores) if whole else {})
            if not whole:
                return


@dataclass(frozen=True, slots=True)
class _Rung:
    """One rung: the least that is asked of any layer, and the latest results, empty for losers."""

    least: Hurdle
    reduction: float
    results: deque[dict[str, float]]

    def hurdle_now(self) -> Hurdle:
        """By the best 1 / reduction of the results, and the least that is asked of any layer."""
        kept = int(len(self.results) / self.reduction)
        best = sorted((r for r in self.results if r), key=_mean, reverse=True)[:kept]
        if len(best) < max(kept, 1):
            return self.least
        tasks = self.least.references if kept >= FEWEST_FOR_FLOORS else ()
        floors = {task: min(ratios[task] for ratios in best) for task in tasks}
        return Hurdle(self.least.steps, self.least.references, max(self.least.threshold, _mean(best[-1])), floors)


def scores_at(evaluation: Evaluation | None, steps: int) -> dict[str, float]:
    """Score per task after so many steps, of the tasks that have one."""
    if evaluation is None:
        return {}
    return {task: value for task, points in evaluation.rungs.items() for at, value in points if at == steps}


def furthest(evaluation: Evaluation) -> int:
    """Steps of the last rung at which every task of the evaluation has a score; 0 if there is none."""
    common = [{at for at, _ in points} for points in evaluation.rungs.values()]
    return max(set.intersection(*common), default=0) if common else 0


def _mean(ratios: Mapping[str, float]) -> float:
    """Summed in the order of names, so that the order in which scores were recorded changes no bit."""
    return sum(ratios[task] for task in sorted(ratios)) / len(ratios)
