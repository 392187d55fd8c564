"""A search as a user meets it: finished, started from other layers, resumed, stopped and killed.

Oracles: the archive of an uninterrupted run with the same seed, and exit statuses (0, 2, 130).
"""

import json
import shutil
import signal
from collections.abc import Callable
from operator import ge
from pathlib import Path

import pytest
from archives import same_content
from stopping import run_killed_after, stop_after
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evonas import config
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.start import create_run
from studies import assert_one_line

TINY = str(Path(__file__).parents[2] / "search_spaces" / "tiny.toml")


LEARNS = ("--set", "protocols.quality.min_accuracy=0.0")  # as the fixture ``finished`` has it

Outcome = tuple[int, str, str]


def test_a_search_ends_with_a_table_a_module_and_logs(finished: Path) -> None:
    names = {p.name for p in finished.iterdir()}
    assert {"config.toml", "environment.json", "archive.sqlite", "tb", "best"} <= names
    assert len(list((finished / "best").glob("rank*.py"))) == 3
    assert len(list((finished / "best").glob("rank*.png"))) == 3
    assert list((finished / "tb" / finished.name).glob("events*"))  # TensorBoard calls the run by its own name


def test_what_is_printed_opens_the_runs_own_folder(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    run = tmp_path / "mine"
    _, out, err = evonas("search", TINY, "--run", run, "--budget", 1)
    lines = [line for line in (out + err).splitlines() if "tensorboard --logdir" in line]
    assert len(lines) == 2
    assert all(line.split()[-1] == str(run) for line in lines)


def test_a_killed_run_of_two_workers_resumes_to_the_archive_of_an_uninterrupted_one_of_one(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    run = tmp_path / "killed"
    run_killed_after(4, "search", TINY, "--run", run, "--workers", 2, *LEARNS)
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        told = list(archive.records())
    assert len(told) == 4
    status, _, err = evonas("search", "--run", run, "--resume", "--workers", 1)
    assert status == 0, err
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        assert list(archive.records())[: len(told)] == told
    assert same_content(finished / "archive.sqlite", run / "archive.sqlite")


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evonas: Callable[..., Outcome]
) -> None:
    run = tmp_path / "stopped"
    stop_after(3, signal.SIGINT, monkeypatch.setattr)
    status, out, err = evonas("search", TINY, "--run", run, "--workers", 2, *LEARNS)
    assert status == 130, err
    assert f"evonas search --run {run} --resume" in "".join((out + err).split("\n"))
    assert "Traceback" not in out + err
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        assert archive.told() == 3
    status, _, err = evonas("search", TINY, "--run", run, "--resume", *LEARNS)  # naming the same search again is fine
    assert status == 0, err
    assert same_content(finished / "archive.sqlite", run / "archive.sqlite")


def test_a_resumed_run_may_get_a_larger_budget_and_nothing_else(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    run = tmp_path / "run"
    assert evonas("search", TINY, "--run", run, "--budget", 2)[0] == 0
    status, _, err = evonas("search", "--run", run, "--resume", "--budget", 4, "--seed", 5)
    assert status == 2
    assert "seed" in err
    status, _, _ = evonas("search", "--run", run, "--resume", "--budget", 4)
    assert status == 0
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        assert archive.told() == 4


def test_a_later_search_reuses_the_evaluations_of_an_earlier_one_and_says_so(
    tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    cache, runs = tmp_path / "cache.sqlite", [tmp_path / name for name in ("plain", "cold", "warm")]
    call = ("search", TINY, "--budget", 5)
    for run, extra in zip(runs, ((), ("--cache", cache), ("--cache", cache, "--workers", 2)), strict=True):
        status, out, err = evonas(*call, "--run", run, *extra)
        assert status == 0, err
        assert ("5 of 5 evaluations reused from earlier runs" in out) == (run.name == "warm")
        assert same_content(runs[0] / "archive.sqlite", run / "archive.sqlite")
        with Archive.open(run / "archive.sqlite", read_only=True) as archive:
            events = [detail for _, kind, detail in archive.events() if kind == "cache"]
        hits = {"plain": [], "cold": [0], "warm": [6]}[run.name]  # five candidates and a baseline
        assert events == [f"{count} evaluations reused from {cache}" for count in hits]
        board = EventAccumulator(str(run / "tb" / run.name)).Reload()
        reused = {"plain": None, "cold": [0] * 5, "warm": [1, 2, 3, 4, 5]}[run.name]
        assert ("speed/reused_evaluations" in board.Tags()["scalars"]) == (reused is not None)
        assert reused is None or [event.value for event in board.Scalars("speed/reused_evaluations")] == reused
    # a resumed run goes on with its cache, or without
    assert evonas("search", "--run", runs[2], "--resume", "--budget", 6, "--workers", 1)[0] == 0
    status, out, err = evonas("search", "--run", runs[1], "--resume", "--budget", 6, "--cache", "")
    assert (status, "reused" in out) == (0, False), err
    assert same_content(runs[1] / "archive.sqlite", runs[2] / "archive.sqlite")


def test_resuming_an_empty_folder_and_starting_over_a_run_are_refused(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    assert_one_line(evonas("search", "--run", tmp_path, "--resume"), [str(tmp_path), "holds no run", "evonas search"])
    assert list(tmp_path.iterdir()) == []
    before = (finished / "archive.sqlite").read_bytes()
    assert_one_line(evonas("search", TINY, "--run", finished), [str(finished), "already exists", "--resume"])
    assert (finished / "archive.sqlite").read_bytes() == before


def test_a_search_starts_from_given_layers_and_resumes_without_what_they_were_taken_from(
    finished: Path, tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    earlier, run, file = tmp_path / "earlier", tmp_path / "run", tmp_path / "layer.json"
    shutil.copytree(finished, earlier)
    s1, unusual = CATALOGUE["evonorm-s1"], "a = mean[chw](x); mul(x, a)"
    file.write_text(s1.to_json())
    with Archive.open(finished / "archive.sqlite", read_only=True) as archive:
        scores = {c: tuple(e.objectives.values()) for c, e in archive.records() if e.objectives}
    front = [
        c.genome.key
        for c, mine in scores.items()
        if not any(other != mine and all(map(ge, other, mine)) for other in scores.values())
    ]
    last = json.loads(evonas("show", f"{earlier}#{len(scores)}", "--json")[1])[0]["key"]
    names = ("evonorm-s0", unusual, file, earlier, f"{earlier}#{len(scores)}", "evonorm-s0")
    wanted = [CATALOGUE["evonorm-s0"].key, Genome.from_text(unusual).key, s1.key, *front]
    wanted += [last] if last not in front else []
    arguments = [part for name in names for part in ("--start-from", name)]
    status, _, err = evonas("search", TINY, "--run", run, "--budget", 2, *arguments)
    assert status == 0, err
    shutil.rmtree(earlier)
    assert evonas("search", "--run", run, "--resume", "--budget", 4)[0] == 0
    assert [Genome.from_text(text).key for text in RunFolder(run).config().evolution.initial] == wanted
    with Archive.open(run / "archive.sqlite", read_only=True) as archive:
        proposed = [([p for p, _ in c.screened_out] + [c.proposal])[0] for c, _ in archive.records(screened_out=True)]
    assert [(p.operator, p.genome.key) for p in proposed] == [("initial", key) for key in wanted[:4]]


def test_starting_from_adds_to_the_initial_layers_of_the_file(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    run, s1 = tmp_path / "run", CATALOGUE["evonorm-s1"].to_text()
    call = ("search", TINY, "--run", run, "--set", 'evolution.initial=["evonorm-s0"]', "--start-from", "evonorm-s1")
    assert evonas(*call, "--budget", 1)[0] == 0
    assert RunFolder(run).config().evolution.initial == ("evonorm-s0", s1)
    assert evonas(*call, "--resume", "--budget", 2)[0] == 0  # naming the same search again is fine
    assert_one_line(evonas("search", "--run", run, "--resume", "--start-from", "sigmoid(x)"), ["evolution", "differs"])


def test_formulas_as_printed_start_a_search(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    run, given = tmp_path / "run", 'evolution.initial=["max(x, 0) / std[hw](x)"]'
    call = ("search", TINY, "--run", run, "--set", given, "--budget", 2, "--start-from=-tanh(2 * x) * v1^2")
    assert evonas(*call)[0] == 0
    with Archive.open(RunFolder(run).archive_file, read_only=True) as archive:
        proposed = [([p for p, _ in c.screened_out] + [c.proposal])[0] for c, _ in archive.records(screened_out=True)]
    assert [proposal.genome.active().to_text() for proposal in proposed] == [
        "a = max(x, zero); b = std[hw](x); div(a, b)",
        "a = add(x, x); b = tanh(a); c = square(v1); d = mul(b, c); neg(d)",
    ]


def test_a_run_without_scores_is_nothing_to_start_from(tmp_path: Path, evonas: Callable[..., Outcome]) -> None:
    empty = create_run(tmp_path / "empty", config.load_search(TINY)).path
    call = ("search", TINY, "--run", tmp_path / "run")
    assert_one_line(
        evonas(*call, "--start-from", empty), ["--start-from", str(empty), "no layer of the run has scores yet"]
    )
    assert_one_line(evonas(*call, "--start-from", tmp_path), ["--start-from", str(tmp_path), "holds no run"])
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]
