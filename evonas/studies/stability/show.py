"""A study as tables, files, pictures and TensorBoard."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from evonas.files import write_text
from evonas.report.board import Value, open_board, redraw_board
from evonas.report.markdown import table_head, table_row
from evonas.report.pictures import Points, draw_panels, to_png
from evonas.report.statistics import Interval, Summary, summary, summary_text
from evonas.runs.store import Outcome
from evonas.studies.stability.prediction import ALL_DIVERGED, LOSS_SUFFERS
from evonas.studies.stability.study import Cell
from evonas.studies.stability.sweeps import FOLLOWED, Sweep, against_first, foretold, spread, study_json
from evonas.training.sensitivity import COUPLED_WINDOWS

COLUMNS = (
    "intervention",
    "size",
    "parameters",
    "LR sensitivity",
    "best loss",
    "best learning rate",
    "stability margin",
    "diverged",
    "slow",
    "spikes",
    "failed",
)


def table_cells(sweep: Sweep) -> tuple[str, ...]:
    """A sweep as a row under ``COLUMNS``: means and deviations over seeds."""
    rates = [rate for rate, _ in sweep.best.values()]
    losses = spread(sweep.best_losses)
    return (
        sweep.intervention,
        sweep.size,
        f"{sweep.parameters:,}",
        _text(spread(sweep.sensitivities)),
        _text(losses),
        ", ".join(f"{rate:g}" for rate in rates),
        ", ".join("never" if math.isinf(margin) else f"{margin:g}" for margin in sweep.margins.values()),
        str(sweep.diverged),
        str(sweep.slow),
        str(sweep.spikes),
        str(len(sweep.failures)),
    )


def draw_losses(sweeps: Sequence[Sweep], title: str) -> Figure:
    """Loss over learning rates, clipped at initialization; see ``_by_intervention``."""
    series = [[(rate, *found) for rate, found in sweep.mean_losses().items()] for sweep in sweeps]
    return draw_panels(
        _by_intervention(sweeps, series), xlabel="peak learning rate", ylabel="final validation loss", title=title
    )


def draw_sensitivity(sweeps: Sequence[Sweep], title: str) -> Figure:
    """LR sensitivity over the number of parameters, a line for each intervention.

    Of a single size a point for each intervention, over the loss at its best learning rate.
    """
    single = _of_one_size(sweeps)
    series: dict[str, list[tuple[float, float, float]]] = {}
    for sweep in sweeps if single else sorted(sweeps, key=lambda s: s.parameters):
        found, loss = spread(sweep.sensitivities), spread(sweep.best_losses)
        points = series.setdefault(sweep.intervention, [])
        if found is not None and loss is not None:
            points.append((loss.mean if single else sweep.parameters, found.mean, found.std or 0.0))
    xlabel = "loss at the best learning rate" if single else "parameters"
    return draw_panels({"": series}, xlabel=xlabel, ylabel="LR sensitivity", title=title, logx=0 if single else 10)


def draw_output_logits(sweeps: Sequence[Sweep], title: str) -> Figure:
    """Log Z of the output logits at the end over learning rates; see ``_by_intervention``."""
    series = []
    for sweep in sweeps:
        found = {rate: summary(values) for rate, values in sweep.ends("log_z").items()}
        series.append([(rate, each.mean, each.std or 0.0) for rate, each in found.items()])
    return draw_panels(
        _by_intervention(sweeps, series),
        xlabel="peak learning rate",
        ylabel="log Z of the output logits, at the end",
        title=title,
    )


def _of_one_size(sweeps: Sequence[Sweep]) -> bool:
    return len({sweep.size for sweep in sweeps}) == 1


def _by_intervention(sweeps: Sequence[Sweep], series: Sequence[Points]) -> dict[str, dict[str, Points]]:
    """A panel for each intervention with a line for each size; of a single size a line for each intervention."""
    single = _of_one_size(sweeps)
    panels: dict[str, dict[str, Points]] = {}
    for sweep, points in zip(sweeps, series, strict=True):
        panel, line = (sweep.size, sweep.intervention) if single else (sweep.intervention, sweep.size)
        panels.setdefault(panel, {})[line] = points
    return panels


def draw_followed(sweeps: Sequence[Sweep], what: str, title: str) -> Figure:
    """A probe at the end over the number of parameters, a line for each learning rate; hollow: foretold."""
    panels: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for sweep in sorted(sweeps, key=lambda s: s.parameters):
        for rate, value in sweep.followed(FOLLOWED[what]).items():
            panel = panels.setdefault(sweep.intervention, {})
            panel.setdefault(f"LR {rate:g}", []).append((sweep.parameters, value, 0.0))
    held_out = {
        intervention: {
            f"LR {rate:g}": [(held.prediction.size, held.prediction.value, 0.0)]
            for rate, held in foretold(sweeps, intervention, FOLLOWED[what]).items()
        }
        for intervention in panels
    }
    title += "; hollow: foretold from the smaller sizes" if any(held_out.values()) else ""
    logits = what == "max attention logit"
    levels = {"losses suffer": LOSS_SUFFERS, "all diverged": ALL_DIVERGED} if logits else {}
    return draw_panels(
        panels, xlabel="parameters", ylabel=what, title=title, logy=True, levels=levels, foretold=held_out
    )


def save_study(name: str, outcomes: Mapping[Cell, Outcome], sweeps: Sequence[Sweep], folder: Path) -> list[Path]:
    """Write results as JSON, Markdown and CSV, the pictures, and TensorBoard; gives what people look at."""
    write_text(folder / "results.json", json.dumps(study_json(sweeps), indent=2) + "\n")
    write_text(folder / "results.md", markdown(name, sweeps))
    write_text(folder / "results.csv", runs_csv(outcomes))
    pictures = {"losses": draw_losses(sweeps, name), "sensitivity": draw_sensitivity(sweeps, name)}
    if any(sweep.ends("log_z") for sweep in sweeps):
        pictures["output_logits"] = draw_output_logits(sweeps, name)
    for what in FOLLOWED:
        if any(sweep.followed(FOLLOWED[what]) for sweep in sweeps):
            pictures[what.replace(" ", "_")] = draw_followed(sweeps, what, name)
    for picture, figure in pictures.items():
        to_png(figure, folder / f"{picture}.png")
    _show(name, outcomes, sweeps, pictures, folder / "tb")
    return [folder / file for file in ("results.md", "results.csv", *(f"{picture}.png" for picture in pictures))]


def markdown(name: str, sweeps: Sequence[Sweep]) -> str:
    """The table, differences to the first intervention, and what was foretold of the largest size."""
    lines = [f"# {name}\n", *table_head(*COLUMNS)]
    lines += [table_row(*table_cells(sweep)) for sweep in sweeps]
    lines += [f"\n{note}" for note in _coupled_notes(sweeps)]
    lines += [f"\n- {sweep.intervention}, {sweep.size}: {why}" for sweep in sweeps for why in sweep.failures.values()]
    if differences := against_first(sweeps):
        lines += [
            f"\nAgainst {differences[0].first}, paired by seed, 95 % intervals:\n",
            *table_head("intervention", "size", "LR sensitivity", "best loss"),
        ]
        lines += [
            table_row(found.intervention, found.size, _bounds(found.sensitivity), _bounds(found.best_loss))
            for found in differences
        ]
    predictions = study_json(sweeps)["predictions"]
    if predictions:
        head = ("intervention", "what", "learning rate", "foretold", "interval", "measured", "factor", "doubts")
        lines += ["\nThe largest size, foretold from the others:\n", *table_head(*head)]
        for found in predictions:
            bounds = "-" if found["low"] is None else f"{found['low']:.3g} to {found['high']:.3g}"
            numbers = (f"{found['predicted']:.3g}", bounds, f"{found['measured']:.3g}", f"{found['factor']:.2f}")
            words = (found["intervention"], found["what"], f"{found['learning_rate']:g}")
            lines.append(table_row(*words, *numbers, "; ".join(found["doubts"])))
    return "\n".join(lines) + "\n"


def _coupled_notes(sweeps: Sequence[Sweep]) -> list[str]:
    """What the LR sensitivity of coupled decay is, where there is any."""
    names: dict[bool, list[str]] = {True: [], False: []}
    for sweep in sweeps:
        if sweep.decay == "coupled" and sweep.intervention not in names[bool(sweep.windows)]:
            names[bool(sweep.windows)].append(sweep.intervention)
    first, last = (f"{low:g} to {high:g}" for low, high in COUPLED_WINDOWS)
    rule = f"the lower one of those over {first} and over {last}"
    notes = []
    if names[True]:
        notes.append(
            f"With coupled weight decay ({', '.join(names[True])}) the LR sensitivity is {rule}, as published."
        )
        notes.append(f"Its differences are to the LR sensitivity of others over {last}, as many learning rates.")
    if names[False]:
        notes.append(f"With coupled weight decay ({', '.join(names[False])}) the published LR sensitivity is {rule}.")
        notes.append("The learning rates here do not reach over both: it is that over all of them, as for the others.")
    return notes


def runs_csv(outcomes: Mapping[Cell, Outcome]) -> str:
    """One line per run."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    numbers = ("size", "initial_loss", "final_loss", "steps", "slow", "spikes")
    writer.writerow(("intervention", "size", "learning_rate", "seed", "parameters", *numbers[1:], "failure", "seconds"))
    for cell, outcome in outcomes.items():
        value = outcome.value or {}
        place = (cell.intervention, cell.size, cell.learning_rate, cell.seed)
        writer.writerow((*place, *(value.get(key, "") for key in numbers), outcome.failure, round(outcome.seconds, 2)))
    return buffer.getvalue()


