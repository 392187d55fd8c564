"""Archives of other formats. Oracles: the bytes of the file, and what a new archive is that was told the same."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from archives import files_of, make_earlier, same_content
from told import REJECTED, SCORED, candidate

from evonas.errors import InputError
from evonas.search.archive import Archive, schema
from evonas.search.outcome import Prediction

KEPT = Path(__file__).parents[3] / "runs" / "kept" / "cifar-s-warm" / "archive.sqlite"
LATER = ("rates", "origins", "measurements", "predictions", "screened_counts")  # came while the format was 2


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive.create(tmp_path / "archive.sqlite")


def tables(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as file:
        return dict(file.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL"))


def test_an_archive_from_before_there_were_guides_is_read_and_gone_on_with(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite"
    archive.record(candidate(0), SCORED)
    archive.close()
    make_earlier(path, "predictions", "screened_counts")
    with Archive.open(path, read_only=True) as again:
        assert [c for c, _ in again.records(screened_out=True)] == [candidate(0)]
        assert again.rejection_counts() == {("structure", "no input"): 1, ("equivalence", "same"): 1}
        assert again.content()["predictions"] == []
    guided = replace(candidate(1), prediction=Prediction(1.5, 0.25, 0.5), counts={("structure", "no"): 2})
    with Archive.open(path) as again:
        again.record(guided, SCORED)
        assert [c for c, _ in again.records(screened_out=True)] == [candidate(0), guided]


def test_an_archive_from_before_there_were_several_learning_rates_opens_and_goes_on(archive: Archive) -> None:
    archive.record(candidate(0), SCORED)
    content = archive.content()
    path = archive.path
    archive.close()
    make_earlier(path, "rates")
    with Archive.open(path, read_only=True) as old:
        assert [evaluation for _, evaluation in old.records()] == [SCORED]
        assert old.content() == content
    with Archive.open(path) as old:
        old.record(candidate(1), REJECTED)
        assert [evaluation for _, evaluation in old.records()] == [SCORED, REJECTED]


def test_reading_an_archive_of_an_earlier_format_changes_nothing_and_going_on_makes_it_todays(
    archive: Archive, tmp_path: Path
) -> None:
    """One that lacks every table that came later; the same is told to it as to one that never did."""
    old, new = tmp_path / "old.sqlite", tmp_path / "archive.sqlite"
    archive.record(candidate(0), SCORED)
    archive.close()
    shutil.copy(new, old)
    make_earlier(old, *LATER)
    before = old.read_bytes()
    with Archive.open(old, read_only=True) as reader:
        assert [evaluation for _, evaluation in reader.records(screened_out=True)] == [SCORED]
        assert reader.candidate_with("print0") == 0
        assert reader.handed_in() == reader.measurements() == []
    assert (old.read_bytes(), files_of(old)) == (before, ["old.sqlite"])
    for path in (old, new):
        with Archive.open(path) as writer:
            writer.record(candidate(1), REJECTED)
    assert same_content(old, new)
    assert tables(old) == tables(new)


def test_a_kept_archive_becomes_todays_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite"
    shutil.copy(KEPT, path)
    with Archive.open(path, read_only=True) as archive:
        before, records = archive.content(), list(archive.records(screened_out=True))
    with Archive.open(path) as archive:
        assert (archive.content(), list(archive.records(screened_out=True))) == (before, records)
    assert {"candidates_by_fingerprint", *LATER, "trials"} <= set(tables(path))  # and one of an earlier version
    assert files_of(path) == ["archive.sqlite"]


def test_a_migration_that_fails_leaves_the_archive_as_it_was(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, migration = tmp_path / "archive.sqlite", schema.MIGRATIONS[2]
    archive.close()
    make_earlier(path, "rates")
    before = tables(path)

    def fail(connection: sqlite3.Connection) -> None:
        migration(connection)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setitem(schema.MIGRATIONS, 2, fail)
    with pytest.raises(InputError, match="disk is full"):
        Archive.open(path)
    assert tables(path) == before
    monkeypatch.undo()
    with Archive.open(path) as again:
        again.record(candidate(0), SCORED)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ("99", "archive format 99; accepted: 2 to 3; a later version of evonas wrote it: install that$"),
        ("1", "archive format 1; accepted: 2 to 3$"),
        ("two", "archive format two; accepted: 2 to 3$"),
        ("9" * 5000, "archive format 9"),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_an_archive_of_an_unknown_format_is_refused_and_left_alone(
    archive: Archive, tmp_path: Path, said: str, match: str, read_only: bool
) -> None:
    path = tmp_path / "archive.sqlite"
    archive.close()
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE run SET value = ? WHERE name = 'format'", (said,))
    before = tables(path)
    with pytest.raises(InputError, match=match) as caught:
        Archive.open(path, read_only=read_only)
    assert "\n" not in str(caught.value)
    assert tables(path) == before
