"""``evonas verify`` and ``backup``. Oracles: what was done to a run, and the run that nothing happened to."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archives import changed, files_of, same_content

from evonas.graph.catalogue import CATALOGUE
from evonas.runs.folder import RunFolder, locked
from evonas.search import inbox
from evonas.search.archive import Archive
from evonas.search.outcome import Origin

Evonas = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(finished, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_a_finished_run_is_one_file_and_whole(run: RunFolder, evonas: Evonas) -> None:
    before = run.archive_file.read_bytes()
    status, out, err = evonas("verify", run.path, "--replay")
    assert (status, err) == (0, "")
    assert "candidates drawn again, equal" in out
    assert out.splitlines()[-1] == "whole"
    assert "note" not in out
    for verb in ("top", "state", "runs"):
        assert evonas(verb, run.path)[0] == 0
    assert evonas("show", f"{run.path}#1")[0] == 0
    assert (files_of(run.archive_file), run.archive_file.read_bytes()) == (["archive.sqlite"], before)


def test_json_says_what_is_recorded_and_what_is_wrong(run: RunFolder, evonas: Evonas) -> None:
    with Archive.open(run.archive_file, read_only=True) as archive:
        told = archive.told()
    status, out, _ = evonas("verify", run.path, "--json")
    found = json.loads(out)
    assert (status, found["format"], found["whole"], found["redrawn"]) == (0, "evonas-verify/1", True, None)
    assert found["recorded"]["candidates"] == told
    changed(run, "DELETE FROM timings WHERE subject = '2'")
    status, out, _ = evonas("verify", run.path, "--json", "--replay")
    found = json.loads(out)
    assert (status, found["whole"], found["faults"]) == (1, False, ["candidate 2: LookupError: no evaluation of 2"])


def test_a_record_that_a_search_would_not_make_is_found_by_drawing_it_again(run: RunFolder, evonas: Evonas) -> None:
    changed(run, "UPDATE candidates SET operator = 'by hand' WHERE id = 2")
    assert evonas("verify", run.path)[0] == 0
    status, out, _ = evonas("verify", run.path, "--replay")
    assert status == 1
    assert "fault: drawn again: candidate 2: its parent differs" in out


def test_what_lies_in_the_folder_besides_is_said_and_is_no_fault(run: RunFolder, evonas: Evonas) -> None:
    gone, here = ended_process(), os.getpid()
    (run.path / "notes.txt").write_text("mine")
    (run.path / f".config.toml.{gone}.new").write_text("")
    (run.path / f".config.toml.{here}.new").write_text("")
    run.path.with_name(f".run.{gone}.new").mkdir()
    inbox.put(run.inbox_folder, [(CATALOGUE["evonorm-s0"], Origin("me"))])
    status, out, _ = evonas("verify", run.path)
    notes = [line.removeprefix("note: ") for line in out.splitlines() if line.startswith("note: ")]
    assert status == 0
    assert notes[:2] == ["notes.txt: unknown here", "inbox: 1 proposal waits"]
    assert {line.partition(": left behind")[0] for line in notes[2:]} == {
        str(run.path / f".config.toml.{gone}.new"),
        str(run.path.with_name(f".run.{gone}.new")),
    }


@pytest.mark.parametrize("content", [b"", b"no database at all, but of some length" * 9])
def test_an_archive_that_is_none_is_not_whole(run: RunFolder, evonas: Evonas, content: bytes) -> None:
    run.archive_file.write_bytes(content)
    status, out, err = evonas("verify", run.path)
    assert (status, err) == (1, "")
    assert "fault: is not an archive of evonas" in out
    status, _, err = evonas("backup", run.path, run.path.with_name("saved"), "--salvage")
    assert status == 2
    assert err.count("\n") == 1
    assert sorted(path.name for path in run.path.parent.iterdir()) == ["run"]


def test_what_is_no_run_or_of_a_later_version_is_wrong_input(run: RunFolder, evonas: Evonas, tmp_path: Path) -> None:
    changed(run, "UPDATE run SET value = '99' WHERE name = 'format'")
    for folder in (tmp_path / "nowhere", tmp_path, run.path):
        for arguments in (("verify", folder), ("backup", folder, tmp_path / "copy")):
            status, _, err = evonas(*arguments)
            assert (status, err.count("\n")) == (2, 1)
    assert not (tmp_path / "copy").exists()


def test_a_copy_of_a_run_that_is_driven_is_a_run(run: RunFolder, evonas: Evonas, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "copies" / "first")
    inbox.put(run.inbox_folder, [(CATALOGUE["evonorm-s0"], Origin("me"))])
    with locked(run), Archive.open(run.archive_file) as archive:
        archive.event("started", "again")  # which is in the log beside the file
        status, out, err = evonas("backup", run.path, copy.path)
        assert status == 0, err
        status, _, err = evonas("backup", run.path, tmp_path / "other", "--salvage")
        assert (status, "another process is driving" in err) == (2, True)
    assert f"evonas search --run {copy.path} --resume" in out
    assert same_content(copy.archive_file, run.archive_file)
    assert files_of(copy.archive_file) == ["archive.sqlite"]
    assert inbox.waiting(copy.inbox_folder) == inbox.waiting(run.inbox_folder)
    assert evonas("verify", copy.path)[0] == 0
    status, _, err = evonas("backup", run.path, copy.path)
    assert (status, "already exists" in err) == (2, True)


def test_what_is_saved_of_a_damaged_run_goes_on_to_where_it_was(
    finished: Path, run: RunFolder, evonas: Evonas, tmp_path: Path
) -> None:
    changed(run, "UPDATE candidates SET genome = 'x' WHERE id = 5")
    status, _, err = evonas("search", "--run", run.path, "--resume")
    assert status == 2
    assert f"evonas backup {run.path} FOLDER --salvage" in err
    saved: Any = tmp_path / "saved"
    status, out, _ = evonas("backup", run.path, saved, "--salvage")
    assert status == 0
    assert "saved 5 of 12 candidates" in out
    assert "it ends there because of candidate 5" in out
    status, _, err = evonas("search", "--run", saved, "--resume")
    assert status == 0, err
    assert same_content(saved / "archive.sqlite", finished / "archive.sqlite")
