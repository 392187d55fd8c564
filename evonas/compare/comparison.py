"""Layers side by side: the scores of all trials, ranks, and differences to baselines with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from evonas.compare.trials import TrialResults
from evonas.graph.genome import Genome
from evonas.report.markdown import table_head, table_row
from evonas.report.pictures import IntervalRow, draw_intervals
from evonas.report.statistics import (
    Cell,
    Difference,
    Interval,
    Summary,
    mean_over_tasks,
    paired_difference,
    smallest_gain,
    summary,
)
from evonas.report.table import written
from evonas.search.outcome import Rejection


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
    """How a contender did.

    Attributes:
        contender: the layer.
        rank: 1 is the best of those that are ranked; 0 for baselines that were not asked for.
        scores: by task and seed.
        failures: why a task and seed has no score.
        tasks: mean and deviation over seeds of each task that has a score.
        mean: of the means over tasks, over the seeds that have all tasks; None if no seed has.
        differences: to each baseline but itself, by name.
    """

    contender: Contender
    rank: int
    scores: Mapping[Cell, float]
    failures: Mapping[Cell, Rejection]
    tasks: Mapping[str, Summary]
    mean: Summary | None
    differences: Mapping[str, Difference]

    def as_json(self) -> dict[str, Any]:
        """Everything about it; intervals and deviations of one number are null."""
        return {
            "name": self.contender.name,
            "baseline": self.contender.baseline,
            "rank": self.rank,
            "key": self.contender.genome.key,
            "formula": self.contender.genome.active().formula(),
            "text": self.contender.genome.active().to_text(),
            "mean": self.mean and asdict(self.mean),
            "tasks": {task: asdict(found) for task, found in self.tasks.items()},
            "scores": _nested(self.scores),
            "failures": {
                task: {n: asdict(r) for n, r in each.items()} for task, each in _nested(self.failures).items()
            },
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
        """The names others are compared with, best first."""
        return tuple(s.contender.name for s in self.standings if s.contender.baseline)

    def as_json(self) -> dict[str, Any]:
        """All scores, summaries and differences."""
        layers = [standing.as_json() for standing in self.standings]
        return {"tasks": list(self.tasks), "seeds": list(self.seeds), "layers": layers}

    def markdown(self) -> str:
        """Tables: summaries, differences in points if there are baselines, and the scores of all trials."""
        differences = [*self._differences(), ""] if self.baselines else []
        return "\n".join([*self._summaries(), "", *differences, *self._scores()]) + "\n"

    def _summaries(self) -> list[str]:
        lines = table_head("rank", "layer", *self.tasks, "mean", "formula")
        for standing in self.standings:
            cells = [cell_text(standing, task) for task in self.tasks]
            formula = f"`{standing.contender.genome.active().formula()}`"
            lines.append(table_row(rank_text(standing), standing.contender.name, *cells, mean_text(standing), formula))
        return [
            f"Mean and standard deviation over {len(self.seeds)} seeds; the mean is over tasks, then seeds.",
            "",
            *lines,
        ]

    def _differences(self) -> list[str]:
        lines = table_head("layer", "minus", "mean over tasks", *self.tasks, "all pairs")
        for standing in self.standings:
            for name, found in standing.differences.items():
                tasks = [interval_text(found.tasks.get(task)) for task in self.tasks]
                pooled = interval_text(found.over_seeds), *tasks, interval_text(found.over_pairs)
                lines.append(table_row(standing.contender.name, name, *pooled))
        what = "Paired differences in points with 95 % intervals (t): over seeds, and over all pairs of task and seed."
        return [what, "", *lines]

    def _scores(self) -> list[str]:
        lines = table_head("layer", "task", *(f"seed {seed}" for seed in self.seeds))
        for standing in self.standings:
            for task in self.tasks:
                cells = [_trial_text(standing, (task, seed)) for seed in self.seeds]
                lines.append(table_row(standing.contender.name, task, *cells))
        return ["All trials.", "", *lines]


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
    summaries = {name: _summaries(own, tasks) for name, own in scores.items()}

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
        trials = results[contender.genome.key]
        standings.append(
            Standing(
                contender=contender,
                rank=layers.index(contender.name) + 1 if contender.ranked else 0,
                scores=own,
                failures={cell: trial.rejection for cell, trial in trials.items() if trial.rejection is not None},
                tasks=summaries[contender.name],
                mean=summary(means) if means else None,
                differences={b: paired_difference(own, scores[b], tasks) for b in baselines if b != contender.name},
            )
        )
    return Comparison(tuple(tasks), tuple(seeds), tuple(standings))


def draw_comparison(comparison: Comparison, *, highlighted: Sequence[str] = (), title: str = "") -> Figure:
    """The picture: mean over tasks minus that of each baseline, with 95 % intervals over seeds."""
    standings = {s.contender.name: s for s in comparison.standings}
    means = {name: mean_over_tasks(s.scores, comparison.tasks) for name, s in standings.items()}

    def row(name: str, baseline: str) -> IntervalRow | None:
        if name == baseline:
            return None
        failed = len(standings[name].failures)
        note = f"{failed} of {len(comparison.tasks) * len(comparison.seeds)} trials failed" if failed else ""
        found = standings[name].differences[baseline].over_seeds
        if found is None:
            return IntervalRow(None, note=note or "no seed in common")
        seeds = tuple(100 * (means[name][n] - means[baseline][n]) for n in means[name] if n in means[baseline])
        low, high = (None if bound is None else 100 * bound for bound in (found.low, found.high))
        return IntervalRow(100 * found.mean, low, high, seeds, note)

    labels = {name: _label(s.contender) for name, s in standings.items()}
    return draw_intervals(
        list(labels.values()),
        [(baseline, [row(name, baseline) for name in standings]) for baseline in comparison.baselines],
        highlighted=[labels[name] for name in highlighted],
        baselines=comparison.baselines,
        label=f"Points; mean over {len(comparison.tasks)} tasks, 95 % interval (t) over {len(comparison.seeds)} "
        "seeds, which are the dots. Right of the line is better.",
        title=title,
    )


def _label(contender: Contender) -> str:
    formula = contender.genome.active().formula()
    return contender.name if contender.baseline or contender.name == formula else f"{contender.name}  {formula}"


def _scores_of(results: TrialResults, contender: Contender) -> dict[Cell, float]:
    """By cell; a trial has one score, under its task's own name, which a column of a matrix may go beyond."""
    trials = results[contender.genome.key]
    return {cell: next(iter(trial.objectives.values())) for cell, trial in trials.items() if trial.objectives}


