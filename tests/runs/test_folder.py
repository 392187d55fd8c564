"""Run folders: whole or not there, held by one driver, and refused in one line when they are not what is expected.

What results were made with stays: the oracle is the bytes of every file before.
"""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evonas import config
from evonas.errors import InputError
from evonas.runs import folder as module
from evonas.runs.folder import RunFolder, is_driven, locked, working_folder
from evonas.runs.store import Key, Outcome, Store, totals
from evonas.search import start
from evonas.search.start import create_run

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"


def test_a_new_run_has_configuration_environment_and_archive(tmp_path: Path) -> None:
    settings = config.load_search(TINY, ["evolution.window=7"])
    run = create_run(tmp_path / "deep" / "run", settings)
    assert run.exists
    assert run.require() == run
    assert run.config() == settings
    assert "torch" in (run.path / "environment.json").read_text()
    assert sorted(p.name for p in run.path.iterdir()) == ["archive.sqlite", "config.toml", "environment.json"]


def test_an_existing_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", config.load_search(TINY))
    before = {p.name: p.read_bytes() for p in run.path.iterdir()}
    with pytest.raises(InputError, match=r"already exists.*--resume"):
        create_run(tmp_path / "run", config.load_search(TINY))
    assert {p.name: p.read_bytes() for p in run.path.iterdir()} == before


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years of work")
    with pytest.raises(InputError, match="not empty"):
        create_run(tmp_path, config.load_search(TINY))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_nothing_half_written_stays_when_creation_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(start.Archive, "create", fail)
    with pytest.raises(OSError, match="disk full"):
        create_run(tmp_path / "run", config.load_search(TINY))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_without_a_run_is_named_with_the_remedy(tmp_path: Path, make: bool) -> None:
    path = tmp_path / "run"
    if make:
        path.mkdir()
    with pytest.raises(InputError, match=r"(no such folder|holds no run).*evonas search FILE.toml --run"):
        RunFolder(path).require()


def test_a_second_driver_is_refused_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    run = create_run(tmp_path / "run", config.load_search(TINY))
    script = (
        "import sys; from pathlib import Path; from evonas.runs.folder import RunFolder, locked\n"
        "with locked(RunFolder(Path(sys.argv[1]))):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    environment = os.environ | {"PYTHONPATH": str(TINY.parents[1])}
    command = [sys.executable, "-c", script, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="another process"), locked(run):
            pass
        other.kill()
    with locked(run):
        pass


def without_locks(*_: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def test_where_there_are_no_locks_the_file_says_who_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", without_locks)
    run = RunFolder(tmp_path)
    assert not is_driven(run)
    with locked(run):
        assert is_driven(run)
        with pytest.raises(InputError, match="another process"), locked(run):
            pass
    assert not is_driven(run)
    (tmp_path / "lock").write_text(json.dumps({"host": socket.gethostname(), "process": 2**22 + 1}))
    with locked(run):
        pass


def test_a_driver_on_another_machine_is_seen_until_it_is_silent(tmp_path: Path) -> None:
    run, file = RunFolder(tmp_path), tmp_path / "lock"
    file.write_text(json.dumps({"host": "elsewhere", "process": 1}))
    assert is_driven(run)
    with pytest.raises(InputError, match=r"another process is driving this run; .*60 s, if it was killed"), locked(run):
        pass
    os.utime(file, (time.time() - 61,) * 2)
    assert not is_driven(run)
    with locked(run):
        assert json.loads(file.read_text())["host"] == socket.gethostname()
    assert file.read_text() == ""


@pytest.mark.parametrize("content", ["", "[]", "{", '{"host": 1}', "\0"])
def test_a_lock_file_with_anything_else_in_it_holds_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "lock").write_text(content)
    with locked(RunFolder(tmp_path)):
        pass


def test_drafts_of_killed_processes_are_deleted(tmp_path: Path) -> None:
    old, other = tmp_path / f".run.{2**22 + 1}.new", tmp_path / f".run.{os.getpid()}.new"
    theirs = tmp_path / f".another.{2**22 + 1}.new"
    for folder in (old, theirs):
        folder.mkdir()
    create_run(tmp_path / "run", config.load_search(TINY))
    assert sorted(tmp_path.iterdir()) == [theirs, tmp_path / "run"]
    assert not other.exists()


def worked(folder: Path, settings: str, *, resume: bool = True) -> None:
    with working_folder(folder, "results.sqlite", settings, resume=resume) as file:
        file.touch()


@pytest.mark.parametrize("there", [False, True])
def test_wrong_input_leaves_a_folder_as_it_was_until_there_are_results(tmp_path: Path, there: bool) -> None:
    folder, thesis = tmp_path / "run", tmp_path / "run" / "thesis.tex"
    if there:
        folder.mkdir()
        thesis.write_text("ten years of work")

    def work(*, results: int, resume: bool = False) -> None:
        with working_folder(folder, "results.sqlite", "", resume=resume) as file, Store.open(file) as store:
            (folder / "maps").mkdir(exist_ok=True)
            for number in range(results):
                store.record(Key(f"{number}"), Outcome({}))
            raise InputError("data.path", "no such file")

    with pytest.raises(InputError):
        work(results=0)
    assert list(tmp_path.rglob("*")) == ([folder, thesis] if there else [])
    with pytest.raises(InputError):
        work(results=2)
    with pytest.raises(InputError):
        work(results=0, resume=True)
    assert totals(folder / "results.sqlite").count == 2
    assert (folder / "config.toml").exists()


def settings_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.suffix in {".toml", ".json"}}


