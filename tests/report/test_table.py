"""Tables and reports.

Oracles: means and deviations of numpy; Markdown, CSV and what a terminal shows, read back cell by cell.
"""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evonas.report.pictures import draw_panels
from evonas.report.save import Report, RunLog, save_report
from evonas.report.statistics import Interval, Summary, mean_points
from evonas.report.table import Datum, Table, written

RUNS = Table.of(
    [
        {"method": method, "size": size, "seed": seed, "loss": loss}
        for method, size, losses in [("a", 8, (0.5, 0.25, 0.75)), ("b", 8, (1.0, None, 3.0)), ("a", 16, (None,) * 3)]
        for seed, loss in enumerate(losses)
    ]
)


def test_groups_have_the_mean_and_deviation_of_numpy_and_tell_what_failed() -> None:
    means = RUNS.over_seeds(["method", "size"], ["loss"])
    assert means.columns == ("method", "size", "loss")
    first, second, third = means.column("loss")
    assert isinstance(first, Summary)
    assert isinstance(second, Summary)
    assert (first.mean, first.std) == (np.mean([0.5, 0.25, 0.75]), np.std([0.5, 0.25, 0.75], ddof=1))
    assert (second.mean, second.std, second.count, second.failed) == (2.0, np.std([1, 3], ddof=1), 2, 1)
    assert third == "(3 failed)"
    assert means.cells()[1] == ["b", "8", "2.0000 \u00b11.4142 (1 failed)"]


def test_groups_are_in_order_of_appearance_and_keep_their_rows() -> None:
    groups = RUNS.by("method")
    assert list(groups) == [("a",), ("b",)]
    assert [row for group in groups.values() for row in group.rows] == [*RUNS.rows[:3], *RUNS.rows[6:], *RUNS.rows[3:6]]


def test_a_pivot_has_a_column_for_each_value_and_marks_what_is_missing() -> None:
    found = RUNS.over_seeds(["method", "size"], ["loss"]).pivot("size", "loss")
    assert found.columns == ("method", "8", "16")
    assert found.cells() == [["a", "0.5000 \u00b10.2500", "(3 failed)"], ["b", "2.0000 \u00b11.4142 (1 failed)", "-"]]


@pytest.mark.parametrize(
    ("datum", "form", "text"),
    [
        (None, "", "-"),
        (3, "", "3"),
        (12345, "{:,}", "12,345"),
        (True, "", "yes"),
        (0.5, "", "0.5000"),
        (0.123, "{:.1%}", "12.3 %"),
        (-0.001, "{:+z.2f}", "+0.00"),
        ("not finite", "{:.2f}", "not finite"),
        (Summary(0.5, None, 1), "", "0.5000"),
        (Summary(0.5, 0.25, 2, failed=1), "{:+.2f}", "+0.50 \u00b10.25 (1 failed)"),
        (Interval(2.0, 1.0, 3.0, 5), "{:+.1f}", "+2.0 [+1.0, +3.0]"),
        (Interval(2.0, None, None, 1), "{:.1f}", "2.0"),
    ],
)
def test_cells_are_written_with_a_leading_zero(datum: Datum, form: str, text: str) -> None:
    assert written(datum, form) == text


def test_a_file_has_all_digits_in_columns_of_their_own() -> None:
    table = Table.of([{"a": Summary(1 / 3, 0.1, 3), "b": Interval(1.0, 0.0, 2.0, 3)}, {"a": "failed", "b": None}])
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert rows[0] == {"a": str(1 / 3), "a std": "0.1", "a failed": "0", "b": "1.0", "b low": "0.0", "b high": "2.0"}
    assert rows[1] == {"a": "failed", "a std": "", "a failed": "", "b": "", "b low": "", "b high": ""}


def test_markdown_sets_code_and_keeps_bars_apart() -> None:
    table = Table.of([{"formula": "a|b", "n": 1}], title="Some:", code=("formula",))
    assert table.markdown() == "Some:\n\n| formula | n |\n|---|---|\n| `a\\|b` | 1 |"
    assert Table.of([], title="None:").markdown() == ""


def test_points_of_seeds_are_joined_by_place_and_a_place_that_comes_twice_stays_two() -> None:
    series = [[(1.0, 2.0), (1.0, 4.0), (2.0, 6.0)], [(1.0, 4.0), (1.0, 8.0), (2.0, 6.0)]]
    assert mean_points(series) == [
        (1.0, 3.0, np.std([2, 4], ddof=1)),
        (1.0, 6.0, np.std([4, 8], ddof=1)),
        (2.0, 6.0, 0.0),
    ]


def test_a_report_is_written_whole_and_a_second_one_replaces_its_boards(tmp_path: Path) -> None:
    picture = draw_panels({"": {"a": [(1.0, 2.0, 0.0)]}}, xlabel="x", ylabel="y")
    log = RunLog({"seed": 1}, {"final": 0.5, "loss": 1.0}, {"loss": [(1, 2.0), (2, None), (3, 1.0)]})
    report = Report(
        title="name",
        tables=[RUNS],
        data={"runs": [0.1]},
        details=["A note."],
        runs=RUNS,
        pictures={"losses": picture},
        logs={"a/seed_1": log},
        failures=["b, seed 1: worker died"],
    )
    names = ["results.md", "results.json", "results.csv", "losses.png"]
    for _ in range(2):
        assert [path.name for path in save_report(tmp_path, report)] == names
    assert all((tmp_path / name).stat().st_size for name in names)
    text = (tmp_path / "results.md").read_text()
    assert text.startswith("# name\n\n| method |")
    assert text.endswith("\n\nA note.\n\n- failed: b, seed 1: worker died\n")
    assert json.loads((tmp_path / "results.json").read_text()) == {"runs": [0.1]}
    run = EventAccumulator(str(tmp_path / "tb" / "a" / "seed_1")).Reload()
    assert [(event.step, event.value) for event in run.Scalars("loss")] == [(1, 2.0), (3, 1.0)]
    assert [(event.step, event.value) for event in run.Scalars("final")] == [(3, 0.5)]
    whole = EventAccumulator(str(tmp_path / "tb" / tmp_path.name)).Reload()  # a run is called by its last folder
    assert (len(whole.Images("losses")), len(whole.Tensors("results/text_summary"))) == (1, 1)


def test_what_columns_mean_is_said_of_those_that_are_there() -> None:
    table = Table.of([{"a": 1, "b": 2}], meanings={"a": "the first.", "c": "is not there."})
    assert table.explained() == {"a": "the first."}
    assert table.markdown().splitlines()[-2:] == ["", "- `a`: the first."]
    assert Table.of([], meanings={"a": "the first."}).explained() == {}


def test_a_setting_that_all_rows_share_is_said_once() -> None:
    rows: list[dict[str, Datum]] = [
        {"method": "dense", "split": "", "basis": None, "norm": "none", "loss": 1.0},
        {"method": "teal", "split": "even", "basis": "own", "norm": "none", "loss": 2.0},
        {"method": "wina", "split": "even", "basis": "other", "norm": "none", "loss": 2.0},
    ]
    table = Table.of(rows, title="Losses.")
    found = table.without_constants(("split", "basis", "norm"))
    assert found.columns == ("method", "basis", "loss")
    assert found.title == "Losses. All rows: split even, norm none."
    assert found.column("loss") == table.column("loss")
    assert table.without_constants(("basis",)) == table
