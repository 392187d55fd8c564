"""How much of what there is to win in all objectives at once a front has won, as one number."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import moocore
import numpy as np

from evonas.search.individual import Individual
from evonas.search.objectives import OBJECTIVES
from evonas.search.outcome import Evaluation

EXACT = 6  # objectives up to which the volume is computed exactly; beyond, large fronts would take seconds


@dataclass(frozen=True, slots=True)
class Scale:
    """What 0 and 1 are in each objective: the worst and the best of the baselines.

    Where all of them are the same, 1 is twice as good as they are, or better by 1 if they are at 0. The hypervolume of
    a front is the volume of the points that one of its layers dominates and that are above 0 in every objective: 1 is
    that of a single layer that is as good as the best baseline in each.

    Attributes:
        names: of the objectives, those of tasks first.
        weights: 1 where larger is better, -1 where smaller is.
        worst: by objective.
        best: by objective.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    worst: tuple[float, ...]
    best: tuple[float, ...]

    @classmethod
    def of(cls, baselines: Collection[Evaluation]) -> Self | None:
        """From the baselines that have scores; None if there is none, or a single objective."""
        scored = [{**one.objectives, **one.extras} for one in baselines if one.objectives]
        if not scored or len(scored[0]) < 2:
            return None
        names = tuple(scored[0])
        weights = tuple(OBJECTIVES[name].weight if name in OBJECTIVES else 1.0 for name in names)
        columns = [
            sorted(weight * one[name] for one in scored if name in one)
            for name, weight in zip(names, weights, strict=True)
        ]
        worst, best = (tuple(column[end] for column in columns) for end in (0, -1))
        return cls(names, weights, worst, best)

    def scaled(self, objectives: Mapping[str, float]) -> list[float]:
        """The objectives of a layer, of which larger is better, with 0 and 1 as above."""
        found = []
        for name, weight, worst, best in zip(self.names, self.weights, self.worst, self.best, strict=True):
            found.append((weight * objectives[name] - worst) / (best - worst or abs(worst) or 1.0))
        return found


def hypervolume(front: Collection[Individual], scale: Scale) -> float:
    """Of a front.

    Source: Zitzler and Thiele 1998. Up to ``EXACT`` objectives it is exact; beyond, moocore approximates it, the same
    in every call (Deng and Zhang 2019).
    """
    points = [scale.scaled({**member.objectives, **member.extras}) for member in front]
    above = np.array([point for point in points if min(point) > 0])
    if not len(above):
        return 0.0
    measure = moocore.hypervolume if len(scale.names) <= EXACT else moocore.hv_approx
    return float(measure(above, ref=np.zeros(len(scale.names)), maximise=True))
