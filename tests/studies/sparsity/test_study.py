"""``evonas sparsify`` from a saved model to a table.

Oracles: the library used by hand, with transformers' own loss; a study that was killed and went on, against one that
was not; pairs counted by hand.
"""

import csv
import json
import math
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.runs.store import Outcome
from evonas.sparsity import sparsify
from evonas.studies.sparsity.allocation import block_curves
from evonas.studies.sparsity.measuring import Measuring
from evonas.studies.sparsity.results import rows_of
from evonas.studies.sparsity.sparsify import MEASURED
from evonas.studies.sparsity.study import (
    CostMeasurement,
    Place,
    QualityMeasurement,
    Source,
    SparsitySetting,
    SparsityStudyConfig,
    SpeedMeasurement,
    check,
    grid_of,
    sparsity_settings,
)
from evonas.studies.sparsity.study_report import draw_perplexity, row_table, sparsity_report
from evonas.studies.sparsity.texts import calibration_windows, scored_windows
from evonas.tasks.language.pretrained import load_language_model
from studies import assert_one_line

SMALL = ("--tokens", 160, "--calibration-tokens", 64, "--context", 32)


def loss(model: nn.Module, rows: Tensor) -> float:
    """transformers' own mean loss of windows that begin with token 0."""
    ids = torch.cat([rows.new_zeros(len(rows), 1), rows], 1)
    return float(model(ids, labels=ids).loss)


