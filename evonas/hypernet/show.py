"""A study as tables, files, pictures and TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from evonas.evaluate.statistics import summary_text
from evonas.files import write_text
from evonas.hypernet.results import Group, speedup, study_json
from evonas.hypernet.study import Piece
from evonas.record.board import Value, open_board
from evonas.record.markdown import table_head, table_row
from evonas.record.pictures import draw_panels, to_png
from evonas.record.results import Outcome

COLUMNS = (
    "parametrization",
    "optimizer",
    "activation",
    "norm",
    "learning rate",
    "final loss",
    "metric",
    "steps saved",
    "diverged",
)


def table_cells(group: Group, groups: list[Group]) -> tuple[str, ...]:
    """A group as a row under ``COLUMNS``; ``steps saved``: how many times fewer reach the default's final loss."""
    rate, faster = group.learning_rate, speedup(group, groups)
    return (
        group.name,
        *group.setting,
        "-" if rate is None else f"{rate:g}",
        summary_text(group.final) if group.final else "-",
        summary_text(group.metric) if group.metric else "-",
        "-" if faster is None else f"{faster:.2f}x",
        f"{group.diverged} of {group.runs}",
    )


def draw_curves(groups: list[Group], title: str) -> Figure:
    """Loss over steps, a panel for each optimizer, activation and norm; bands are deviations over seeds."""
    panels: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for group in groups:
        points = group.mean_curve() if group.curves else []
        panels.setdefault(", ".join(group.setting), {})[group.name] = points
    return draw_panels(panels, xlabel="steps", ylabel="loss on fixed batches", title=title, logx=0, logy=True)


def save_study(name: str, outcomes: Mapping[Piece, Outcome], groups: list[Group], folder: Path) -> list[Path]:
    """Write results as JSON and Markdown, the picture, and TensorBoard; gives what people look at."""
    write_text(folder / "results.json", json.dumps(study_json(groups), indent=2) + "\n")
    rows = [table_row(*table_cells(group, groups)) for group in groups]
    text = "\n".join([f"# {name}\n", *table_head(*COLUMNS), *rows]) + "\n"
    write_text(folder / "results.md", text)
    picture = draw_curves(groups, name)
    to_png(picture, folder / "curves.png")
    if (tb := folder / "tb").exists():
        for file in tb.rglob("events.*"):
            file.unlink()  # of what was shown before more runs came
    with open_board(folder / "tb") as board:
        board.figure("curves", picture, 0)
        board.text("results", text, 0)
    for piece, outcome in outcomes.items():
        if outcome.value is not None:
            _show(piece, outcome.value, folder / "tb")
    return [folder / "results.md", folder / "curves.png"]


def _show(piece: Piece, value: Mapping[str, object], folder: Path) -> None:
    parts = [piece.parametrization, piece.optimizer, piece.activation, piece.norm, f"correction_{piece.correction:g}"]
    place = folder.joinpath(*parts, f"lr_{piece.learning_rate:g}", f"seed_{piece.seed}")
    curve, metric, slope = value["curve"], value["metric"], value["slope"]
    with open_board(place) as board:
        assert isinstance(curve, list)
        for step, loss in curve:
            if loss is not None:
                board.scalar("loss", loss, step)
        facts: dict[str, Value] = {"parametrization": piece.parametrization, "optimizer": piece.optimizer}
        facts |= {"learning rate": piece.learning_rate, "correction": piece.correction, "seed": piece.seed}
        metrics = {"hypernet/slope at the start": slope} if isinstance(slope, float) else {}
        if isinstance(metric, list):
            metrics["metric"] = sum(metric) / len(metric)
        board.hparams(facts, metrics)
