"""Whether an archive holds what it should: pages, rows, order, and that every row belongs to something."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from evonas.errors import InputError, first_line
from evonas.registry import UnknownNameError
from evonas.search.archive import opening, reading
from evonas.search.archive.damage import UNREADABLE, DamagedError
from evonas.search.outcome import one_line

MOST = 100  # faults that are told
_SOME = 10  # lines that SQLite says of damaged pages

# by table, the rows that belong to nothing: each query gives the names of such
_NO_CANDIDATE = "NOT EXISTS (SELECT 1 FROM candidates WHERE id = {})"
_NO_CANDIDATE_OF_SUBJECT = (
    "NOT EXISTS (SELECT 1 FROM candidates WHERE id = CAST(subject AS INTEGER) AND subject = CAST(id AS TEXT))"
)
_NO_EVALUATION = "NOT EXISTS (SELECT 1 FROM evaluations WHERE evaluations.subject = {0}.subject)"
_NOT_SCREENED_OUT = (
    "subject LIKE '%/%' AND NOT EXISTS (SELECT 1 FROM screened_out WHERE "
    "candidate = CAST(substr(subject, 1, instr(subject, '/') - 1) AS INTEGER) "
    "AND attempt = CAST(substr(subject, instr(subject, '/') + 1) AS INTEGER))"
)
_ORPHANS = {
    "evaluations": "SELECT subject FROM evaluations WHERE CASE WHEN subject GLOB 'baseline:*' THEN 0 "
    "WHEN subject GLOB 'measurement:*' THEN "
    "NOT EXISTS (SELECT 1 FROM measurements WHERE position = CAST(substr(subject, 13) AS INTEGER)) "
    f"ELSE {_NO_CANDIDATE_OF_SUBJECT} END",
    **{
        table: f"SELECT subject FROM {table} WHERE {_NO_EVALUATION.format(table)}"
        for table in ("timings", "rungs", "extras", "rates")
    },
    "rejections": "SELECT subject FROM rejections WHERE CASE WHEN subject LIKE '%/%' "
    f"THEN {_NOT_SCREENED_OUT} ELSE {_NO_EVALUATION.format('rejections')} END",
    "origins": f"SELECT subject FROM origins WHERE CASE WHEN subject LIKE '%/%' THEN {_NOT_SCREENED_OUT} "
    f"ELSE {_NO_CANDIDATE_OF_SUBJECT} END",
    "predictions": f"SELECT candidate FROM predictions WHERE {_NO_CANDIDATE.format('candidate')}",
    "screened_out": f"SELECT candidate || '/' || attempt FROM screened_out WHERE {_NO_CANDIDATE.format('candidate')} "
    "OR NOT EXISTS (SELECT 1 FROM rejections WHERE subject = candidate || '/' || attempt)",
    "screened_counts": f"SELECT candidate FROM screened_counts WHERE {_NO_CANDIDATE.format('candidate')}",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """What an archive holds, and what is wrong with it.

    Attributes:
        candidates: how many are recorded; None if that cannot be read.
        baselines: the same.
        measurements: the same.
        screened_out: the same, of the proposals that are kept.
        faults: what is not as it should be, a line each; none if the archive is whole.
    """

    candidates: int | None
    baselines: int | None
    measurements: int | None
    screened_out: int | None
    faults: tuple[str, ...]


def check(path: Path) -> Checked:
    """Look at every page and every row of an archive, which may be written meanwhile.

    Raises:
        InputError: there is no archive, it is of an unknown format, or a layer needs an extension that is not loaded.
    """
    try:
        opened = opening.for_reading(path)
    except DamagedError as error:
        return Checked(None, None, None, None, (error.found,))
    with closing(opened) as db:
        try:
            db.execute("BEGIN")  # all of it as it is at this moment
            candidates, baselines, measured, out = (_count(db, *query) for query in _COUNTS)
            faults = list(islice(_faults(db), MOST + 1))
            if len(faults) > MOST:
                faults[MOST] = "and more"
            return Checked(candidates, baselines, measured, out, tuple(faults))
        except sqlite3.Error as error:
            return Checked(None, None, None, None, (f"it cannot be read: {_said(error)}",))


_COUNTS = (
    ("candidates", ""),
    ("evaluations", "WHERE subject GLOB 'baseline:*'"),
    ("measurements", ""),
    ("screened_out", ""),
)


def _count(db: sqlite3.Connection, table: str, where: str) -> int | None:
    try:
        return int(db.execute(f"SELECT count(*) FROM {table} {where}").fetchone()[0])
    except sqlite3.Error:
        return None


def _faults(db: sqlite3.Connection) -> Iterator[str]:
    for part in (_of_pages, _of_order, _of_baselines, _of_candidates, _of_measurements, _of_proposals, _of_owners):
        try:
            yield from part(db)
        except UnknownNameError:
            raise
        except UNREADABLE as error:  # what comes behind it in this part cannot be told
            yield f"{(part.__doc__ or '').lower().rstrip('.')}: {_said(error)}"


def _of_pages(db: sqlite3.Connection) -> Iterator[str]:
    """Pages."""
    for (line,) in db.execute(f"PRAGMA integrity_check({_SOME})"):
        if line != "ok":
            yield from (f"pages: {each}" for each in str(line).splitlines() if not each.startswith("***"))


def _of_order(db: sqlite3.Connection) -> Iterator[str]:
    """Order."""
    expected = 0
    for (index,) in db.execute("SELECT id FROM candidates ORDER BY id"):
        if index != expected:
            yield f"order: candidate {expected} is followed by {index}" if expected else f"order: it begins at {index}"
            return
        expected += 1
    total = expected + len(positions := [position for (position,) in db.execute("SELECT position FROM measurements")])
    if strange := [position for position in positions if not 0 <= position < total]:
        yield f"order: a measurement at place {strange[0]} of {total}"
    query = "SELECT id, parent FROM candidates WHERE parent IS NOT NULL AND (parent < 0 OR parent >= id)"
    yield from (f"candidate {index}: its parent is {parent}" for index, parent in db.execute(query))


def _of_baselines(db: sqlite3.Connection) -> Iterator[str]:
    """Baselines."""
    for (subject,) in db.execute("SELECT subject FROM evaluations WHERE subject GLOB 'baseline:*'").fetchall():
        yield from _of_evaluations(db, {subject: None})


def _of_candidates(db: sqlite3.Connection) -> Iterator[str]:
    """Candidates."""
    last = -(2**63)
    query = "SELECT id, key, genome FROM candidates WHERE id > ? ORDER BY id LIMIT ?"
    while rows := db.execute(query, (last, reading.PORTION)).fetchall():
        last = rows[-1][0]
        for index, key, text in rows:
            yield from _of_layer(f"candidate {index}", key, text)
        yield from _of_evaluations(db, {str(index): key for index, key, _ in rows})


def _of_measurements(db: sqlite3.Connection) -> Iterator[str]:
    """Measurements."""
    for position, key, text in db.execute(
        "SELECT position, key, genome FROM measurements ORDER BY position"
    ).fetchall():
        yield from _of_layer(f"measurement {position}", key, text)
        yield from _of_evaluations(db, {f"measurement:{position}": key})


def _of_proposals(db: sqlite3.Connection) -> Iterator[str]:
    """Proposals that were screened out."""
    query = (
        "SELECT subject, key, genome FROM screened_out CROSS JOIN rejections "
        "ON subject = candidate || '/' || attempt ORDER BY candidate, attempt"
    )
    for subject, key, text in db.execute(query):
        yield from _of_layer(f"proposal {subject}", key, text)


def _of_owners(db: sqlite3.Connection) -> Iterator[str]:
    """Rows that belong to nothing."""
    for table, query in _ORPHANS.items():
        found = [str(name) for (name,) in db.execute(f"{query} LIMIT {_SOME + 1}")]
        if found:
            more = ", ..." if len(found) > _SOME else ""
            yield one_line(f"{table}: rows that belong to nothing: {', '.join(found[:_SOME])}{more}")


def _of_layer(what: str, key: str, text: str) -> Iterator[str]:
    """Whether a text is a layer, and that of the key it is recorded with."""
    try:
        found = reading.layer_of(text).key
    except UnknownNameError:
        raise
    except UNREADABLE as error:
        yield f"{what}: {_said(error)}"
        return
    if found != key:
        yield one_line(f"{what}: its layer has the key {found}, and {key} is recorded")


def _of_evaluations(db: sqlite3.Connection, keys: dict[str, str | None]) -> Iterator[str]:
    """Whether subjects have evaluations of their keys that can be read; those at fault are found one by one."""
    try:
        found = reading.evaluations(db, list(keys))
    except UNREADABLE as error:
        if len(keys) == 1:
            yield f"{_name(*keys)}: {_said(error)}"
            return
        for subject, key in keys.items():
            yield from _of_evaluations(db, {subject: key})
        return
    for subject, key in keys.items():
        if key is not None and found[subject].key != key:
            yield one_line(f"{_name(subject)}: its evaluation is of {found[subject].key}, and its layer is {key}")


def _name(subject: str) -> str:
    return f"candidate {subject}" if subject.isdecimal() else subject.replace(":", " ")


def _said(error: Exception) -> str:
    known = isinstance(error, InputError | sqlite3.Error)
    return one_line(first_line(error) if known else f"{type(error).__name__}: {first_line(error)}")
