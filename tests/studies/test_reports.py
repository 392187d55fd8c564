"""What all kinds of study report, from small records made up here.

Oracles: Markdown, CSV and what a terminal of 80 columns shows, read back cell by cell; means and deviations of numpy,
from the recorded numbers; the recorded numbers themselves, which the JSON must hold with all digits.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from evonas import config
from evonas.cli.terminal import Printed
from evonas.compare.comparison import Comparison, Contender, compare
from evonas.compare.report import matrix_report
from evonas.compare.rerank import Reranking, reranking_report
from evonas.compare.result import Matrix
from evonas.compare.trials import by_task
from evonas.graph.catalogue import CATALOGUE
from evonas.report.save import Report, save_report
from evonas.report.statistics import Interval, Summary
from evonas.report.table import Table
from evonas.runs.folder import RunFolder
from evonas.runs.store import Outcome
from evonas.search.outcome import Evaluation, Rejection
from evonas.studies.hypernet import study as hypernet
from evonas.studies.hypernet.report import hypernet_report
from evonas.studies.sparsity import study as sparsity
from evonas.studies.sparsity.study_report import sparsity_report
from evonas.studies.stability import study as stability
from evonas.studies.stability.report import stability_report
from evonas.studies.steering import study as steering
from evonas.studies.steering.method_settings import FitConfig
from evonas.studies.steering.report import steering_report

TINY = config.load_search(Path(__file__).parents[2] / "search_spaces" / "tiny.toml")
FAILED = Outcome(None, "worker died")
NUMBERS = np.random.default_rng(0)


def number() -> float:
    """A number with all its digits, unlike any other."""
    return float(NUMBERS.uniform(0.1, 0.9))


@dataclass(frozen=True)
class Made:
    """A report, and the numbers that were recorded for the cell of a row and a column of its first table."""

    report: Report
    row: int
    column: str
    recorded: Sequence[float]


def made_stability() -> Made:
    outcomes: dict[stability.StabilityCell, Outcome] = {}
    best = [number(), number()]
    for size, parameters in (("55k", 55_000), ("147k", 147_000)):
        for intervention in ("none", "qk-layernorm"):
            for rate in (1e-3, 1e-2):
                for seed in (1, 2):
                    first = (size, intervention, rate) == ("55k", "none", 1e-3)
                    value = {"size": parameters, "initial_loss": 5.0, "steps": 9, "slow": False, "spikes": 1}
                    value |= {"final_loss": best[seed - 1] if first else 1 + number(), "losses": [[1, 4.0], [2, None]]}
                    value |= {"readings": [[8, {"blocks.0.max_logit": 2.0, "log_z": number()}]]}
                    cell = stability.StabilityCell(intervention=intervention, size=size, learning_rate=rate, seed=seed)
                    outcomes[cell] = Outcome(value)
    outcomes[stability.StabilityCell(intervention="none", size="147k", learning_rate=1e-2, seed=2)] = FAILED
    return Made(stability_report("s", outcomes), 0, "best loss", best)


def made_hypernet() -> Made:
    study = hypernet.HypernetStudyConfig.model_validate_json('{"name": "a", "task": {"name": "registration"}}')
    base, outcomes = hypernet.hypernet_runs(study)[0], {}
    final = [number(), number()]
    for form in ("default", "mip"):
        for rate in (1e-3, 1e-2):
            for seed in (1, 2):
                end = final[seed - 1] if (form, rate) == ("mip", 1e-3) else 1 + number()
                value = {"curve": [[0, 3.0], [100, end]], "magnitudes": [[1.0, 2.0], [2.0, 8.0]], "costs": [7, 7, 9]}
                value |= {"metric": [number() for _ in range(3)], "losses": [number() for _ in range(3)]}
                piece = base.model_copy(update={"parametrization": form, "learning_rate": rate, "seed": seed})
                outcomes[piece] = Outcome(value)
    outcomes[base.model_copy(update={"parametrization": "default", "learning_rate": 1e-2, "seed": 2})] = FAILED
    return Made(hypernet_report("h", outcomes), 1, "final loss", final)


def made_steering() -> Made:
    pieces: dict[steering.SteeringCell, steering.SteeringMeasurement] = {}
    outcomes: dict[steering.SteeringJob, Outcome] = {}
    scores = [number(), number()]
    for seed in (1, 2):
        for sparsity_, strength in ((0.0, 0.0), (0.0, 0.5), (0.0, 1.0), (0.1, 1.0)):
            fit = steering.MapFit(fitting="f", task="t", fit=FitConfig(), sparsity=sparsity_, seed=seed)
            maps = fit if strength else None
            piece = steering.SteeringMeasurement(maps=maps, measuring="m", task="t", strength=strength, seed=seed)
            method = "lineas" if strength else steering.NONE
            place = {"task": "t", "method": method, "sparsity": sparsity_, "strength": strength, "seed": seed}
            pieces[steering.SteeringCell(**place)] = piece
            score = scores[seed - 1] if (sparsity_, strength) == (0.0, 1.0) else number()
            outcomes[piece] = Outcome({"score": score, "cost": 10 + strength + number()})
            outcomes[fit] = Outcome({"share": 0.5 if sparsity_ else 1.0, "sites": 1, "losses": [[1, number()]]})
    outcomes[list(pieces.values())[-1]] = FAILED
    return Made(steering_report("st", (0.05, 0.1), pieces, outcomes, {}), 1, "score at strength 1", scores)


def made_sparsity() -> Made:
    study = sparsity.SparsityStudyConfig(name="s", model="m", methods=("wina", "teal"), sparsities=(0.25, 0.5))
    source = sparsity.Source(model="m", dtype="float32", device="cpu")
    grid = sparsity.grid_of(study, source, {"austen": "1", "topics": "2"}, "c", None, "here")
    ratios, outcomes = [number(), number(), number()], {}
    for piece in grid.measurements:
        value: dict[str, Any] = {"tokens": [1, 1, 1], "nll": [2.0, 3.0, 4.0], "achieved": 0.3, "macs": number()}
        if isinstance(piece, sparsity.SpeedMeasurement):
            value = {"dense": 10.0, "sparse": 11.0 + number(), "ratios": [1.1, 1.2, 1.3], "bound": 2.0}
            value |= {"sparse_layers": 3, "layers": 9}
        elif isinstance(piece, sparsity.QualityMeasurement) and piece.setting:
            rises = ratios if (piece.text, piece.sparsity, piece.setting.method) == ("1", 0.25, "wina") else [0.1] * 3
            value |= {"nll": [base + rise for base, rise in zip((2.0, 3.0, 4.0), rises, strict=True)]}
        outcomes[piece] = Outcome(value)
    outcomes[grid.measurements[-1]] = FAILED
    return Made(sparsity_report("sp", grid, outcomes, {"scored": "this"}), 1, "austen: x dense", ratios)


def compared(tasks: Sequence[str]) -> tuple[Comparison, list[float]]:
    scores = [number(), number()]
    layers = {"bn-relu": [number(), number()], "evonorm-s0": scores, "gn-relu": [number(), number()]}
    results = {}
    for name, own in layers.items():
        key = CATALOGUE[name].key
        results[key] = {
            (task, seed): Evaluation(key, seed, objectives={task: own[seed - 2] - 0.01 * place})
            for place, task in enumerate(tasks)
            for seed in (2, 3)
        }
    rejection = Rejection("training", "diverged", tasks[1], 40.0)
    key = CATALOGUE["gn-relu"].key
    results[key][tasks[1], 3] = Evaluation(key, 3, rejection=rejection)
    contenders = [Contender(name, CATALOGUE[name], baseline=name == "bn-relu") for name in layers]
    return compare(contenders, tasks, (2, 3), results), scores


def row_of(comparison: Comparison) -> int:
    return [standing.contender.name for standing in comparison.standings].index("evonorm-s0")


def made_evaluate() -> Made:
    columns = by_task(TINY)
    tasks = list(columns)
    comparison, scores = compared(tasks)
    cost = {"training": number(), "inference": number(), "relative_memory": number(), "parameters": 12345.0}
    costs = {("evonorm-s0", task): cost for task in tasks}
    matrix = Matrix("title", columns, comparison, "bn-relu", costs, {("gn-relu", tasks[0]): "no memory"})
    return Made(matrix_report(matrix), row_of(comparison), tasks[0], scores)


def made_rerank() -> Made:
    comparison, scores = compared(list(by_task(TINY)))
    report = reranking_report(RunFolder(Path("some") / "run"), Reranking(TINY, comparison, {}))
    return Made(report, row_of(comparison), comparison.tasks[0], scores)


KINDS: dict[str, Callable[[], Made]] = {
    "stability": made_stability,
    "hypernet": made_hypernet,
    "steering": made_steering,
    "sparsity": made_sparsity,
    "evaluate": made_evaluate,
    "rerank": made_rerank,
}


@pytest.fixture(params=list(KINDS), scope="module")
def made(request: pytest.FixtureRequest) -> Made:
    return KINDS[request.param]()


def tables(report: Report) -> list[Table]:
    details = [part for part in report.details if isinstance(part, Table)]
    runs = [report.runs] if report.runs else []
    return [table for table in (*report.tables, *details, *runs) if table.rows]


def bare(text: str) -> str:
    """Without blanks, as words that are longer than a column are broken."""
    return "".join(text.split())


def test_a_table_has_the_same_cells_in_markdown(made: Made) -> None:
    for table in tables(made.report):
        head, _, *lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
        assert [cell.strip() for cell in head.split("|")[1:-1]] == list(table.columns)
        rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines]
        assert rows == [[cell.strip() for cell in row] for row in table.cells()]


def test_a_table_has_the_same_rows_in_csv_with_all_digits(made: Made) -> None:
    for table in tables(made.report):
        lines = list(csv.DictReader(io.StringIO(table.csv())))
        assert len(lines) == len(table.rows)
        for line, row in zip(lines, table.rows, strict=True):
            for name, cell in zip(table.columns, row, strict=True):
                value = cell.mean if isinstance(cell, Summary | Interval) else cell
                assert line[name] == ("" if value is None else str(value))
                if isinstance(cell, Summary) and cell.std is not None:
                    assert float(line[f"{name} std"]) == cell.std


def read(lines: Sequence[str], bar: str) -> list[str]:
    """What the columns of a drawn table say, from top to bottom."""
    rows = [line.split(bar)[1:-1] for line in lines if bar in line]
    return [bare("".join(column)) for column in zip(*rows, strict=True)]


def read_table(lines: Sequence[str]) -> dict[str, str]:
    """What a drawn table says under each name."""
    return dict(zip(read(lines, "\u2503"), read(lines, "\u2502"), strict=True))


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_terminal_shows_all_of_a_table(made: Made, width: int) -> None:
    for table in tables(made.report):
        stream = io.StringIO()
        Console(file=stream, width=width).print(Printed(table))
        lines = stream.getvalue().splitlines()
        assert max(map(cell_len, lines)) <= width
        cells = table.cells()
        heads = [number for number, line in enumerate(lines) if line.startswith("\u250f")]
        if heads:
            first, *apart = [read_table(lines[a:b]) for a, b in pairwise([*heads, len(lines)])]
            written = {bare(n): bare("".join(column)) for n, *column in zip(table.columns, *cells, strict=True)}
            if apart:  # formulas for which there was no room, by layer
                assert (len(apart), list(apart[0])) == (1, ["layer", *table.code])
                first |= apart[0]
            assert first == written
        else:  # each row is a block of lines
            names, values = read(lines, "\u2502")
            assert names == bare("".join(table.columns) * len(cells))
            assert values == bare("".join(cell for row in cells for cell in row))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sparsity"])  # it has columns for each of two texts
def test_the_first_table_of_a_study_fits_into_100_columns_row_by_row(kind: str) -> None:
    stream = io.StringIO()
    Console(file=stream, width=100).print(Printed(KINDS[kind]().report.tables[0]))
    assert "\u2503" in stream.getvalue()  # a heading, which blocks of lines have not


def numbers(data: object) -> Iterator[float]:
    """All that a JSON value holds."""
    match data:
        case dict():
            for each in data.values():
                yield from numbers(each)
        case list():
            for each in data:
                yield from numbers(each)
        case int() | float():
            yield data


def test_groups_have_the_mean_of_numpy_and_json_has_what_was_recorded(made: Made) -> None:
    (table, *_) = made.report.tables
    cell = table.column(made.column)[made.row]
    in_json = list(numbers(json.loads(made.report.json())))
    if isinstance(cell, Interval):  # of the ratio of perplexities, whose logarithms were recorded
        expected = math.exp(np.mean(made.recorded))
        assert cell.mean == pytest.approx(expected)
        assert cell.mean in in_json
    else:
        assert isinstance(cell, Summary)
        assert (cell.mean, cell.std) == pytest.approx((np.mean(made.recorded), np.std(made.recorded, ddof=1)))
        assert set(made.recorded) <= set(in_json)


def test_a_report_is_saved_with_what_failed(made: Made, tmp_path: Path) -> None:
    files = save_report(tmp_path, made.report)
    assert {"results.md", "results.json", "results.csv"} < {file.name for file in files}
    assert all(file.stat().st_size for file in files)
    text = (tmp_path / "results.md").read_text()
    assert all(f"- failed: {line}" in text for line in made.report.failures)
    assert made.report.failures
    assert list((tmp_path / "tb").rglob("events.*"))