def test_what_earlier_results_were_made_with_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"torch": "1", "command": "first"}
    monkeypatch.setattr(module, "environment", lambda: dict(there))
    worked(tmp_path, "seeds = [1]\n", resume=False)
    first = settings_of(tmp_path)
    assert sorted(first) == ["config.toml", "environment.json"]
    there["command"] = "again"
    worked(tmp_path, "seeds = [1]\n")
    assert settings_of(tmp_path) == first  # nothing changed but what was typed
    there["command"] = "more"
    worked(tmp_path, "seeds = [1, 2]\n")
    second = settings_of(tmp_path)
    assert second.pop("config.1.toml") == first["config.toml"]
    assert second.pop("environment.1.json") == first["environment.json"]
    assert second == {"config.toml": "seeds = [1, 2]\n", "environment.json": json.dumps(there, indent=2) + "\n"}
    there["torch"] = "2"
    worked(tmp_path, "seeds = [1, 2]\n")
    third = settings_of(tmp_path)
    assert (third["config.2.toml"], third["environment.2.json"]) == (second["config.toml"], second["environment.json"])
    assert third["config.1.toml"] == first["config.toml"]
    assert json.loads(third["environment.json"])["torch"] == "2"
    assert len(third) == 6


def test_a_folder_without_its_environment_or_with_a_damaged_one_loses_nothing(tmp_path: Path) -> None:
    worked(tmp_path, "seeds = [1]\n", resume=False)
    (tmp_path / "environment.json").write_bytes(b"{dam\xff")
    worked(tmp_path, "seeds = [1]\n")
    assert (tmp_path / "environment.1.json").read_bytes() == b"{dam\xff"
    (tmp_path / "environment.1.json").write_text("read")
    (tmp_path / "environment.json").unlink()
    worked(tmp_path, "seeds = [1]\n")
    assert "environment.json" in settings_of(tmp_path)
    assert settings_of(tmp_path)["config.2.toml"] == "seeds = [1]\n"


def test_a_failure_half_way_leaves_the_earlier_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worked(tmp_path, "seeds = [1]\n", resume=False)
    replace, written = os.replace, []

    def fail(unfinished: Path, path: Path) -> None:
        if len(written) == at:
            raise OSError("disk full")
        written.append(path)
        replace(unfinished, path)

    monkeypatch.setattr(os, "replace", fail)
    for at in range(4):
        written.clear()
        with pytest.raises(OSError, match="disk full"):
            worked(tmp_path, f"seeds = [1, {at}]\n")
        kept = [text for name, text in settings_of(tmp_path).items() if name.startswith("config")]
        assert "seeds = [1]\n" in kept


def test_a_folder_in_which_nothing_can_be_written_is_not_driven(tmp_path: Path) -> None:
    """A folder in the place of the lock: that fails whoever tries, as a file system that is read-only does."""
    (tmp_path / "lock").mkdir()

    def drive() -> None:
        with locked(RunFolder(tmp_path)):
            raise AssertionError

    with pytest.raises(InputError, match=r"cannot be written .*; copy it with evonas backup"):
        drive()
