"""How much the best layers of a search fall when they are measured again, and how much their order changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from evonas.report.statistics import rank_correlation
from evonas.search.racing.posterior import Posterior

TOP = 10


@dataclass(frozen=True, slots=True)
class Found:
    """A layer of a search that measured its best layers again.

    Attributes:
        group: equal for relatives.
        score: mean score when it was found.
        posterior: what is believed of it.
    """

    group: str
    score: float
    posterior: Posterior


@dataclass(frozen=True, slots=True)
class Shrinkage:
    """The best layers by posterior mean, against their scores when they were found.

    Attributes:
        layers: how many.
        found: mean of their scores when they were found.
        after: mean of their posterior means.
        places: mean number of places by which they moved in the order of all layers.
        correlation: rank correlation of both orders among them; None of fewer than three, or where all are equal.
    """

    layers: int
    found: float
    after: float
    places: float
    correlation: float | None

    @property
    def points(self) -> float:
        """By how much they fell."""
        return self.found - self.after

    def __str__(self) -> str:
        one = self.layers == 1
        who = "the best layer" if one else f"the best {self.layers} layers"
        order = "" if self.correlation is None else f" (rank correlation among them {self.correlation:.2f})"
        return (
            f"shrinkage: {who} scored {self.found:.4f} when found and {'has' if one else 'have'} a posterior mean of "
            f"{self.after:.4f}, {abs(100 * self.points):.2f} points {'less' if self.points >= 0 else 'more'}; "
            f"{'it' if one else 'they'} moved by {self.places:.1f} places{'' if one else ' on average'}{order}"
        )


def shrinkage(layers: Sequence[Found]) -> Shrinkage | None:
    """That of the best layers of a search, relatives counted once; None of none.

    Args:
        layers: all scored layers of the search, best posterior mean first.
    """
    groups: dict[str, Found] = {}
    for layer in layers:
        groups.setdefault(layer.group, layer)
    heads = list(groups.values())
    best = heads[:TOP]
    if not best:
        return None
    by_score = sorted(range(len(heads)), key=lambda number: (-heads[number].score, number))
    place = {number: rank for rank, number in enumerate(by_score)}
    scores, means = [layer.score for layer in best], [layer.posterior.mean for layer in best]
    moved = fmean(abs(place[number] - number) for number in range(len(best)))
    return Shrinkage(len(best), fmean(scores), fmean(means), moved, rank_correlation(scores, means))
