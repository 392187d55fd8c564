"""A matrix as files, pictures and TensorBoard's HParams."""

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from evonas.compare.comparison import Standing, draw_comparison
from evonas.compare.result import Matrix
from evonas.files import write_text
from evonas.report.board import HParam, open_board, redraw_board
from evonas.report.pictures import HeatCell, draw_heatmap, draw_panels, to_png
from evonas.report.statistics import mean_over_tasks, summary


def draw_matrix(matrix: Matrix) -> Figure:
    """The heat map: mean score of each cell, coloured by the difference to the baseline if there is one."""
    label = f"Mean score over {len(matrix.comparison.seeds)} seeds"
    if matrix.baseline is not None:
        label += f"; below it and as colour, points more or less than {matrix.baseline}, paired"
    cells = {}
    for standing in matrix.comparison.standings:
        for task in matrix.comparison.tasks:
            cells[standing.contender.name, task] = _heat_cell(matrix, standing, task)
    return draw_heatmap(
        [standing.contender.name for standing in matrix.comparison.standings],
        matrix.comparison.tasks,
        cells,
        baselines=matrix.comparison.baselines,
        label=f"{label}.",
        title=matrix.title,
    )


def _heat_cell(matrix: Matrix, standing: Standing, task: str) -> HeatCell:
    failures = [rejection for (name, _), rejection in standing.failures.items() if name == task]
    found = standing.tasks.get(task)
    if found is None:
        return HeatCell(failures[0].reason if failures else "-", None)
    difference = standing.differences.get(matrix.baseline or "")
    interval = difference.tasks.get(task) if difference else None
    points = 100 * interval.mean if interval else 0.0 if standing.contender.name == matrix.baseline else None
    note = f"{points:+.1f}" if interval and points is not None else ""
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
    for standing in matrix.comparison.standings:
        for size, tasks in sorted(columns.items()):
            scores = {cell: score for cell, score in standing.scores.items() if cell[0] in tasks}
            if means := list(mean_over_tasks(scores, tasks).values()):
                found = summary(means)
                series.setdefault(standing.contender.name, []).append((size, found.mean, found.std or 0.0))
    title = matrix.title
    return draw_panels({"": series}, xlabel="batch size", ylabel="mean score", title=title, logx=2, ticks=True)


def save_matrix(matrix: Matrix, folder: Path) -> list[Path]:
    """Write results as JSON, Markdown and CSV, the pictures, and TensorBoard's HParams; gives what people look at."""
    write_text(folder / "results.json", json.dumps(matrix.as_json(), indent=2) + "\n")
    write_text(folder / "results.md", matrix.markdown())
    write_text(folder / "results.csv", matrix.csv())
    pictures = {"heatmap": draw_matrix(matrix)}
    if matrix.baseline is not None:
        pictures["differences"] = draw_comparison(matrix.comparison, title=matrix.title)
    if (by_size := draw_batch_sizes(matrix)) is not None:
        pictures["batch_sizes"] = by_size
    for name, figure in pictures.items():
        to_png(figure, folder / f"{name}.png")
    _show(matrix, pictures, folder / "tb")
    return [folder / name for name in ("results.md", "results.csv", *(f"{name}.png" for name in pictures))]


def _show(matrix: Matrix, pictures: Mapping[str, Figure], folder: Path) -> None:
    redraw_board(folder, pictures, matrix.markdown(), tag="matrix")
    for standing in matrix.comparison.standings:
        for task, found in standing.tasks.items():
            name = standing.contender.name
            metrics = {"score/mean": found.mean, **({"score/std": found.std} if found.std is not None else {})}
            difference = standing.differences.get(matrix.baseline or "")
            if difference and task in difference.tasks:
                metrics["score/points over baseline"] = 100 * difference.tasks[task].mean
            metrics |= {f"cost/{key}": value for key, value in matrix.costs.get((name, task), {}).items()}
            settings = matrix.columns[task]
            facts: dict[str, HParam] = {"layer": name, "task": task, "data": settings.learned_from}
            facts |= {"steps": settings.training.steps, "batch size": settings.training.batch_size}
            with open_board(folder / _slug(name) / _slug(task)) as board:
                board.hparams(facts, metrics)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in name)[:60]
