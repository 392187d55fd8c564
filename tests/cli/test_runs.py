"""``evonas runs``. Oracles: what was done to each folder, and sums over its records."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from evonas import config
from evonas.interface.overview import find_runs
from evonas.runs.folder import RunFolder, locked, working_folder
from evonas.runs.interrupt import RunInterruptedError
from evonas.runs.store import RESULTS, Key, Outcome, Store
from evonas.search.archive import Archive
from evonas.search.driver import Ending
from evonas.search.ranking import ranking
from evonas.search.start import create_run

SETTINGS = config.load_search(Path(__file__).parents[2] / "search_spaces" / "tiny.toml")
EVALUATION = 'name = "matrix"\ntasks = []\n[training]\nsteps = 3\n[execution]\nthreads = 2\n'


def search(folder: Path, ended: Ending | None, error: BaseException | None = None) -> None:
    """A search that was begun, and how its session ended."""
    run = create_run(folder, SETTINGS)
    with suppress(BaseException), locked(run), Archive.open(run.archive_file) as archive:
        archive.event("started")
        if ended is not None:
            archive.event("stopped", ended.value)
        if error is not None:
            raise error


def results(folder: Path, error: BaseException | None = None, settings: str = EVALUATION) -> None:
    """Three results of an evaluation or a study, reported unless something came in between."""
    with (
        suppress(BaseException),
        working_folder(folder, RESULTS, settings, resume=False) as file,
        Store.open(file) as store,
    ):
        for number in range(3):
            store.record(Key(str(number)), Outcome({}, seconds=600.0))
        if error is not None:
            raise error
        layers = [(0.5, "tanh(x)", False), (0.75, "x", True), (0.625, "x / std[ghw](x)", False)]
        names = ("mean", "formula", "baseline")
        rows = [dict(zip(names, ({"mean": mean}, *rest), strict=True)) for mean, *rest in layers]
        (folder / "results.json").write_text(json.dumps({"layers": rows} if "tasks" in settings else {}))


def states(root: Path) -> dict[str, str]:
    return {run.folder.name: run.state for run in find_runs(root)}


def test_kept_results_are_listed_only_where_they_are_asked_for(tmp_path: Path, evonas: Callable[..., Any]) -> None:
    search(tmp_path / "mine", Ending.BUDGET)
    search(tmp_path / "kept" / "theirs", Ending.BUDGET)
    assert list(states(tmp_path)) == ["mine"]
    assert list(states(tmp_path / "kept")) == ["theirs"]
    assert f"for kept results: evonas runs {tmp_path / 'kept'}" in " ".join(evonas("runs", tmp_path)[1].split())


def test_a_search_is_summed_up(finished: Path, evonas: Callable[..., Any]) -> None:
    status, out, err = evonas("runs", finished.parent, "--json")
    assert status == 0, err
    (run,) = [run for run in json.loads(out) if run["folder"] == str(finished)]
    with closing(sqlite3.connect(f"{(finished / 'archive.sqlite').as_uri()}?mode=ro", uri=True)) as archive:
        ((seconds,),) = archive.execute("SELECT sum(seconds) FROM timings")
        ((count,),) = archive.execute("SELECT count(*) FROM candidates")
    best = ranking(RunFolder(finished))[0]
    assert (run["kind"], run["state"], run["evaluations"]) == ("search", "finished", count)
    assert (run["score"], run["formula"]) == (best.evaluation.mean, best.formula)
    assert run["core_hours"] == pytest.approx(SETTINGS.execution.threads * seconds / 3600)
    assert run["problem"] == ""


def test_the_state_of_a_search_is_how_its_last_session_ended(tmp_path: Path) -> None:
    search(tmp_path / "finished", Ending.BUDGET)
    search(tmp_path / "interrupted", Ending.INTERRUPTED)
    search(tmp_path / "failed", None, RuntimeError("disk full"))
    search(tmp_path / "killed", None)
    log = tmp_path / "killed" / "log.txt"
    log.write_text("".join(line for line in log.read_text().splitlines(True) if "ended" not in line))
    search(tmp_path / "stopped", None)
    (tmp_path / "stopped" / "log.txt").unlink()  # of an earlier version, which had none
    search(tmp_path / "running", None)
    with locked(RunFolder(tmp_path / "running")):
        assert states(tmp_path) == {path.name: path.name for path in tmp_path.iterdir()}
    with locked(RunFolder(tmp_path / "running")):  # looking at it took nothing away
        pass


def test_evaluations_and_studies_are_finished_once_they_are_reported(tmp_path: Path) -> None:
    results(tmp_path / "finished")
    results(tmp_path / "interrupted", RunInterruptedError())
    results(tmp_path / "failed", OSError("disk full"))
    results(tmp_path / "study", settings='name = "sweep"\n')
    found = {run.folder.name: run for run in find_runs(tmp_path)}
    assert {name: run.state for name, run in found.items()} == {
        **{name: name for name in ("finished", "interrupted", "failed")},
        "study": "finished",
    }
    assert {run.kind for name, run in found.items() if name != "study"} == {"evaluation"}
    assert found["study"].kind == "study"
    assert [run.evaluations for run in found.values()] == [3] * 4
    assert found["finished"].core_hours == pytest.approx(3 * 600 * 2 / 3600)
    assert (found["finished"].score, found["finished"].formula) == (0.625, "x / std[ghw](x)")
    assert found["interrupted"].score is None


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("archive.sqlite", b"no database", "not an archive"),
        ("archive.sqlite", b"", "not an archive"),
        ("config.toml", b"= 3", "config.toml: is not TOML (Invalid statement"),
        ("config.toml", b"\xff", "config.toml: is not TOML: it is not UTF-8"),
        ("config.toml", None, "config.toml"),
        ("archive.sqlite", None, "records are not here"),
    ],
)
def test_a_broken_run_says_so_in_its_row_and_hides_no_other(
    name: str, content: bytes | None, word: str, finished: Path, tmp_path: Path, evonas: Callable[..., Any]
) -> None:
    for run in ("broken", "whole"):
        shutil.copytree(finished, tmp_path / "deep" / run)
    file = tmp_path / "deep" / "broken" / name
    file.unlink()
    for rest in ("-wal", "-shm"):
        Path(f"{file}{rest}").unlink(missing_ok=True)
    if content is not None:
        file.write_bytes(content)
    found = {run.folder.name: run for run in find_runs(tmp_path)}
    assert word in found["broken"].problem
    assert (found["whole"].state, found["whole"].problem) == ("finished", "")
    status, out, err = evonas("runs", tmp_path)
    assert status == 0, err
    assert word.split()[0] in out


@pytest.mark.parametrize("report", ["{", "[]", '{"layers": [{}]}', '{"layers": 3}'])
def test_a_broken_report_says_so(report: str, tmp_path: Path) -> None:
    results(tmp_path / "run")
    (tmp_path / "run" / "results.json").write_text(report)
    (run,) = find_runs(tmp_path)
    assert ("results.json: is not JSON" if report == "{" else "cannot be read") in run.problem
    assert (run.kind, run.state, run.evaluations) == ("evaluation", "finished", 3)


def test_a_folder_without_runs_or_none_at_all(tmp_path: Path, evonas: Callable[..., Any]) -> None:
    assert "no runs in" in evonas("runs", tmp_path)[1]
    status, _, err = evonas("runs", tmp_path / "nowhere")
    assert (status, "no such folder" in err) == (2, True)


def test_in_eighty_columns_formulas_have_lines_of_their_own(
    finished: Path, evonas: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evonas.cli.terminal.FILE_WIDTH", 60)
    out = evonas("top", finished, "--all")[1]
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    for entry in ranking(RunFolder(finished)):
        assert any(entry.name in line and entry.formula in line for line in lines), entry.formula
    assert any("#1" in line and f"{ranking(RunFolder(finished))[0].evaluation.mean:.4f}" in line for line in lines)
