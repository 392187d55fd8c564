"""Archives that hold what they should not. Oracles: what was done to the file, SQLite's own check, and an archive that
nothing was done to.
"""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from archives import changed, copied, searched

from evonas.errors import InputError
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.ranking import baselines, ranking

HOSTILE = ("\x1b]0;title\x07", "[/x]", "[" * 3000, "NaN", "", "{}", '{"a": null}', "9" * 5000, "'; DROP TABLE run; --")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return searched(tmp_path_factory.mktemp("damage") / "run", 12, "racing.every=4", "racing.elites=0.5")


def looks(run: RunFolder) -> list[Callable[[], Any]]:
    """What people and programs ask an archive."""

    def asked(question: Callable[[Archive], Any]) -> Callable[[], Any]:
        def ask() -> Any:
            with Archive.open(run.archive_file, read_only=True) as archive:
                return question(archive)

        return ask

    return [
        lambda: list(ranking(run)),
        lambda: baselines(run),
        asked(lambda archive: list(archive.in_order(screened_out=True))),
        asked(lambda archive: list(archive.records(screened_out=True))),
        asked(lambda archive: (archive.rejected(3), archive.rejection_counts(), archive.handed_in())),
        asked(lambda archive: (archive.ends(), archive.compiling_counts(), archive.reused(), archive.events())),
        asked(lambda archive: (archive.told_times(), archive.last_time(), archive.evaluation_seconds())),
    ]


def failures(run: RunFolder) -> list[str]:
    """What looking at an archive says of damage; anything but one line for people is an error of the test."""
    said = []
    for look in looks(run):
        try:
            look()
        except InputError as error:
            said.append(str(error))
    assert all(line.isprintable() for line in said)
    return said


def test_damaged_bytes_are_said_in_one_line(run: RunFolder, tmp_path: Path) -> None:
    """Most bytes are of texts and numbers, which are still such afterwards."""
    rng, content, said = random.Random(0), run.archive_file.read_bytes(), list[str]()
    other = copied(run, tmp_path / "other")
    for _ in range(80):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 20, 300))):
            damaged[rng.randrange(16, len(damaged))] = rng.randrange(256)
        if rng.random() < 0.2:
            del damaged[rng.randrange(100, len(damaged)) :]
        other.archive_file.write_bytes(damaged)
        said += failures(other)
    assert any("is damaged" in line and "evonas verify" in line and "--salvage" in line for line in said)


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("candidates", "genome"),
        ("candidates", "operator"),
        ("evaluations", "objectives"),
        ("evaluations", "traces"),
        ("evaluations", "subject"),
        ("rejections", "reason"),
        ("rejections", "subject"),
        ("screened_out", "genome"),
        ("measurements", "genome"),
        ("timings", "compiled"),
        ("events", "kind"),
    ],
)
def test_hostile_texts_are_read_or_said_in_one_line(run: RunFolder, tmp_path: Path, table: str, column: str) -> None:
    other = copied(run, tmp_path / "other")
    place = "candidate = 9 AND attempt" if table == "screened_out" else "rowid"
    least = "0" if table == "screened_out" else f"(SELECT max(rowid) FROM {table})"
    for value in HOSTILE:
        shutil.copy(run.archive_file, other.archive_file)
        with closing(sqlite3.connect(other.archive_file)) as file, file:
            file.execute(f"UPDATE {table} SET {column} = ? WHERE {place} = {least}", (value,))
        failures(other)
        shutil.copy(run.archive_file, other.archive_file)
    changed(other, f"UPDATE {table} SET {column} = CAST(x'ff80' AS TEXT) WHERE {place} = {least}")
    failures(other)


def test_a_baseline_that_is_none_is_damage(run: RunFolder, tmp_path: Path) -> None:
    other = copied(run, tmp_path / "other")
    tables = ("evaluations", "timings", "rungs", "rejections")
    changed(other, *(f"UPDATE {t} SET subject = 'baseline:[/x]' WHERE subject = 'baseline:gn-relu'" for t in tables))
    assert any("is damaged (it has a baseline '[/x]'" in line for line in failures(other))


@pytest.mark.parametrize("table", ["evaluations", "timings", "candidates", "rungs", "run"])
def test_a_table_or_its_rows_that_are_missing_are_damage(run: RunFolder, tmp_path: Path, table: str) -> None:
    other = copied(run, tmp_path / "other")
    changed(other, f"DELETE FROM {table}")
    expected = {"evaluations": 3, "timings": 4, "candidates": 0, "rungs": 0, "run": len(looks(run))}
    assert len(failures(other)) >= expected[table]
    changed(other, f"DROP TABLE {table}")
    assert all("is damaged (no such table" in line or "no such table: run" in line for line in failures(other)[:1])


def test_a_damaged_archive_is_not_gone_on_with_and_stays_as_it_is(run: RunFolder, tmp_path: Path) -> None:
    other = copied(run, tmp_path / "other")
    content = bytearray(other.archive_file.read_bytes())
    page = 4096
    for first in range(page * 3, len(content), page * 4):  # the heads of some pages
        content[first : first + 8] = b"\xff" * 8
    other.archive_file.write_bytes(content)
    with closing(sqlite3.connect(other.archive_file)) as file, pytest.raises(sqlite3.DatabaseError, match="malformed"):
        file.execute("PRAGMA integrity_check").fetchall()
    with pytest.raises(InputError, match=r"is damaged .*--salvage"):
        Archive.open(other.archive_file)
    assert other.archive_file.read_bytes() == bytes(content)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM candidates WHERE id = 7", "candidate 7 is missing"),
        ("UPDATE evaluations SET key = 'k' WHERE subject = '7'", "the evaluation of candidate 7 is of another layer"),
        (
            "UPDATE measurements SET candidate = 99 WHERE candidate >= 0",
            "the measurement at place 11 is of candidate 99",
        ),
    ],
)
def test_a_search_is_not_told_what_it_would_not_take(
    run: RunFolder, tmp_path: Path, statement: str, found: str
) -> None:
    other = copied(run, tmp_path / "other")
    changed(other, statement)
    with pytest.raises(InputError, match=found):
        looks(other)[2]()


def test_an_error_of_whoever_reads_is_no_damage(run: RunFolder) -> None:
    def read() -> None:
        with Archive.open(run.archive_file, read_only=True) as archive:
            for _ in archive.records():
                raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        read()
    assert not isinstance(caught.value, InputError)
