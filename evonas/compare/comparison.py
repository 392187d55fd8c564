"""Layers side by side: the scores of all trials, ranks, and differences to baselines with intervals."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, TypeVar

from evonas.compare.trials import TrialResults
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.report.statistics import (
    Difference,
    Scores,
    Summary,
    TaskSeed,
    mean_over_tasks,
    paired_difference,
    smallest_gain,
    summary,
)
from evonas.search.outcome import Findings, Rejection

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contender:
    """A layer to compare.

    Attributes:
        name: what people know it under.
        genome: the layer.
        baseline: whether others are compared with it.
        asked_for: whether a baseline was also given as a layer, and is ranked among the layers.
    """

    name: str
    genome: Genome
    baseline: bool = False
    asked_for: bool = False

    @property
    def ranked(self) -> bool:
        """Whether it has a rank: every layer, and a baseline that was asked for."""
        return self.asked_for or not self.baseline


@dataclass(frozen=True, slots=True)
class Standing:
    """The results of one contender.

    Attributes:
        contender: the layer.
        rank: 1 is the best of those that are ranked; 0 for baselines that were not asked for.
        scores: by task and seed.
        rates: the learning rate of each score, where there were several to choose from.
        findings: what else is known of the trained network of each task and seed.
        failures: why a task and seed has no score.
        tasks: mean and deviation over seeds of each task that has a score.
        mean: of the means over tasks, over the seeds that have all tasks; None if no seed has.
        differences: to each baseline but itself, by name.
    """

    contender: Contender
    rank: int
    scores: Mapping[TaskSeed, float]
    rates: Mapping[TaskSeed, float]
    findings: Mapping[TaskSeed, Findings]
    failures: Mapping[TaskSeed, Rejection]
    tasks: Mapping[str, Summary]
    mean: Summary | None
    differences: Mapping[str, Difference]

    def as_json(self) -> dict[str, Any]:
        """Everything about the contender; intervals and deviations of one number are null."""
        return {
            "name": self.contender.name,
            "baseline": self.contender.baseline,
            "rank": self.rank,
            "key": self.contender.genome.key,
            "formula": self.contender.genome.active().formula(),
            "text": self.contender.genome.active().to_text(),
            "mean": self.mean and asdict(self.mean),
            "tasks": {task: asdict(found) for task, found in self.tasks.items()},
            "scores": nested(self.scores),
            "rates": nested(self.rates),
            "figures": nested({cell: dict(found.figures) for cell, found in self.findings.items()}),
            "curves": nested({cell: dict(found.curves) for cell, found in self.findings.items()}),
            "failures": {task: {n: asdict(r) for n, r in each.items()} for task, each in nested(self.failures).items()},
            "differences": {name: asdict(found) for name, found in self.differences.items()},
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Contenders on tasks under seeds, best first; layers with a failed trial last, the more failed the later."""

    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    standings: tuple[Standing, ...]

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names of the layers that others are compared with, best first."""
        return tuple(s.contender.name for s in self.standings if s.contender.baseline)

    def as_json(self) -> dict[str, Any]:
        """All scores, summaries and differences."""
        layers = [standing.as_json() for standing in self.standings]
        return {"tasks": list(self.tasks), "seeds": list(self.seeds), "layers": layers}


def compare(
    contenders: Sequence[Contender],
    tasks: Sequence[str],
    seeds: Sequence[int],
    results: TrialResults,
    margin_over: str | None = None,
) -> Comparison:
    """Rank contenders by their trials, and hold each against every baseline.

    Args:
        contenders: layers and baselines.
        tasks: names of the tasks.
        seeds: seeds of the trials.
        results: the trials of each layer.
        margin_over: rank by the smallest gain over this contender on any task; None ranks by the mean over tasks.
    """
    scores = {c.name: _scores_of(results, c) for c in contenders}
    failures = {c.name: _failures_of(results, c) for c in contenders}
    summaries = {name: _summaries(own, failures[name], tasks) for name, own in scores.items()}

    def level(name: str) -> float:
        if margin_over is not None:
            own, base = ({t: s.mean for t, s in summaries[n].items()} for n in (name, margin_over))
            return smallest_gain(own, base)
        return fmean(scores[name].values()) if scores[name] else 0.0

    ranked = sorted(contenders, key=lambda c: (len(tasks) * len(seeds) - len(scores[c.name]), -level(c.name)))
    baselines = [c.name for c in ranked if c.baseline]
    layers = [c.name for c in ranked if c.ranked]
    standings = []
    for contender in ranked:
        own = scores[contender.name]
        means = list(mean_over_tasks(own, tasks).values())
        standings.append(
            Standing(
                contender=contender,
                rank=layers.index(contender.name) + 1 if contender.ranked else 0,
                scores=own,
                rates=_rates_of(results, contender),
                findings=_findings_of(results, contender),
                failures=failures[contender.name],
                tasks=summaries[contender.name],
                mean=summary(means) if means else None,
                differences={b: paired_difference(own, scores[b], tasks) for b in baselines if b != contender.name},
            )
        )
    return Comparison(tuple(tasks), tuple(seeds), tuple(standings))


def _scores_of(results: TrialResults, contender: Contender) -> dict[TaskSeed, float]:
    """By cell; a trial has one score, under its task's own name, which a column of a matrix may go beyond."""
    trials = results[contender.genome.key]
    return {cell: next(iter(trial.objectives.values())) for cell, trial in trials.items() if trial.objectives}


