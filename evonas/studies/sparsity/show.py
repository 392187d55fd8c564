"""A study as tables, files and a picture."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from evonas.files import write_text
from evonas.report.markdown import table_head, table_row
from evonas.report.pictures import draw_panels, to_png
from evonas.studies.sparsity.results import Row, Score, study_json

BEYOND = 10.0  # times the dense model's perplexity; what is above is not drawn
SETTING_COLUMNS = ("method", "allocation", "transform", "sparsity", "dropped", "MACs")
SPEED_COLUMNS = ("tokens/s", "speed-up", "sparse layers")


def columns(rows: Sequence[Row]) -> tuple[str, ...]:
    """The table's columns: for each text the perplexity, and its ratio to the dense model's; speed if measured."""
    texts = [column for name in _texts(rows) for column in (f"{name}: perplexity", "x dense")]
    return (*SETTING_COLUMNS, *texts, *(SPEED_COLUMNS if _timed(rows) else ()))


def table_cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    """A row under ``columns(rows)``."""
    setting = row.place.setting
    cells = [
        setting.method if setting else "dense",
        setting.allocation if setting else "",
        ("yes" if setting.transform else "no") if setting else "",
        f"{100 * row.place.sparsity:g} %" if setting else "",
        *(_percent(share) for share in (row.achieved, row.macs)),
    ]
    for name in _texts(rows):
        cells += _score_cells(row.scores[name], dense=setting is None)
    if _timed(rows):
        cells += _speed_cells(row, rows)
    return tuple(cells)


def draw_perplexity(rows: Sequence[Row], title: str) -> Figure:
    """Perplexity over what is saved, a panel for each text, a line for each setting; bands are 95 % intervals.

    Methods drop inputs of other layers and add products of their own, so sparsities alone do not compare them.
    """
    panels: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    left_out = False
    for name in _texts(rows):
        dense = rows[0].scores[name]
        start = dense.perplexity if dense else None
        panel = panels.setdefault(name, {})
        for row in sorted(rows, key=lambda row: row.place.sparsity):
            score, setting = row.scores[name], row.place.setting
            if setting is None:
                continue
            points = panel.setdefault(setting.label, [(0.0, start, 0.0)] if start else [])
            if score is None or score.perplexity is None or (start and score.perplexity > BEYOND * start):
                left_out = True
            elif row.macs is not None and (row.place.sparsity or not start):
                points.append((100 * (1 - row.macs), score.perplexity, _half_width(score, start)))
    title += f"; not drawn: beyond {BEYOND:g} times the dense model's" if left_out else ""
    return draw_panels(
        panels, xlabel="multiply-accumulates saved, %", ylabel="perplexity", title=title, logx=0, logy=True
    )


def save_study(name: str, rows: list[Row], facts: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write results as JSON, Markdown and CSV, and the picture; gives what people look at."""
    write_text(folder / "results.json", json.dumps(study_json(rows, facts), indent=2) + "\n")
    write_text(folder / "results.md", markdown(name, rows, facts))
    write_text(folder / "results.csv", scores_csv(rows))
    to_png(draw_perplexity(rows, name), folder / "perplexity.png")
    return [folder / file for file in ("results.md", "results.csv", "results.json", "perplexity.png")]


def markdown(name: str, rows: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """The table, what must be told with it, and what failed."""
    lines = [f"# {name}\n", *table_head(*columns(rows)), *(table_row(*table_cells(row, rows)) for row in rows), ""]
    lines += [f"- {key}: {value}" for key, value in facts.items()]
    lines += failures(rows)
    return "\n".join(lines) + "\n"


def failures(rows: Sequence[Row]) -> list[str]:
    """What failed, a line for each reason of a setting."""
    found = (
        (row.place.setting.label if row.place.setting else "dense", what, why)
        for row in rows
        for what, why in row.failures.items()
    )
    return list(dict.fromkeys(f"- failed: {label}, {what}: {why}" for label, what, why in found))


def scores_csv(rows: Sequence[Row]) -> str:
    """One line for each row and text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    numbers = ("perplexity", "ratio", "low", "high", "tokens")
    setting = ("method", "allocation", "transform", "sparsity", "achieved", "macs")
    writer.writerow((*setting, "text", *numbers, "tokens_per_second", "speed_up", "failure"))
    texts = _texts(rows)
    for found, row in zip(study_json(list(rows), {})["rows"], rows, strict=True):
        speed = found["speed"] or {}
        for text in texts:
            score = found["texts"][text] or {}
            cells = [found[key] for key in setting] + [text, *(score.get(key) for key in numbers)]
            writer.writerow((*cells, speed.get("tokens_per_second"), speed.get("ratio"), row.failures.get(text, "")))
    return buffer.getvalue()


def _texts(rows: Sequence[Row]) -> list[str]:
    return list(rows[0].scores)


def _timed(rows: Sequence[Row]) -> bool:
    return any(row.speed is not None for row in rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _score_cells(score: Score | None, *, dense: bool) -> tuple[str, str]:
    if score is None:
        return "failed", ""
    if score.perplexity is None:
        return "not finite", ""
    text = f"{score.perplexity:.2f}" if score.perplexity < 1e4 else f"{score.perplexity:.1e}"
    if dense or score.ratio is None:
        return text, ""
    bounds = "" if score.ratio.low is None else f" [{score.ratio.low:.3f}, {score.ratio.high:.3f}]"
    return text, f"{score.ratio.mean:.3f}{bounds}"


def _speed_cells(row: Row, rows: Sequence[Row]) -> tuple[str, str, str]:
    if row.speed is None:
        dense = sorted(other.speed.dense for other in rows if other.speed is not None)
        return (f"{dense[len(dense) // 2]:.1f}", "", "") if row.place.setting is None else ("-", "", "")
    spread = f"{min(row.speed.ratios):.2f} to {max(row.speed.ratios):.2f}"
    layers = f"{row.speed.sparse_layers} of {row.speed.layers}"
    return f"{row.speed.sparse:.1f}", f"{row.speed.ratio:.2f} ({spread})", layers


def _half_width(score: Score, dense: float | None) -> float:
    if score.ratio is None or score.ratio.low is None or score.ratio.high is None or dense is None:
        return 0.0
    return dense * (score.ratio.high - score.ratio.low) / 2