def _summaries(scores: Mapping[Cell, float], tasks: Sequence[str]) -> dict[str, Summary]:
    by_task = {task: [value for (name, _), value in scores.items() if name == task] for task in tasks}
    return {task: summary(values) for task, values in by_task.items() if values}


def rank_text(standing: Standing) -> str:
    """The rank; a baseline that was not asked for has none."""
    return str(standing.rank) if standing.rank else "-"


def cell_text(standing: Standing, task: str) -> str:
    """Mean and deviation of a task, and how many trials failed."""
    found = standing.tasks.get(task)
    failed = [rejection for (name, _), rejection in standing.failures.items() if name == task]
    parts = [written(found)] if found else []
    return " ".join([*parts, f"({len(failed)} failed)"] if failed else parts)


def mean_text(standing: Standing) -> str:
    """Mean and deviation over seeds of the mean over tasks."""
    return written(standing.mean) if standing.mean else "-"


def interval_text(found: Interval | None) -> str:
    """In points, e.g. ``+2.93 [+1.40, +4.50]``."""
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return _points(found.mean)
    return f"{_points(found.mean)} [{_points(found.low)}, {_points(found.high)}]"


def _points(value: float) -> str:
    return f"{round(100 * value, 2) + 0.0:+.2f}"  # + 0.0 turns -0 into 0


def failure_text(rejection: Rejection) -> str:
    """E.g. ``training: diverged after 40 steps``."""
    after = f" after {rejection.measured:.0f} steps" if rejection.reason == "diverged" and rejection.measured else ""
    detail = f" ({rejection.detail})" if rejection.detail else ""
    return f"{rejection.stage}: {rejection.reason}{after}{detail}"


def _trial_text(standing: Standing, cell: Cell) -> str:
    return f"{standing.scores[cell]:.4f}" if cell in standing.scores else failure_text(standing.failures[cell])


def _nested(cells: Mapping[Cell, Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for (task, seed), value in cells.items():
        nested.setdefault(task, {})[str(seed)] = value
    return nested
