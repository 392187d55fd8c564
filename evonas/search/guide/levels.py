"""How far a layer came, as one number that grows with how few others did better."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log

from evonas.search.individual import FULL_TRAINING
from evonas.search.outcome import Evaluation
from evonas.search.rungs import furthest, scores_at


@dataclass(frozen=True, slots=True, order=True)
class Level:
    """How far a layer came, and its score there: layers compare by the first, and where that is equal by the second.

    Attributes:
        steps: training steps of the last mark at which all tasks have a score; 0 if there is none.
        score: mean over tasks at that mark.
    """

    steps: int
    score: float


NOWHERE = Level(0, 0.0)  # of a layer that diverged, or was rejected, before the first mark


def level_of(evaluation: Evaluation) -> Level:
    """The level of an evaluated layer; extras do not count."""
    if evaluation.mean is not None:
        return Level(FULL_TRAINING, evaluation.mean)
    steps = furthest(evaluation)
    scores = list(scores_at(evaluation, steps).values())
    return Level(steps, sum(scores) / len(scores)) if scores and all(map(isfinite, scores)) else NOWHERE


def rarity(levels: Sequence[Level]) -> list[float]:
    """For each level -ln of the share of the levels that are better, counting half of its own ties and itself.

    Unlike a rank it tells the best from the good: of 1,000 layers the best has 7.6, the tenth 4.7, the middle one 0.7.
    """
    counts: dict[Level, int] = {}
    for level in levels:
        counts[level] = counts.get(level, 0) + 1
    better, found = 0, {}
    for level in sorted(counts, reverse=True):
        found[level] = -log((better + counts[level] / 2) / len(levels))
        better += counts[level]
    return [found[level] for level in levels]
