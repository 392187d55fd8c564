"""Rungs: training stops early where a layer falls behind others at equal steps.

Asynchronous successive halving in its stopping form: a layer that reaches a rung goes on if it is among the best
1 / reduction of the latest results there, and is never waited for. Results are told in a fixed order and each candidate
takes its hurdles along when it is asked for, so the outcome does not depend on the number of workers.
Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934), algorithm 2.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from evonas.config import RungsConfig
from evonas.record.outcome import Evaluation, Rejection

STAGE = "rungs"


@dataclass(frozen=True, slots=True)
class Hurdle:
    """What a layer must reach at a rung to be trained further.

    Attributes:
        steps: training steps at which the rung stands.
        references: the reference layer's score at equal steps, per task.
        threshold: least mean over tasks of score / reference.
    """

    steps: int
    references: Mapping[str, float]
    threshold: float

    def relative(self, scores: Mapping[str, float]) -> float:
        """Mean over tasks of score / reference: tasks count the same, however easy they are."""
        return sum(scores[task] / max(self.references[task], 1e-9) for task in sorted(scores)) / len(scores)

    def stopped(self, scores: Mapping[str, float]) -> Rejection | None:
        """A rejection if a layer with these scores is not trained further."""
        relative = self.relative(scores)
        if relative >= self.threshold:
            return None
        return Rejection(STAGE, f"behind at step {self.steps}", measured=relative, limit=self.threshold)


class Ladder:
    """What is known at each rung, and the hurdles that follow from it.

    Args:
        settings: the ``[rungs]`` section.
        reference: the layer whose curve scores are held against, trained to the end; without one there are no rungs.
    """

    def __init__(self, settings: RungsConfig, reference: Evaluation | None) -> None:
        self._settings = settings
        self._rungs = [
            (Hurdle(steps, scores_at(reference, steps), 0.0), deque[float](maxlen=settings.window))
            for steps in (settings.steps if reference is not None else ())
        ]

    def hurdles(self) -> tuple[Hurdle, ...]:
        """The hurdles of a candidate that is asked for now, in the order of their steps."""
        return tuple(Hurdle(h.steps, h.references, self._threshold(values)) for h, values in self._rungs)

    def tell(self, evaluation: Evaluation) -> None:
        """Take the scores of a candidate at the rungs it reached."""
        for hurdle, values in self._rungs:
            scores = scores_at(evaluation, hurdle.steps)
            if scores.keys() == hurdle.references.keys():
                values.append(hurdle.relative(scores))

    def _threshold(self, values: deque[float]) -> float:
        """The worst of the best 1 / reduction; 0 as long as there are fewer results than the reduction."""
        kept = int(len(values) / self._settings.reduction)
        return sorted(values, reverse=True)[kept - 1] if kept else 0.0


def scores_at(evaluation: Evaluation | None, steps: int) -> dict[str, float]:
    """Score per task after so many steps, of the tasks that have one."""
    if evaluation is None:
        return {}
    return {task: value for task, points in evaluation.rungs.items() for at, value in points if at == steps}


def furthest(evaluation: Evaluation) -> int:
    """Steps of the last rung at which every task has a score; 0 if there is none."""
    common = [{at for at, _ in points} for points in evaluation.rungs.values()]
    return max(set.intersection(*common), default=0) if common else 0