def _rates_of(results: TrialResults, contender: Contender) -> dict[TaskSeed, float]:
    trials = results[contender.genome.key]
    return {cell: rate for cell, trial in trials.items() for rate in trial.rates.values()}


def _findings_of(results: TrialResults, contender: Contender) -> dict[TaskSeed, Findings]:
    trials = results[contender.genome.key]
    return {cell: found for cell, trial in trials.items() for found in trial.findings.values()}


def _failures_of(results: TrialResults, contender: Contender) -> dict[TaskSeed, Rejection]:
    trials = results[contender.genome.key]
    return {cell: trial.rejection for cell, trial in trials.items() if trial.rejection is not None}


def _summaries(scores: Scores, failures: Mapping[TaskSeed, Rejection], tasks: Sequence[str]) -> dict[str, Summary]:
    own = {task: [value for (name, _), value in scores.items() if name == task] for task in tasks}
    failed = Counter(task for task, _ in failures)
    return {task: replace(summary(values), failed=failed[task]) for task, values in own.items() if values}


def known_names(comparison: Comparison) -> dict[str, str]:
    """What pictures call the layers: the catalogue's name if there is one, else their own without the run's folders.

    Where two would be called the same, they keep their own names.
    """
    contenders = [standing.contender for standing in comparison.standings]
    catalogue = {genome.key: name for name, genome in CATALOGUE.items()}
    short = {
        c.name: c.name if c.baseline else catalogue.get(c.genome.key, c.name.rpartition("/")[2]) for c in contenders
    }
    counts = Counter(short.values())
    return {name: shown if counts[shown] == 1 else name for name, shown in short.items()}


def failure_text(rejection: Rejection) -> str:
    """E.g. ``training: diverged after 40 steps``."""
    after = f" after {rejection.measured:.0f} steps" if rejection.reason == "diverged" and rejection.measured else ""
    detail = f" ({rejection.detail})" if rejection.detail else ""
    return f"{rejection.stage}: {rejection.reason}{after}{detail}"


def nested(cells: Mapping[tuple[str, T], Any]) -> dict[str, dict[T, Any]]:
    """Values by pairs of keys, by the first and the second."""
    found: dict[str, dict[T, Any]] = {}
    for (first, second), value in cells.items():
        found.setdefault(first, {})[second] = value
    return found
