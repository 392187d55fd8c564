"""What a study of activation sparsity reports: perplexities beside the dense model's, what is saved, and speed."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from evonas.report.pictures import draw_panels
from evonas.report.save import Report
from evonas.report.table import Datum, Table
from evonas.runs.store import Outcome
from evonas.studies.sparsity.results import Score, SparsityRow, rows_of, sparsity_json
from evonas.studies.sparsity.study import Grid, Measurement

_LARGEST_RATIO = 10.0  # times the dense model's perplexity; what is above is not drawn


def sparsity_report(name: str, grid: Grid, outcomes: Mapping[Measurement, Outcome], facts: Mapping[str, str]) -> Report:
    """The report of a study from the outcomes of all its runs, with what must be stated beside any of its figures."""
    rows = rows_of(grid, outcomes)
    failures = [
        f"{row.place.setting.label if row.place.setting else 'dense'}, {what}: {why}"
        for row in rows
        for what, why in row.failures.items()
    ]
    data = sparsity_json(rows, facts)
    return Report(
        title=name,
        tables=[row_table(rows)],
        data=data,
        details=["\n".join(f"- {key}: {value}" for key, value in facts.items())],
        runs=_scores(data["rows"]),
        pictures={"perplexity": draw_perplexity(rows)},
        failures=list(dict.fromkeys(failures)),
    )


MEANINGS = {
    "sparsity": "the share of inputs that each layer, or the model on average, is to drop.",
    "dropped": "the share of inputs that was dropped, weighted by the layers' weights.",
    "MACs": "multiply-accumulates of one decoded token relative to the dense model, with the head, without attention.",
    "tokens/s": "decoded tokens per second at batch size 1, dense and sparse model taking turns.",
    "speed-up": "tokens per second relative to the dense model: the median over rounds, and their range.",
    "sparse layers": "layers for which the sparse product is faster on this machine; the others stay dense for speed.",
}
RATIO = "the perplexity divided by that of the dense model, with a 95 % interval over the windows of this text."


def row_table(rows: Sequence[SparsityRow]) -> Table:
    """A row for each setting and sparsity: for each text the perplexity and its ratio to dense, speed if measured."""
    forms = {"dropped": "{:.1%}", "MACs": "{:.1%}", "tokens/s": "{:.1f}"}
    for text in rows[0].scores:
        forms |= {f"{text}: perplexity": "{:.4g}", f"{text}: x dense": "{:.3f}"}
    dense = [row.speed.dense_tokens_per_second for row in rows if row.speed is not None]
    ratios = {f"{text}: x dense": RATIO for text in rows[0].scores}
    table = Table.of((_row(row, dense) for row in rows), forms, meanings=ratios | MEANINGS)
    return table.without_constants(("allocation", "transform"))


def _row(row: SparsityRow, dense: Sequence[float]) -> dict[str, Datum]:
    """A row; ``dense`` are the speeds of the dense model that others were timed beside."""
    setting, speed = row.place.setting, row.speed
    cells: dict[str, Datum] = {"method": setting.method if setting else "dense"}
    cells["allocation"] = setting.allocation if setting else ""
    cells["transform"] = setting.transform if setting else ""
    cells["sparsity"] = f"{100 * row.place.sparsity:g} %" if setting else ""
    cells |= {"dropped": row.achieved, "MACs": row.macs}
    for text, score in row.scores.items():
        known = score is not None and score.perplexity is not None
        cells[f"{text}: perplexity"] = score.perplexity if score and known else "not finite" if score else "failed"
        cells[f"{text}: x dense"] = score.ratio if score and known and setting and score.ratio else ""
    if speed is not None:
        cells["tokens/s"] = speed.tokens_per_second
        cells["speed-up"] = f"{speed.ratio:.2f} ({min(speed.ratios):.2f} to {max(speed.ratios):.2f})"
        cells["sparse layers"] = f"{speed.sparse_layers} of {speed.layers}"
    elif dense and not setting:
        cells["tokens/s"] = median(dense)
    return cells


def _scores(rows: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each row and text."""
    setting = ("method", "allocation", "transform", "sparsity", "achieved", "macs")
    numbers = ("perplexity", "ratio", "low", "high", "tokens")
    return Table.of(
        {key: row[key] for key in setting}
        | {"text": text}
        | {key: (score or {}).get(key) for key in numbers}
        | {"tokens_per_second": (row["speed"] or {}).get("tokens_per_second")}
        | {"speed_up": (row["speed"] or {}).get("ratio"), "failure": row["failures"].get(text, "")}
        for row in rows
        for text, score in row["texts"].items()
    )


def draw_perplexity(rows: Sequence[SparsityRow]) -> Figure:
    """Perplexity over what is saved, a panel for each text and method, a line for each setting; bands: 95 % intervals.

    Methods drop inputs of other layers and add products of their own, so sparsities alone do not compare them.
    """
    panels: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    left_out = False
    for name in rows[0].scores:
        dense = rows[0].scores[name]
        start = dense.perplexity if dense else None
        for row in sorted(rows, key=lambda row: row.place.sparsity):
            score, setting = row.scores[name], row.place.setting
            if setting is None:
                continue
            panel = panels.setdefault(f"{name}: {setting.method}", {})
            label = setting.label.partition(", ")[2] or "uniform"
            points = panel.setdefault(label, [(0.0, start, 0.0)] if start else [])
            if score is None or score.perplexity is None or (start and score.perplexity > _LARGEST_RATIO * start):
                left_out = True
            elif row.macs is not None and (row.place.sparsity or not start):
                points.append((100 * (1 - row.macs), score.perplexity, _half_width(score, start)))
    seen = {name: panel for name, panel in panels.items() if any(len(points) > 1 for points in panel.values())}
    lost = [name for name in panels if name not in seen]
    title = "Perplexity by saved multiply-accumulates, a panel for each text and method; lines: allocation, transform"
    title += f"; not drawn: beyond {_LARGEST_RATIO:g} times the dense model's" if left_out else ""
    title += f" (all of {', '.join(lost)})" if lost else ""
    words: dict[str, Any] = {"xlabel": "multiply-accumulates saved, %", "ylabel": "perplexity", "better": -1}
    return draw_panels(seen or panels, title=title, logx=0, logy=True, **words)


def _half_width(score: Score, dense: float | None) -> float:
    if score.ratio is None or score.ratio.low is None or score.ratio.high is None or dense is None:
        return 0.0
    return dense * (score.ratio.high - score.ratio.low) / 2
