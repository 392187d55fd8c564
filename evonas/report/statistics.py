"""Statistics of paired scores: how a layer compares with another on the same tasks under the same seeds.

A cell is one task under one seed. Two layers that share a cell start from the same weights and see the same batches, so
their difference there is free of what the seed does to both; differences are therefore taken cell by cell.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

LEVEL = 0.95

TaskSeed = tuple[str, int]  # task, seed
Scores = Mapping[TaskSeed, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean and sample standard deviation (n - 1) of some numbers; one number has no deviation.

    ``failed`` is how many numbers are missing: runs that gave none.
    """

    mean: float
    std: float | None
    count: int
    failed: int = 0

    def at(self, place: float) -> tuple[float, float, float]:
        """A point for a picture: the place, the mean, and the deviation, 0 if there is none."""
        return place, self.mean, self.std or 0.0

    def times(self, factor: float) -> "Summary":
        """The same in another unit, e.g. 100 times for percent."""
        return replace(self, mean=factor * self.mean, std=None if self.std is None else factor * self.std)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds of its confidence interval; one number has no bounds."""

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def sign(self) -> int:
        """1 or -1 if the interval lies above or below 0, and 0 if it does not tell."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)

    def times(self, factor: float) -> "Interval":
        """The interval in another unit, e.g. 100 times for points of accuracy."""
        low, high = (None if bound is None else factor * bound for bound in (self.low, self.high))
        return replace(self, mean=factor * self.mean, low=low, high=high)


@dataclass(frozen=True, slots=True)
class Difference:
    """A layer's scores minus those of a baseline, over the cells that both have.

    Attributes:
        over_seeds: of the mean over tasks, one number per seed at which both layers have every task (n = seeds). It
            bounds the difference expected on these tasks and these images over the draw of initial weights and batches.
            It says nothing about other tasks. This is the one to claim by.
        over_pairs: of all cells (n = tasks x seeds), as if they were independent. They are not: tasks share a seed's
            batches, and seeds of one task share what the task does to the layer. It is usually, not always, narrower.
        tasks: of one task each, one number per seed.
    """

    over_seeds: Interval | None
    over_pairs: Interval | None
    tasks: Mapping[str, Interval]


def summary(values: Sequence[float]) -> Summary:
    """Mean and deviation of one number or more."""
    return Summary(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


def finite_summary(values: Iterable[float]) -> Summary | None:
    """The same, or None where there is no number, or one that is not finite."""
    numbers = list(values)
    return summary(numbers) if numbers and all(map(math.isfinite, numbers)) else None


def finite(value: float) -> float | None:
    """A number as JSON may hold it: None for one that is not finite."""
    return value if math.isfinite(value) else None


def mean_points(series: Iterable[Iterable[tuple[float, float]]]) -> list[tuple[float, float, float]]:
    """For a picture of several seeds: each place in order of appearance, the mean there, and the deviation.

    Args:
        series: places and values of each seed. A place that comes twice in one of them is two places.
    """
    by_place: dict[tuple[float, int], list[float]] = {}
    for points in series:
        places, values = zip(*points, strict=True)
        for place, value in zip(numbered(places), values, strict=True):
            by_place.setdefault(place, []).append(value)
    return [summary(values).at(place) for (place, _), values in by_place.items()]


def numbered(places: Iterable[float]) -> list[tuple[float, int]]:
    """Each place with the number of the same ones before it."""
    seen: Counter[float] = Counter()
    found = []
    for place in places:
        found.append((place, seen[place]))
        seen[place] += 1
    return found


def t_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's interval for the mean of independent numbers: mean -+ t(n - 1) * std / sqrt(n).

    Given paired differences it is the interval of the paired t test.
    """
    found = summary(values)
    if found.std is None:
        return Interval(found.mean, None, None, found.count)
    from scipy import stats  # takes long to import, and most readers of this module never get here

    half = float(stats.t.ppf((1 + level) / 2, found.count - 1)) * found.std / found.count**0.5
    return Interval(found.mean, found.mean - half, found.mean + half, found.count)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Spearman's; None of fewer than three values, or where all of one kind are equal."""
    from scipy.stats import spearmanr

    if len(first) < 3 or len({*first}) == 1 or len({*second}) == 1:
        return None
    return float(spearmanr(first, second).statistic)


def mean_over_tasks(scores: Scores, tasks: Sequence[str]) -> dict[int, float]:
    """By seed, in order: the mean over tasks, for the seeds at which no task is missing."""
    seeds = sorted({seed for _, seed in scores})
    complete = [seed for seed in seeds if all((task, seed) in scores for task in tasks)]
    return {seed: fmean(scores[task, seed] for task in tasks) for seed in complete}


def paired_difference(scores: Scores, baseline: Scores, tasks: Sequence[str]) -> Difference:
    """How a layer differs from a baseline on some tasks; what one of the two lacks is left out."""
    pairs = {cell: scores[cell] - baseline[cell] for cell in scores if cell in baseline and cell[0] in tasks}
    by_task = {task: [value for (name, _), value in pairs.items() if name == task] for task in tasks}
    return Difference(
        over_seeds=_interval(list(mean_over_tasks(pairs, tasks).values())),
        over_pairs=_interval(list(pairs.values())),
        tasks={task: t_interval(values) for task, values in by_task.items() if values},
    )


def smallest_gain(levels: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    """The smallest difference to a baseline on any task both have: what a layer gives where it suits least.

    Args:
        levels: a score by task.
        baseline: the same of the baseline.

    Returns:
        The difference; minus infinity without a common task.
    """
    return min((levels[task] - baseline[task] for task in levels if task in baseline), default=-math.inf)


def _interval(values: Sequence[float]) -> Interval | None:
    return t_interval(values) if values else None
