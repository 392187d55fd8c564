"""What a comparison of layers reports: scores, differences to baselines, trials and costs, as tables and pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from evonas.compare.comparison import Comparison, Contender, Standing, failure_text, known_names
from evonas.compare.figures import draw_figures, figure_tables, images_of
from evonas.compare.result import LayerTask, Matrix
from evonas.report.board import HParam
from evonas.report.pictures import HeatCell, IntervalRow, draw_heatmap, draw_intervals, draw_panels
from evonas.report.save import Report, RunLog, slug
from evonas.report.statistics import Interval, finite_summary, mean_over_tasks
from evonas.report.table import Datum, Table, written

COSTS = {  # by the names of ``Cost``: how tables call them, and how they print
    "training": ("training time", "{:.2f}"),
    "inference": ("inference time", "{:.2f}"),
    "relative_memory": ("memory", "{:.2f}"),
    "parameters": ("parameters", "{:,.0f}"),
}
_IN_POINTS = "{:+z.2f}"


def comparison_report(title: str, comparison: Comparison, data: Mapping[str, Any]) -> Report:
    """Tables of a comparison with all that is fit for JSON; it has no picture yet."""
    trials = _trials(comparison, {})
    return Report(
        title=title,
        tables=[score_table(comparison), difference_table(comparison)],
        data=data,
        details=[_by_seed(trials)],
        runs=trials,
        failures=[f"{layer}, {task}, seed {seed}: {why}" for layer, task, seed, _, why, *_ in trials.rows if why],
    )


def matrix_report(matrix: Matrix) -> Report:
    """The report of a matrix, with the costs of its cells."""
    pictures = {"heatmap": draw_matrix(matrix)}
    if matrix.baseline is not None:
        pictures["differences"] = draw_comparison(matrix.comparison, title=f"Layers ({matrix.data})")
    if (by_size := draw_batch_sizes(matrix)) is not None:
        pictures["batch_sizes"] = by_size
    pictures |= dict(draw_figures(matrix.comparison))
    report = comparison_report(matrix.title, matrix.comparison, matrix.as_json())
    return replace(
        report,
        tables=[*report.tables, *figure_tables(matrix.comparison), _costs(matrix)],
        images=dict(images_of(matrix.comparison)),
        runs=_trials(matrix.comparison, matrix.costs),
        pictures=pictures,
        logs=dict(_logs(matrix)),
    )


def score_table(comparison: Comparison) -> Table:
    """A row for each layer: rank, mean and deviation of each task and of the mean over tasks, formula."""
    seeds = ", ".join(map(str, comparison.seeds))
    return Table.of(
        (
            {
                "rank": standing.rank or None,
                "layer": standing.contender.name,
                **{task: _score(standing, task) for task in comparison.tasks},
                "mean": standing.mean,
                "formula": standing.contender.genome.active().formula(),
            }
            for standing in comparison.standings
        ),
        title=f"Mean and standard deviation over seeds {seeds}; the mean is over tasks, then seeds.",
        code=("formula",),
    )


def interval_text(found: Interval | None) -> str:
    """A difference in points, e.g. ``+2.93 [+1.40, +4.50]``."""
    return written(_in_points(found), _IN_POINTS)


def _in_points(found: Interval | None) -> Interval | None:
    return found.times(100) if found else None


def _score(standing: Standing, task: str) -> Datum:
    """Mean and deviation of a task, and how many trials failed."""
    return standing.tasks.get(task) or f"({sum(name == task for name, _ in standing.failures)} failed)"


def difference_table(comparison: Comparison) -> Table:
    """A row for each layer and baseline: differences in points with intervals, over seeds and over all pairs."""
    return Table.of(
        (
            {
                "layer": standing.contender.name,
                "minus": name,
                "mean over tasks": _in_points(found.over_seeds),
                **{task: _in_points(found.tasks.get(task)) for task in comparison.tasks},
                "all pairs": _in_points(found.over_pairs),
            }
            for standing in comparison.standings
            for name, found in standing.differences.items()
        ),
        dict.fromkeys(("mean over tasks", *comparison.tasks, "all pairs"), _IN_POINTS),
        title="Paired differences with 95 % intervals, in points: hundredths of the score.",
        meanings={
            "mean over tasks": "the mean over tasks of each seed, and an interval over seeds: the one to claim by.",
            "all pairs": "every pair of task and seed as if it were independent, which makes intervals too narrow.",
        },
    )


def _trials(comparison: Comparison, costs: Mapping[LayerTask, Mapping[str, float]]) -> Table:
    """A row for each trial, with the costs of its layer and task."""
    return Table.of(
        {
            "layer": (name := standing.contender.name),
            "task": task,
            "seed": seed,
            "score": standing.scores.get((task, seed)),
            "failure": failure_text(failure) if (failure := standing.failures.get((task, seed))) else "",
            **{key: costs.get((name, task), {}).get(key) for key in COSTS},
        }
        for standing in comparison.standings
        for task in comparison.tasks
        for seed in comparison.seeds
    )


def _by_seed(trials: Table) -> Table:
    return Table.of(
        (
            {"layer": layer, "task": task, "seed": f"seed {seed}", "trial": failure or score}
            for layer, task, seed, score, failure, *_ in trials.rows
        ),
        title="All trials.",
    ).pivot("seed", "trial")


def _costs(matrix: Matrix) -> Table:
    places = dict.fromkeys((*matrix.costs, *matrix.unmeasured))
    return Table.of(
        (
            {
                "layer": layer,
                "task": task,
                **{name: matrix.costs.get((layer, task), {}).get(key) for key, (name, _) in COSTS.items()},
                **({"not measured": matrix.unmeasured.get((layer, task), "")} if matrix.unmeasured else {}),
            }
            for layer, task in places
        ),
        dict(COSTS.values()),
        title="Costs, relative to the network with `nn.BatchNorm2d` and `nn.ReLU`, or with its own norms of tokens; "
        "memory is what the backward pass needs.",
    )


def _logs(matrix: Matrix) -> Iterator[tuple[str, RunLog]]:
    for standing in matrix.comparison.standings:
        for task, found in standing.tasks.items():
            name = standing.contender.name
            metrics = {"score/mean": found.mean} | ({} if found.std is None else {"score/std": found.std})
            difference = standing.differences.get(matrix.baseline or "")
            if difference and task in difference.tasks:
                metrics["score/points over baseline"] = 100 * difference.tasks[task].mean
            metrics |= {f"cost/{key}": value for key, value in matrix.costs.get((name, task), {}).items()}
            settings = matrix.columns[task]
            hparams: dict[str, HParam] = {"layer": name, "task": task, "data": settings.learned_from}
            hparams |= {"steps": settings.training.steps, "batch size": settings.training.batch_size}
            yield f"{slug(name)}/{slug(task)}", RunLog(hparams, metrics)


def draw_comparison(comparison: Comparison, *, highlighted: Sequence[str] = (), title: str = "Layers") -> Figure:
    """The picture: mean over tasks minus that of each baseline, with 95 % intervals over seeds.

    Args:
        comparison: what is drawn.
        highlighted: names of layers in the colour of the best.
        title: what layers these are.
    """
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

    known = known_names(comparison)
    labels = {name: _label(s.contender, known[name]) for name, s in standings.items()}
    return draw_intervals(
        list(labels.values()),
        [(baseline, [row(name, baseline) for name in standings]) for baseline in comparison.baselines],
        highlighted=[labels[name] for name in highlighted],
        baselines=comparison.baselines,
        label=f"Points; mean over {len(comparison.tasks)} tasks, 95 % interval (t) over {len(comparison.seeds)} "
        "seeds, which are the dots. Right of the line is better.",
        title=f"{title} compared with {', '.join(comparison.baselines)}, seed by seed",
    )


def _label(contender: Contender, name: str) -> str:
    """The name, with the formula where people may not know it."""
    formula = contender.genome.active().formula()
    return name if contender.baseline or contender.name == formula else f"{name}  {formula}"


def draw_matrix(matrix: Matrix) -> Figure:
    """The heat map: mean score of each cell, coloured by the difference to the baseline if there is one."""
    label = f"Mean score over {len(matrix.comparison.seeds)} seeds"
    if matrix.baseline is not None:
        label += f"; below it and as colour, points more or less than {matrix.baseline}, paired"
    cells = {}
    names = known_names(matrix.comparison)
    for standing in matrix.comparison.standings:
        for task in matrix.comparison.tasks:
            cells[names[standing.contender.name], task] = _heat_cell(matrix, standing, task)
    return draw_heatmap(
        list(names.values()),
        matrix.comparison.tasks,
        cells,
        baselines=matrix.comparison.baselines,
        label=f"{label}.",
        title=f"Score of each layer on each task ({matrix.data}); higher is better",
    )


def _heat_cell(matrix: Matrix, standing: Standing, task: str) -> HeatCell:
    failures = [rejection for (name, _), rejection in standing.failures.items() if name == task]
    found = standing.tasks.get(task)
    if found is None:
        return HeatCell(failures[0].reason if failures else "-", None)
    difference = standing.differences.get(matrix.baseline or "")
    interval = difference.tasks.get(task) if difference else None
    points = 100 * interval.mean if interval else 0.0 if standing.contender.name == matrix.baseline else None
    note = f"{points:+z.1f}" if interval and points is not None else ""
    if failures:
        note = f"{len(failures)} of {len(matrix.comparison.seeds)} {failures[0].reason}"
    return HeatCell(f"{found.mean:.3f}", points, note)


def draw_batch_sizes(matrix: Matrix) -> Figure | None:
    """Mean score over tasks and seeds by batch size, and the deviation over seeds; None if there is only one size."""
    columns: dict[int, list[str]] = {}
    for name, settings in matrix.columns.items():
        columns.setdefault(settings.training.batch_size, []).append(name)
    if len(columns) < 2:
        return None
    series: dict[str, list[tuple[float, float, float]]] = {}
    names = known_names(matrix.comparison)
    for standing in matrix.comparison.standings:
        for size, tasks in sorted(columns.items()):
            scores = {cell: score for cell, score in standing.scores.items() if cell[0] in tasks}
            if means := finite_summary(mean_over_tasks(scores, tasks).values()):
                series.setdefault(names[standing.contender.name], []).append(means.at(size))
    words: dict[str, Any] = {"xlabel": "batch size", "ylabel": "mean score", "better": 1, "logx": 2, "ticks": True}
    return draw_panels({"": series}, title=f"Layers by batch size ({matrix.data})", **words)