def _show(
    name: str,
    outcomes: Mapping[Cell, Outcome],
    sweeps: Sequence[Sweep],
    pictures: Mapping[str, Figure],
    folder: Path,
) -> None:
    redraw_board(folder, pictures, markdown(name, sweeps))
    for cell, outcome in outcomes.items():
        if outcome.value is None:
            continue
        place = folder / cell.intervention / cell.size / f"lr_{cell.learning_rate:g}" / f"seed_{cell.seed}"
        with open_board(place) as board:
            for step, loss in outcome.value["losses"]:
                if loss is not None:
                    board.scalar("loss", loss, step)
            for step, values in outcome.value["readings"]:
                board.scalars({f"probes/{key}": value for key, value in values.items() if value is not None}, step)
            facts: dict[str, Value] = {"intervention": cell.intervention, "size": cell.size}
            facts |= {"learning rate": cell.learning_rate, "seed": cell.seed}
            final = outcome.value["final_loss"]
            board.hparams(facts, {"final loss": final} if final is not None else {})


def _text(found: Summary | None) -> str:
    return "-" if found is None else summary_text(found)


def _bounds(found: Interval) -> str:
    bounds = "" if found.low is None or found.high is None else f" [{found.low:+.4f}, {found.high:+.4f}]"
    return f"{found.mean:+.4f}{bounds}"
