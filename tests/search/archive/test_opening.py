"""Opening what cannot be opened. Oracle: one line that says why, and files that stay as they are."""

import shutil
from pathlib import Path

import pytest
from archives import files_of
from told import SCORED, candidate

from evonas.errors import InputError
from evonas.search.archive import Archive

GARBAGE = b"not a database, but long enough to look like a file of something" * 9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "archive.sqlite"
    with Archive.create(path) as archive:
        archive.record(candidate(0), SCORED)
    return path


@pytest.mark.parametrize("content", [b"", GARBAGE])
@pytest.mark.parametrize("read_only", [True, False])
def test_what_is_no_archive_is_refused_in_one_line(path: Path, content: bytes, read_only: bool) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not an archive") as caught:
        Archive.open(path, read_only=read_only)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("read_only", [True, False])
def test_a_missing_archive_says_so_and_none_is_made(tmp_path: Path, read_only: bool) -> None:
    with pytest.raises(InputError, match="no such file"):
        Archive.open(tmp_path / "nothing.sqlite", read_only=read_only)
    assert [*tmp_path.iterdir()] == []


def test_an_archive_is_one_file_before_and_after_it_is_read(path: Path) -> None:
    assert files_of(path) == ["archive.sqlite"]
    before = path.read_bytes()
    with Archive.open(path, read_only=True) as archive:
        assert archive.told() == 1
    assert (files_of(path), path.read_bytes()) == (["archive.sqlite"], before)


def test_a_log_that_cannot_be_read_says_what_to_copy(path: Path) -> None:
    """Where SQLite would make its index of the log stands a link to nowhere, as in a folder that is read-only."""
    copy = path.parent / "copy" / path.name
    copy.parent.mkdir()
    with Archive.open(path) as archive:
        archive.record(candidate(1), SCORED)
        for name in ("archive.sqlite", "archive.sqlite-wal"):
            shutil.copy(path.with_name(name), copy.parent)
    index = copy.with_name("archive.sqlite-shm")
    index.symlink_to("nowhere/at/all")
    with pytest.raises(InputError, match=r"latest results are in archive\.sqlite-wal") as caught:
        Archive.open(copy, read_only=True)
    assert "\n" not in str(caught.value)
    index.unlink()
    with Archive.open(copy, read_only=True) as archive:
        assert archive.told() == 2


@pytest.mark.parametrize(("every", "least"), [(0.0, 30), (1e9, 12)])
def test_the_latest_results_are_in_the_file_itself_soon(
    path: Path, monkeypatch: pytest.MonkeyPatch, every: float, least: int
) -> None:
    """A plain copy of the one file of a run that was killed has them, but for the last seconds and the last pages."""
    monkeypatch.setattr("evonas.search.archive.archive.IN_FILE_EVERY", every)
    copy = path.with_name("copy.sqlite")
    with Archive.open(path) as archive:
        for index in range(1, 30):
            archive.record(candidate(index), SCORED)
        shutil.copy(path, copy)
    with Archive.open(copy, read_only=True) as found:
        assert least <= found.told() <= 30
    assert files_of(copy) == ["copy.sqlite"]


def test_what_cannot_be_written_now_is_said_in_one_line_and_not_written(path: Path) -> None:
    with Archive.open(path) as archive, Archive.open(path) as other:
        archive._db.execute("BEGIN EXCLUSIVE")
        other._db.execute("PRAGMA busy_timeout = 0")
        with pytest.raises(InputError, match=r"cannot be written .*locked") as caught:
            other.record(candidate(1), SCORED)
        assert "\n" not in str(caught.value)
        archive._db.rollback()
        assert other.told() == 1
        other.record(candidate(1), SCORED)
    assert files_of(path) == ["archive.sqlite"]
