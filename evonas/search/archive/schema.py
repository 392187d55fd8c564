"""The tables of an archive, and how an archive of an earlier format becomes one of today's.

A migration adds tables and indices and leaves rows as they are. So an archive of an earlier format can be read without
being written to: what it lacks is empty.
"""

import sqlite3
from collections.abc import Iterable, Mapping

from evonas.errors import InputError
from evonas.runs.database import tables_of, transaction
from evonas.search.outcome import one_line

FORMAT = 3
OLDEST = 2  # which is still read
_LONGEST = 10  # digits of a format

_SUBJECT = "subject TEXT PRIMARY KEY, key TEXT NOT NULL, "
TABLES: Mapping[str, str] = {
    "run": "name TEXT PRIMARY KEY, value TEXT NOT NULL",
    "candidates": "id INTEGER PRIMARY KEY, key TEXT NOT NULL, genome TEXT NOT NULL, parent INTEGER, "
    "operator TEXT NOT NULL, fingerprint TEXT NOT NULL",
    "evaluations": _SUBJECT + "seed INTEGER NOT NULL, steps INTEGER NOT NULL, objectives TEXT, traces TEXT NOT NULL",
    "rejections": _SUBJECT + "stage TEXT NOT NULL, reason TEXT NOT NULL, task TEXT NOT NULL, measured REAL, "
    "lim REAL, detail TEXT NOT NULL",
    "rungs": "subject TEXT NOT NULL, task TEXT NOT NULL, steps INTEGER NOT NULL, score REAL NOT NULL, "
    "PRIMARY KEY (subject, task, steps)",
    "extras": "subject TEXT NOT NULL, objective TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (subject, objective)",
    "screened_out": "candidate INTEGER NOT NULL, attempt INTEGER NOT NULL, genome TEXT NOT NULL, parent INTEGER, "
    "operator TEXT NOT NULL, PRIMARY KEY (candidate, attempt)",
    "timings": "subject TEXT PRIMARY KEY, told REAL NOT NULL, seconds REAL NOT NULL, compiled TEXT NOT NULL",
    "events": "id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL",
    "rates": "subject TEXT NOT NULL, task TEXT NOT NULL, rate REAL NOT NULL, PRIMARY KEY (subject, task)",
    "origins": "subject TEXT PRIMARY KEY, id TEXT NOT NULL, proposer TEXT NOT NULL, note TEXT NOT NULL",
    "measurements": "position INTEGER PRIMARY KEY, round INTEGER NOT NULL, candidate INTEGER, key TEXT NOT NULL, "
    "genome TEXT NOT NULL, conditions TEXT NOT NULL",
    "predictions": "candidate INTEGER PRIMARY KEY, mean REAL NOT NULL, deviation REAL NOT NULL, "
    "improvement REAL NOT NULL",
    "screened_counts": "candidate INTEGER NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, "
    "count INTEGER NOT NULL, PRIMARY KEY (candidate, stage, reason)",
}
_OF_FORMAT_3 = ("rates", "origins", "measurements", "predictions", "screened_counts")
_OPTIONS = {"screened_out": "STRICT, WITHOUT ROWID"}
_BY_FINGERPRINT = "CREATE INDEX candidates_by_fingerprint ON candidates (fingerprint)"


def _of_format_3(connection: sqlite3.Connection) -> None:
    """Tables that came one by one while the format was 2, and an index of what layers compute."""
    _add_tables(connection, _OF_FORMAT_3)
    connection.execute(_BY_FINGERPRINT)


MIGRATIONS = {2: _of_format_3}  # by the format that they start from; each leads to the next


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty archive."""
    with transaction(connection):
        _add_tables(connection, TABLES)
        connection.execute(_BY_FINGERPRINT)
        connection.execute("INSERT INTO run VALUES ('format', ?)", (str(FORMAT),))


def migrate(connection: sqlite3.Connection, found: int) -> None:
    """Make an archive of an earlier format one of today's, whole or not at all."""
    if found == FORMAT:
        return
    with transaction(connection):
        for number in range(found, FORMAT):
            MIGRATIONS[number](connection)
        connection.execute("UPDATE run SET value = ? WHERE name = 'format'", (str(FORMAT),))


def complete_for_reading(connection: sqlite3.Connection, found: int) -> None:
    """Let a connection that only reads find the tables that came after a format; they are empty, and gone with it."""
    if found < FORMAT:
        _add_tables(connection, _OF_FORMAT_3, "TEMP ")


def require_format(connection: sqlite3.Connection, where: str) -> int:
    """The format of an archive.

    Raises:
        InputError: it is one that is not known here.
        sqlite3.Error: the file is no archive.
    """
    row = connection.execute("SELECT value FROM run WHERE name = 'format'").fetchone()
    found = "" if row is None else str(row[0])
    number = int(found) if found.isdecimal() and len(found) < _LONGEST else 0
    if not OLDEST <= number <= FORMAT:
        remedy = "a later version of evonas wrote it: install that" if number > FORMAT else ""
        said = one_line(found[:_LONGEST]) or "none"
        raise InputError(where, f"archive format {said}", accepted=f"{OLDEST} to {FORMAT}", remedy=remedy)
    return number


def _add_tables(connection: sqlite3.Connection, names: Iterable[str], kind: str = "") -> None:
    """Those of some tables that are missing."""
    there = tables_of(connection)
    for name in names:
        if name not in there:
            connection.execute(f"CREATE {kind}TABLE {name} ({TABLES[name]}) {_OPTIONS.get(name, 'STRICT')}")