def test_the_table_is_what_the_library_gives(evonas: Callable[..., Any], saved: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("It is a truth universally acknowledged, that a machine must be in want. " * 9)
    texts = ("--text", "topics", "--text", tmp_path / "mine.txt")
    axes = ("--allocation", "uniform", "--allocation", "greedy", "--transform", "both", "--sparsity", 0.5)
    run = tmp_path / "run"
    status, out, err = evonas("sparsify", saved, *SMALL, *texts, *axes, "--run", run, "--no-speed", "--json")
    assert status == 0, err
    rows = json.loads(out)["rows"]
    assert [(row["method"], row["allocation"], row["transform"]) for row in rows] == [
        ("dense", None, None),
        *((m, a, t) for m in ("teal", "wina") for t in (False, True) for a in ("uniform", "greedy")),
    ]
    language = load_language_model(str(saved))
    topics = scored_windows("topics", language.encode, 32, 160)
    mine = scored_windows(str(tmp_path / "mine.txt"), language.encode, 32, 160)
    calibrating = calibration_windows("topics", language.encode, 32, 64, [topics, mine]).rows
    batches = [torch.cat([row.new_zeros(1), row])[None] for row in calibrating]
    dense = {windows.name: loss(language.model, windows.rows) for windows in (topics, mine)}
    for row in rows:
        options = {key: row[key] for key in ("method", "allocation", "transform")}
        losses = dense
        if row["method"] != "dense":
            with sparsify(language.model, sparsity=0.5, calibration=batches, **options) as report:
                losses = {windows.name: loss(language.model, windows.rows) for windows in (topics, mine)}
                assert row["achieved"] == pytest.approx(report.achieved)
        for name, expected in losses.items():
            assert row["texts"][name]["tokens"] == 160
            assert row["texts"][name]["perplexity"] == pytest.approx(math.exp(expected), rel=1e-4)
            assert row["texts"][name]["ratio"] == pytest.approx(math.exp(expected - dense[name]), rel=1e-4)
    for name in ("results.md", "results.csv", "results.json", "perplexity.png", "config.toml", "environment.json"):
        assert (run / name).stat().st_size > 100
    lines = list(csv.DictReader((run / "results.csv").read_text().splitlines()))
    assert len(lines) == 9 * 2
    assert float(lines[-1]["perplexity"]) == rows[-1]["texts"]["mine.txt"]["perplexity"]


def test_without_options_speed_is_measured_too_and_a_grown_grid_adds(
    evonas: Callable[..., Any], saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evonas.studies.sparsity.speed_table.COPIES", 2)  # of each size that is timed
    command = ("sparsify", saved, "--tokens", 128, "--context", 32, "--method", "teal", "--sparsity", 0.5)
    status, out, err = evonas(*command, "--run", tmp_path / "run")
    assert status == 0, err
    for word in ("tokens/s", "speed-up", "dense", "wrote", "perplexity.png"):
        assert word in " ".join(out.split())
    done: list[Any] = []
    work = Measuring.__call__
    monkeypatch.setattr(
        Measuring, "__call__", lambda self, piece, costs: done.append(piece) or work(self, piece, costs)
    )
    more = ("--resume", "--sparsity", 0.25, "--method", "all")
    status, out, err = evonas(*command, *more, "--run", tmp_path / "run", "--json")
    assert status == 0, err
    rows = json.loads(out)["rows"]
    assert [row["method"] for row in rows[1::2]] == ["teal", "wina", "cats", "r-sparse", "random"]
    assert len(done) == 2 * (2 * 5 - 1) + 2  # quality and speed of what was not there, and what two splits go by
    done.clear()
    status, out, err = evonas(*command, "--resume", "--compile", "--run", tmp_path / "run", "--json")
    assert status == 0, err
    assert [(type(piece), piece.compiled) for piece in done] == [(SpeedMeasurement, True)]
    for row in rows[1:] + json.loads(out)["rows"][1:]:
        speed = row["speed"]
        assert min(speed["tokens_per_second"], speed["dense_tokens_per_second"], speed["bound"]) > 0
        assert speed["ratio"] == sorted(speed["ratios"])[2]
        assert 0 <= speed["sparse_layers"] <= speed["layers"] <= 14
        assert row["failures"] == {}
    assert rows[0]["speed"] is None


def test_a_killed_study_goes_on_to_the_same_result(
    evonas: Callable[..., Any], saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--allocation", "greedy", "--selection", "threshold", "--sparsity", 0.4, "--sparsity", 0.6)
    command = ("sparsify", saved, *SMALL, *options, "--no-speed", "--run")
    measured: list[Any] = []
    monkeypatch.setitem(MEASURED, "greedy", lambda *given: measured.append(given) or block_curves(*given))
    assert evonas(*command, tmp_path / "whole")[0] == 0
    assert len(measured) == 2  # costs, once for each method
    work, done = Measuring.__call__, list[Any]()

    def killed(self: Measuring, piece: Any, costs: Any) -> dict[str, Any]:
        if len(done) == 4:
            raise Killed
        done.append(piece)
        return work(self, piece, costs)

    monkeypatch.setattr(Measuring, "__call__", killed)
    with pytest.raises(Killed):
        evonas(*command, tmp_path / "killed")
    assert list(map(type, done)) == [QualityMeasurement, CostMeasurement, CostMeasurement, QualityMeasurement]
    first = list(done)
    done.clear()
    assert evonas(*command, tmp_path / "killed")[0] == 2  # without --resume
    status, _, err = evonas(*command, tmp_path / "killed", "--resume")
    assert status == 0, err
    assert len(done) == 3
    assert not set(done) & set(first)
    one, other = ((tmp_path / name / "results.json").read_text() for name in ("whole", "killed"))
    assert one == other


BAD: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = {
    "a method misspelled": (("--method", "wnia"), ("method: 'wnia'", "teal, wina, cats", "did you mean 'wina'?")),
    "a sparsity in percent": (("--sparsity", "50"), ("sparsities.0: 50", "less than 1")),
    "a negative sparsity": (("--sparsity", "-0.1"), ("sparsities.0: -0.1", "greater than or equal to 0")),
    "more than a split can reach": (
        ("--allocation", "greedy", "--sparsity", 0.97),
        ("sparsity: 0.97, with allocation greedy", "up to 0.95"),
    ),
    "an unknown allocation": (
        ("--allocation", "fair"),
        ("allocations.0: 'fair'", "'uniform', 'greedy', 'fisher', 'fisher-twice' or 'evolution'"),
    ),
    "an unknown transform": (("--transform", "yes"), ("transform: 'yes'", "'off', 'on' or 'both'")),
    "a transform that a method has not": (
        ("--method", "cats", "--transform", "on"),
        ("method cats: has no transform on", "teal, wina"),
    ),
    "no such text": (("--text", "none.txt"), ("text none.txt: no such file",)),
    "a text twice": (("--text", "topics", "--text", "topics"), ("text: two are called 'topics'",)),
    "a context beyond the model": (("--context", 64), ("context: 64", "2 to 63")),
    "a device that is not there": (("--device", "warp"), ("device: 'warp'", "auto, cpu")),
    "a folder that holds nothing to go on with": (("--resume",), ("holds no results.sqlite",)),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_input_is_one_line(
    name: str, evonas: Callable[..., Any], saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, words = BAD[name]
    monkeypatch.chdir(tmp_path)
    assert_one_line(evonas("sparsify", saved, *SMALL, *options), words)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_there_is_one_line(
    evonas: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.gguf").write_text("no model")
    for model, said in (("./models/none", "no such folder or file"), ("notes.gguf", "is no GGUF file")):
        assert_one_line(evonas("sparsify", model), [said])


def setting(method: str, *, transform: bool = False, allocation: str = "uniform") -> SparsitySetting:
    return SparsitySetting(method=method, transform=transform, allocation=allocation, selection="topk", dense_first=0)


def study(**changes: Any) -> SparsityStudyConfig:
    return SparsityStudyConfig(name="s", model="m", **changes)


def test_methods_are_combined_with_what_they_have() -> None:
    found = sparsity_settings(study(methods=("all",), allocations=("uniform", "greedy"), transform="both"))
    labels = [each.label for each in found]
    assert labels == [
        *("teal", "teal, greedy", "teal, transform", "teal, greedy, transform"),
        *("wina", "wina, greedy", "wina, transform", "wina, greedy, transform"),
        *("cats", "r-sparse", "r-sparse, greedy", "random"),
    ]
    assert [each.method for each in sparsity_settings(study(methods=("all",), transform="on"))] == ["teal", "wina"]
    split = sparsity_settings(study(methods=("all",), allocations=("fisher",)))
    assert [each.label for each in split] == ["teal, fisher", "wina, fisher", "r-sparse, fisher"]
    best = sparsity_settings(study(methods=("all",)))
    assert [each.label for each in best] == ["teal, fisher", "wina, fisher", "cats", "r-sparse, fisher", "random"]
    with pytest.raises(InputError, match="method random: has no transform off and allocation greedy"):
        check(study(methods=("random",), allocations=("greedy",)))


def test_what_does_not_depend_on_the_calibration_survives_another_one() -> None:
    source, texts = Source(model="m", dtype="float32", device="cpu"), {"a": "1", "b": "2"}
    wanted = study(allocations=("uniform", "greedy"), methods=("teal",), sparsities=(0.5,))
    one, other = (grid_of(wanted, source, texts, digest, 0, "here") for digest in ("x", "y"))
    kept = [piece for piece in one.measurements if piece in other.measurements]
    assert list(map(type, kept)) == [QualityMeasurement] * 4 + [SpeedMeasurement]  # dense and uniform, on two texts
    assert len(one.measurements) == 2 * 3 + 1 + 2


def outcomes_of(*values: dict[str, Any] | str) -> tuple[Any, dict[Any, Outcome]]:
    """Of a dense model and of one setting at 25 and 50 % on one text, of these values or failures."""
    wanted = study(methods=("wina",), allocations=("uniform",), sparsities=(0.25, 0.5), speed=False)
    grid = grid_of(wanted, Source(model="m", dtype="float32", device="cpu"), {"a": "1"}, "", None, "")
    outcomes = [Outcome(None, value) if isinstance(value, str) else Outcome(value) for value in values]
    return grid, dict(zip(grid.measurements, outcomes, strict=True))


def found(*values: dict[str, Any] | str) -> list[Any]:
    """The rows of those outcomes."""
    return rows_of(*outcomes_of(*values))


def value(*nll: float | None) -> dict[str, Any]:
    return {"tokens": [10] * len(nll), "nll": list(nll), "achieved": 0.3, "macs": 0.8, "kinds": {"q_proj": 0.3}}


def test_ratios_are_paired_by_window() -> None:
    rows = found(value(10.0, 30.0), value(12.0, 33.0), value(None, 1.0))
    dense, first, second = (row.scores["a"] for row in rows)
    assert dense.perplexity == pytest.approx(math.exp(2.0))
    assert first.perplexity == pytest.approx(math.exp(2.25))
    assert first.ratio.mean == pytest.approx(math.exp(0.25))
    half = 12.706 * math.sqrt(0.005) / math.sqrt(2)  # t(1) times the deviation of .2 and .3 over the root of two
    assert first.ratio.low == pytest.approx(math.exp(0.25 - half), rel=1e-3)
    assert first.ratio.high == pytest.approx(math.exp(0.25 + half), rel=1e-3)
    assert (second.perplexity, second.ratio) == (None, None)
    assert rows[1].place == Place(setting("wina"), 0.25)


def test_failures_and_losses_beyond_numbers_are_shown() -> None:
    values = value(10.0, 30.0), "out of memory", value(None, 1.0)
    assert [cells[-2:] for cells in row_table(found(*values)).cells()[1:]] == [["failed", ""], ["not finite", ""]]
    report = sparsity_report("s", *outcomes_of(*values), {"scored": "this"})
    assert report.failures == ["wina, a: out of memory"]
    assert report.markdown().endswith("- scored: this\n\n- failed: wina, a: out of memory\n")


def test_the_picture_has_a_line_for_each_setting_that_begins_at_the_dense_model() -> None:
    rows = found(value(10.0, 30.0), value(12.0, 33.0), value(100.0, 100.0))
    figure = draw_perplexity(rows)
    (axes,) = figure.axes
    line = axes.get_lines()[0]
    assert line.get_xdata() == pytest.approx([0, 20])
    assert line.get_ydata() == pytest.approx([math.exp(2.0), math.exp(2.25)])
    assert axes.get_title(loc="left").startswith("a: ")  # the text, then the method
    assert any("beyond 10 times" in " ".join(text.get_text().split()) for text in figure.texts)


def test_positions_that_stay_dense_cost_nothing(evonas: Callable[..., Any], saved: Path, tmp_path: Path) -> None:
    options = ("--method", "teal", "--sparsity", 0.5, "--dense-first", 33, "--no-speed", "--json")  # 32 and the first
    status, out, err = evonas("sparsify", saved, *SMALL, *options, "--run", tmp_path / "run")
    assert status == 0, err
    dense, row = json.loads(out)["rows"]
    assert (row["achieved"], row["macs"]) == (0, 1)
    assert row["texts"]["topics"]["perplexity"] == pytest.approx(dense["texts"]["topics"]["perplexity"], rel=1e-6)


def test_a_setting_that_a_model_has_no_layers_for_fails_and_the_others_go_on(
    evonas: Callable[..., Any], saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("evonas.studies.sparsity.gates"), "DOWN", ("no_such_layer",))
    options = ("--method", "cats", "--method", "teal", "--sparsity", 0.5, "--no-speed")
    status, out, err = evonas("sparsify", saved, *SMALL, *options, "--run", tmp_path / "run", "--json")
    assert status == 0
    rows = json.loads(out)["rows"]
    assert rows[1]["texts"]["topics"] is None
    assert rows[1]["failures"]["topics"].startswith("method cats: no layer named")
    assert rows[2]["texts"]["topics"]["perplexity"] > 0
    assert "failed: cats, topics: method cats" in " ".join(err.split())
