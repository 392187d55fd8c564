"""What tasks report of trained networks beside their scores: further figures, curves over training, and pictures."""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from evonas.compare.comparison import Comparison, Standing, known_names
from evonas.report.pictures import draw_panels, panels_of
from evonas.report.save import slug
from evonas.report.statistics import Scores, finite_summary, paired_difference
from evonas.report.table import Table

LOSS = "training loss"  # the curve that every task has
_Points = list[tuple[float, float, float]]


def figure_tables(comparison: Comparison) -> list[Table]:
    """For each task with figures beside its score: their means and deviations, and paired differences to baselines."""
    tables = []
    for task in comparison.tasks:
        if names := _figures_of(comparison, task):
            tables += [_means(comparison, task, names), _differences(comparison, task, names)]
    return [table for table in tables if table.rows]


def _figures_of(comparison: Comparison, task: str) -> list[str]:
    found = (found for s in comparison.standings for (name, _), found in s.findings.items() if name == task)
    return list(dict.fromkeys(figure for each in found for figure in each.figures))


def _values(standing: Standing, task: str, figure: str) -> Scores:
    cells = ((cell, each.figures) for cell, each in standing.findings.items() if cell[0] == task)
    return {cell: figures[figure] for cell, figures in cells if figure in figures}


def _means(comparison: Comparison, task: str, names: Sequence[str]) -> Table:
    return Table.of(
        (
            {
                "layer": standing.contender.name,
                **{name: finite_summary(_values(standing, task, name).values()) for name in names},
            }
            for standing in comparison.standings
        ),
        title=f"{task}: all figures, mean and standard deviation over seeds.",
    )


def _differences(comparison: Comparison, task: str, names: Sequence[str]) -> Table:
    values = {s.contender.name: {name: _values(s, task, name) for name in names} for s in comparison.standings}
    return Table.of(
        (
            {
                "layer": standing.contender.name,
                "minus": baseline,
                **{
                    name: paired_difference(
                        values[standing.contender.name][name], values[baseline][name], [task]
                    ).tasks.get(task)
                    for name in names
                },
            }
            for standing in comparison.standings
            for baseline in comparison.baselines
            if baseline != standing.contender.name
        ),
        title=f"{task}: paired differences of all figures, with 95 % intervals over seeds.",
    )


def draw_figures(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Curves over training steps, mean and deviation over seeds: the losses of all tasks, and what a task has more."""
    if losses := panels_of(_lines(comparison, comparison.tasks, [LOSS])):
        panels = {panel.partition(": ")[0]: series for panel, series in losses.items()}
        yield "losses", _drawn(panels, "training loss", "Training loss of each layer")
    for task in comparison.tasks:
        own = [name for name in _curves_of(comparison, task) if name != LOSS]
        for name in own:
            panels = panels_of(_lines(comparison, [task], [name]))
            yield f"{slug(task)}-{slug(name)}", _drawn(panels, name, f"{name} of each layer on {task}")


def _drawn(panels: dict[str, dict[str, _Points]], ylabel: str, title: str) -> Figure:
    return draw_panels(panels, xlabel="training steps", ylabel=ylabel, title=title, logx=0)


def _curves_of(comparison: Comparison, task: str) -> list[str]:
    found = (found for s in comparison.standings for (name, _), found in s.findings.items() if name == task)
    return list(dict.fromkeys(curve for each in found for curve in each.curves))


def _lines(comparison: Comparison, tasks: Sequence[str], curves: Sequence[str]) -> Iterator[tuple[str, str, _Points]]:
    """Panels "task: curve" with a series for each layer, at the steps that all its seeds have."""
    names = known_names(comparison)
    for task in tasks:
        for curve in curves:
            for standing in comparison.standings:
                seeds = [
                    dict(found.curves[curve])
                    for (name, _), found in standing.findings.items()
                    if name == task and curve in found.curves
                ]
                common = sorted(set.intersection(*map(set, seeds))) if seeds else []
                summaries = ((step, finite_summary(each[step] for each in seeds)) for step in common)
                points = [found.at(step) for step, found in summaries if found is not None]
                if points:
                    yield f"{task}: {curve}", names[standing.contender.name], points


def images_of(comparison: Comparison) -> Iterator[tuple[str, bytes]]:
    """The pictures that tasks made of the networks of the first seed, by the path of a file without its ending."""
    names, first = known_names(comparison), comparison.seeds[0]
    for standing in comparison.standings:
        for (task, seed), found in standing.findings.items():
            for name, picture in found.pictures.items() if seed == first else ():
                yield f"pictures/{slug(task)}/{slug(name)}-{slug(names[standing.contender.name])}", picture
