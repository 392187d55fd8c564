"""A study as tables, files, pictures and TensorBoard."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure
from torch import Tensor

from evonas.files import write_text
from evonas.report.board import Value, open_board, redraw_board
from evonas.report.markdown import table_head, table_row
from evonas.report.pictures import draw_images, draw_panels, to_png
from evonas.report.statistics import summary, summary_text
from evonas.runs.store import Outcome
from evonas.studies.steering.images import ImageSubject
from evonas.studies.steering.results import Group, label_of, study_json
from evonas.studies.steering.study import NONE, Cell, MeasurePiece, Piece, StudyConfig, maps_of, subject_of

FULL = 1.0  # the strength at which a table shows a method as fitted
SHOWN_RISES = 1.5  # times the largest rise that is compared: how far a picture of trade-offs goes
PICTURES = 12  # images in a row
LINES = 9  # in a picture that has one for each variant
WIDE = 4.0  # from this ratio of strengths on their axis is logarithmic

Points = dict[str, dict[str, list[tuple[float, float, float]]]]


def columns(rises: Sequence[float]) -> tuple[str, ...]:
    """Of the table: ``score at +10 %`` is that at the strength whose price is a tenth above the untouched model's."""
    return (
        *("task", "method", "sparsity", "neurons", "score at 1", "price at 1"),
        *(f"score at +{100 * rise:g} %" for rise in rises),
    )


def table_cells(group: Group, rises: Sequence[float]) -> tuple[str, ...]:
    """A group as a row: means and deviations over seeds; of the untouched model, its score and its price."""
    head = (group.task, group.method, f"{group.sparsity:g}" if group.sparsity else "-")
    share = f"{100 * group.share.mean:.1f} %" if group.share else "-"
    if group.method == NONE:
        firsts = [curve[0] for curve in group.curves.values()]
        found = [
            summary_text(summary([getattr(p, key) for p in firsts])) if firsts else "-" for key in ("score", "price")
        ]
        return (*head, share, *found, *("-" for _ in rises))
    full = group.over_seeds(FULL)
    at_full = ("-", "-") if full is None else (summary_text(full[0]), f"{100 * full[1].mean:+.1f} %")
    return (*head, share, *at_full, *(_matched_text(group, rise) for rise in rises))


def markdown(name: str, groups: Sequence[Group], rises: Sequence[float]) -> str:
    """The table, and how to read it."""
    lines = [f"# {name}\n", *table_head(*columns(rises)), *(table_row(*table_cells(g, rises)) for g in groups)]
    lines += [
        "\nMean and deviation over seeds; the price is the untouched model's, below it what it rises by. At a rise of",
        "the price: the score where the price has risen so far for the first time, on the line between two measured",
        "strengths; in brackets the mean strength, with `>=` where some seed's largest measured strength costs less,",
        "and is what counts.",
    ]
    lines += [f"\n- {g.task}, {g.label}, seed {seed}: {why}" for g in groups for seed, why in g.failures.items()]
    return "\n".join(lines) + "\n"


def draw_strengths(groups: Sequence[Group], what: str, title: str) -> Figure:
    """Score, or rise of the price in percent, over strength: a panel for each task, a line for each method.

    Where they were too many, each method has its first variant alone; ``draw_support`` has all.
    """
    panels: Points = {}
    strengths = sorted({s for group in groups for s in group.strengths if s > 0})
    wide = bool(strengths) and strengths[-1] > WIDE * FULL
    for group in _lines(groups):
        points = panels.setdefault(group.task, {}).setdefault(group.label, [])
        for strength in group.strengths:
            found = group.over_seeds(strength)
            if found is None or (wide and strength == 0):
                continue
            value, factor = (found[0], 1.0) if what == "score" else (found[1], 100.0)
            points.append((strength, factor * value.mean, factor * (value.std or 0.0)))
    levels = _untouched(groups) if what == "score" else {}
    ylabel = "score" if what == "score" else "price, rise in %"
    return draw_panels(panels, xlabel="strength", ylabel=ylabel, title=title, logx=2 if wide else 0, levels=levels)


