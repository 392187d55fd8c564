"""A study as tables, files, pictures and TensorBoard."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from evonas.files import write_text
from evonas.report.board import Value, open_board, redraw_board
from evonas.report.markdown import table_head, table_row
from evonas.report.pictures import draw_panels, to_png
from evonas.report.statistics import summary, summary_text
from evonas.runs.store import Outcome
from evonas.studies.hypernet.results import (
    Group,
    Points,
    Separate,
    reference,
    relative_spread,
    separate_of,
    slope,
    speedup,
    study_json,
)
from evonas.studies.hypernet.settings import SEPARATE, Piece
from evonas.studies.hypernet.study import Setting

COLUMNS = (
    "parametrization",
    "optimizer",
    "activation",
    "norm",
    "noise",
    "learning rate",
    "final loss",
    "metric",
    "steps saved",
    "slope",
    "gradient variance",
    "diverged",
)

LOSS: dict[str, Any] = {"ylabel": "loss on fixed batches", "logx": 0}
STEPS: dict[str, Any] = {"xlabel": "learning rate", "ylabel": "steps to the default's final loss"}
MAGNITUDE: dict[str, Any] = {"xlabel": "||z||", "ylabel": "||theta|| at the start", "logy": True}


def table_cells(group: Group, groups: Sequence[Group]) -> tuple[str, ...]:
    """A group as a row under ``COLUMNS``.

    ``steps saved``: how many times fewer reach the default's final loss; ``slope``: of log ||theta|| on log ||z||, and
    ``gradient variance``: over gamma, as a multiple of the squared mean gradient, both at the start.
    """
    rate, faster = group.learning_rate, speedup(group, groups)
    slopes = [found for value in group.best.values() if (found := slope(value["magnitudes"])) is not None]
    spreads = [found for value in group.best.values() if (found := relative_spread(value)) is not None]
    return (
        group.name,
        *map(str, group.setting),
        "-" if rate is None else f"{rate:g}",
        summary_text(group.final) if group.final else "-",
        summary_text(group.metric) if group.metric else "-",
        "-" if faster is None else f"{faster:.2f}x",
        f"{round(summary(slopes).mean, 2) + 0:.2f}" if slopes else "-",
        f"{summary(spreads).mean:.2g}" if spreads else "-",
        f"{group.diverged} of {group.runs}",
    )


def ablation(groups: Sequence[Group]) -> list[str]:
    """Final loss and steps saved as a table: settings x parametrizations."""
    names = list(dict.fromkeys(group.name for group in groups))
    rows: dict[Setting, dict[str, str]] = {}
    for group in groups:
        faster = speedup(group, groups)
        loss = summary_text(group.final) if group.final else "diverged"
        rows.setdefault(group.setting, {})[group.name] = loss + ("" if faster is None else f", {faster:.2f}x")
    lines = [table_row(title_of(setting), *(cells.get(name, "-") for name in names)) for setting, cells in rows.items()]
    return [*table_head("setting", *names), *lines]


def along_table(groups: Sequence[Group], separate: Sequence[Separate], what: str) -> list[str]:
    """One network for all gammas against separate ones: ``losses`` or ``metric`` at the gammas of the grid."""
    found = {f"{group.name}, {title_of(group.setting)}": group.along(what) for group in groups if group.best}
    found |= {f"{SEPARATE}, {each.optimizer}": each.along(what) for each in separate if each.values}
    places = [f"{x:g}" for x, _, _ in next(iter(found.values()), [])]
    rows = [
        table_row(name, *(f"{mean:.4f} \u00b1{std:.4f}" for _, mean, std in points)) for name, points in found.items()
    ]
    return [*table_head("network", *places), *rows]


def title_of(setting: Setting) -> str:
    """A setting in words: what is not there is left out."""
    optimizer, activation, norm, noise = setting
    return ", ".join(
        [optimizer, activation, *([f"{norm} norm"] * (norm != "none")), *([f"{noise} noise"] * bool(noise))]
    )


def pictures_of(name: str, groups: Sequence[Group], separate: Sequence[Separate]) -> dict[str, Figure]:
    """Every picture by its name, but for those without a point; bands are deviations over seeds."""
    costs = any(value["costs"] for group in groups for value in group.best.values())
    place = "floating point operations on an image" if costs else "place in the ranges of gamma"

    def along(what: str) -> dict[str, dict[str, Points]]:
        panels = _panels(groups, lambda group: group.along(what))
        for setting in {group.setting for group in groups}:
            for each in separate:
                if each.optimizer == setting[0]:
                    panels[title_of(setting)][SEPARATE] = each.along(what)
        return panels

    pictures = {
        "curves": (_panels(groups, Group.mean_curve), LOSS | {"xlabel": "steps", "logy": True}),
        "steps": (_panels(groups, lambda group: steps_by_rate(group, groups)), STEPS),
        "magnitude": (_panels(groups, Group.magnitudes), MAGNITUDE),
        "losses": (along("losses"), LOSS | {"xlabel": place}),
        "metric": (along("metric"), {"xlabel": place, "ylabel": "metric", "logx": 0}),
    }
    return {
        picture: draw_panels(panels, title=name, **words)
        for picture, (panels, words) in pictures.items()
        if any(points for panel in panels.values() for points in panel.values())
    }


def steps_by_rate(group: Group, groups: Sequence[Group]) -> Points:
    """Learning rates with the steps to the final loss of the default at its best one, where it is reached."""
    best = reference(group, groups)
    if best is None or best.final is None:
        return []
    found = [(rate, group.steps_to(best.final.mean, rate)) for rate in sorted(group.rates)]
    return [(rate, steps, 0.0) for rate, steps in found if steps]


def save_study(name: str, outcomes: Mapping[Piece, Outcome], groups: Sequence[Group], folder: Path) -> list[Path]:
    """Write results as JSON and Markdown, the pictures, and TensorBoard; gives what people look at."""
    separate = separate_of(outcomes)
    write_text(folder / "results.json", json.dumps(study_json(groups, separate), indent=2) + "\n")
    text = markdown(name, groups, separate)
    write_text(folder / "results.md", text)
    pictures = pictures_of(name, groups, separate)
    for picture, figure in pictures.items():
        to_png(figure, folder / f"{picture}.png")
    redraw_board(folder / "tb", pictures, text)
    for piece, outcome in outcomes.items():
        if outcome.value is not None:
            _show(piece, outcome.value, folder / "tb")
    return [folder / "results.md", *(folder / f"{picture}.png" for picture in pictures)]


def markdown(name: str, groups: Sequence[Group], separate: Sequence[Separate]) -> str:
    """The tables."""
    lines = [f"# {name}\n", *table_head(*COLUMNS), *(table_row(*table_cells(group, groups)) for group in groups)]
    lines += ["\nFinal loss and steps saved:\n", *ablation(groups)]
    lines += ["\nLoss on fixed batches along the range:\n", *along_table(groups, separate, "losses")]
    lines += ["\nMetric along the range:\n", *along_table(groups, separate, "metric")]
    return "\n".join(lines) + "\n"


def _panels(groups: Sequence[Group], points: Callable[[Group], Points]) -> dict[str, dict[str, Points]]:
    panels: dict[str, dict[str, Points]] = {}
    for group in groups:
        panels.setdefault(title_of(group.setting), {})[group.name] = points(group) if group.best else []
    return panels


def _show(piece: Piece, value: Mapping[str, object], folder: Path) -> None:
    parts = [piece.parametrization, piece.optimizer, piece.activation, piece.norm, f"noise_{piece.noise}"]
    parts.append(f"correction_{piece.correction:g}" if piece.place is None else f"place_{piece.place}")
    place = folder.joinpath(*parts, f"lr_{piece.learning_rate:g}", f"seed_{piece.seed}")
    curve, metric, sizes = value["curve"], value["metric"], value["magnitudes"]
    measured = value.get("scalars", [])  # older records have none
    with open_board(place) as board:
        assert isinstance(curve, list)
        assert isinstance(measured, list)
        for step, loss in curve:
            if loss is not None:
                board.scalar("loss", loss, step)
        for step, numbers in measured:
            board.scalars(numbers, step)
        facts: dict[str, Value] = {"parametrization": piece.parametrization, "optimizer": piece.optimizer}
        facts |= {"learning rate": piece.learning_rate, "correction": piece.correction, "seed": piece.seed}
        metrics: dict[str, float] = {}
        if isinstance(sizes, list) and sizes and (found := slope(sizes)) is not None:
            metrics["hypernet/slope at the start"] = found
        if isinstance(metric, list):
            metrics["metric"] = sum(metric) / len(metric)
        board.hparams(facts, metrics)