def draw_trade(groups: Sequence[Group], rises: Sequence[float], title: str) -> Figure:
    """Score over the rise of the price, as far as is compared, strength by strength: lines as ``draw_strengths``."""
    panels: Points = {}
    for group in _lines(groups):
        points = panels.setdefault(group.task, {}).setdefault(group.label, [])
        for strength in group.strengths:
            found = group.over_seeds(strength)
            if found is None or (rises and found[1].mean > SHOWN_RISES * max(rises)):
                break
            points.append((100 * found[1].mean, found[0].mean, found[0].std or 0.0))
    return draw_panels(
        panels, xlabel="price, rise in %", ylabel="score", title=title, logx=0, levels=_untouched(groups)
    )


def draw_support(groups: Sequence[Group], rises: Sequence[float], title: str) -> Figure | None:
    """Score over the share of steered neurons, a line for each price; None without a method of several variants."""
    panels: Points = {}
    for group in _steered(groups):
        own = [g for g in groups if (g.task, g.method) == (group.task, group.method) and g.curves and g.share]
        if len(own) < 2 or group.share is None:
            continue
        series = panels.setdefault(f"{group.task}, {group.method}", {})
        share = 100 * group.share.mean
        if (full := group.over_seeds(FULL)) is not None:
            series.setdefault("strength 1", []).append((share, full[0].mean, full[0].std or 0.0))
        for rise in rises:
            found = summary([each.score for each in group.at_rise(rise).values()])
            series.setdefault(f"price +{100 * rise:g} %", []).append((share, found.mean, found.std or 0.0))
    if not panels:
        return None
    for series in panels.values():
        for points in series.values():
            points.sort()
    positive = all(x > 0 for series in panels.values() for points in series.values() for x, _, _ in points)
    return draw_panels(
        panels,
        xlabel="neurons steered, %",
        ylabel="score",
        title=title,
        logx=10 if positive else 0,
        levels=_untouched(groups),
    )


def draw_samples(study: StudyConfig, pieces: Mapping[Cell, MeasurePiece], folder: Path) -> dict[str, Figure]:
    """By task, images of the first seed: the untouched generator's, and each method's at the strength nearest to 1."""
    subject = subject_of(study, folder)
    if not isinstance(subject, ImageSubject):
        return {}
    found = {}
    for task in subject.tasks:
        rows: dict[str, Tensor] = {NONE: subject.pictures(task, study.seeds[0], PICTURES)}
        cells = [cell for cell in pieces if (cell.task, cell.seed) == (task, study.seeds[0])]
        for variant in dict.fromkeys(cell.variant for cell in cells if cell.method != NONE):
            own = [cell for cell in cells if cell.variant == variant]
            nearest = min(own, key=lambda cell: abs(cell.strength - FULL))
            maps = pieces[nearest].maps
            assert maps is not None
            try:
                intervention = maps_of(subject, folder, maps)
            except ArithmeticError:  # its training diverged
                continue
            with intervention.on(subject.model, nearest.strength):
                label = label_of(*variant[1:])
                rows[f"{label}, strength {nearest.strength:g}"] = subject.pictures(task, study.seeds[0], PICTURES)
        found[task] = draw_images(rows, title=f"{study.name}: {task}")
    return found


def save_study(
    study: StudyConfig,
    pieces: Mapping[Cell, MeasurePiece],
    outcomes: Mapping[Piece, Outcome],
    groups: Sequence[Group],
    folder: Path,
) -> list[Path]:
    """Write results as JSON, Markdown and CSV, the pictures, and TensorBoard; gives what people look at."""
    write_text(folder / "results.json", json.dumps(study_json(groups, study.rises), indent=2) + "\n")
    text = markdown(study.name, groups, study.rises)
    write_text(folder / "results.md", text)
    write_text(folder / "results.csv", cells_csv(pieces, outcomes))
    pictures = {
        "score": draw_strengths(groups, "score", study.name),
        "price": draw_strengths(groups, "price", study.name),
        "trade": draw_trade(groups, study.rises, study.name),
    }
    if (support := draw_support(groups, study.rises, study.name)) is not None:
        pictures["support"] = support
    samples = draw_samples(study, pieces, folder)
    pictures |= {f"images_{task.replace(' ', '_')}": figure for task, figure in samples.items()}
    for picture, figure in pictures.items():
        to_png(figure, folder / f"{picture}.png")
    _show(text, pieces, outcomes, pictures, folder / "tb")
    return [folder / file for file in ("results.md", "results.csv", *(f"{picture}.png" for picture in pictures))]


def cells_csv(pieces: Mapping[Cell, MeasurePiece], outcomes: Mapping[Piece, Outcome]) -> str:
    """One line per measurement, with every number of it."""
    values = [outcomes[piece].value or {} for piece in pieces.values()]
    numbers = list(dict.fromkeys(key for value in values for key in value if key != "texts"))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("task", "method", "sparsity", "neurons", "strength", "seed", *numbers, "failure", "seconds"))
    for cell, piece in pieces.items():
        value, outcome = outcomes[piece].value or {}, outcomes[piece]
        place = (*cell.variant, cell.strength, cell.seed)
        writer.writerow((*place, *(value.get(key, "") for key in numbers), outcome.failure, round(outcome.seconds, 2)))
    return buffer.getvalue()


def _matched_text(group: Group, rise: float) -> str:
    found = list(group.at_rise(rise).values())
    if not found:
        return "-"
    more = "" if all(each.reached for each in found) else ">="
    score = summary_text(summary([each.score for each in found]))
    return f"{score} ({more}{fmean(each.strength for each in found):.2f})"


def _steered(groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if group.method != NONE and group.curves]


def _lines(groups: Sequence[Group]) -> list[Group]:
    steered = _steered(groups)
    if len({group.label for group in steered}) <= LINES:
        return steered
    return list({(group.task, group.method): group for group in reversed(steered)}.values())[::-1]


def _untouched(groups: Sequence[Group]) -> dict[str, float]:
    """A level for pictures, where there is one task: of several tasks each has its own."""
    found = [group for group in groups if group.method == NONE and group.curves]
    if len(found) != 1:
        return {}
    return {NONE: fmean(curve[0].score for curve in found[0].curves.values())}


def _show(
    text: str,
    pieces: Mapping[Cell, MeasurePiece],
    outcomes: Mapping[Piece, Outcome],
    pictures: Mapping[str, Figure],
    folder: Path,
) -> None:
    redraw_board(folder, pictures, text)
    runs: dict[Path, list[Cell]] = {}
    for cell in pieces:
        support = f"sparsity_{cell.sparsity:g}_neurons_{cell.neurons:g}"
        parts = (cell.task.replace(" ", "_"), cell.method, support, f"seed_{cell.seed}")
        runs.setdefault(folder.joinpath(*parts), []).append(cell)
    for place, cells in runs.items():
        facts: dict[str, Value] = dict(zip(("task", "method", "sparsity", "neurons"), cells[0].variant, strict=True))
        with open_board(place) as board:
            maps = pieces[cells[0]].maps
            fitted = outcomes[maps].value if maps is not None else None
            for step, loss in fitted["losses"] if fitted else ():
                board.scalar("loss", loss, step)
            last: dict[str, float] = {}
            for cell in cells:  # steps are thousandths of the strength
                value = outcomes[pieces[cell]].value or {}
                last = {f"steering/{key}": v for key, v in value.items() if isinstance(v, int | float)}
                board.scalars(last, round(1000 * cell.strength))
            board.hparams({**facts, "seed": cells[0].seed, "strength": cells[-1].strength}, last)
