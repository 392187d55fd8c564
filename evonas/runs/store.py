"""Results of a study: a SQLite file that keeps, by what a result depends on, what came out."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evonas.errors import InputError

FORMAT = "evonas study 1"

_SCHEMA = """
CREATE TABLE format (name TEXT PRIMARY KEY) STRICT;
CREATE TABLE results ( -- with rowids: without, rows of more than a quarter of a page take pages of their own
    id TEXT PRIMARY KEY, spec TEXT NOT NULL, value TEXT, failure TEXT NOT NULL, seconds REAL NOT NULL,
    told REAL NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one piece of a study ended.

    Attributes:
        value: what it gave, fit for JSON; None if it failed.
        failure: why it failed; empty if it did not. A diverged training is a value, a dead worker a failure.
        seconds: time it took; not reproducible.
    """

    value: Mapping[str, Any] | None
    failure: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if (self.value is None) == (not self.failure):
            raise ValueError("give a value or a failure, exactly one of them")


class Results:
    """An open file of results. Use as a context manager.

    A result is known by its spec: the JSON of everything it depends on. So a grown grid, or one whose figures are
    drawn anew, reuses what is there, and a changed setting never does.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """A file of results, made if there is none.

        Raises:
            InputError: there is another kind of file.
        """
        connection = sqlite3.connect(path)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if not tables:
                connection.execute("PRAGMA journal_mode = WAL")
                with connection:
                    connection.executescript(_SCHEMA)
                    connection.execute("INSERT INTO format VALUES (?)", (FORMAT,))
            found = connection.execute("SELECT name FROM format").fetchone()[0] if "format" in tables else None
        except sqlite3.DatabaseError as error:
            connection.close()
            raise InputError(str(path), f"does not hold results of a study ({error})") from None
        if tables and found != FORMAT:
            connection.close()
            raise InputError(str(path), "does not hold results of a study", accepted=repr(FORMAT))
        connection.execute("PRAGMA synchronous = FULL")
        return cls(connection)

    def find(self, spec: str) -> Outcome | None:
        """What is recorded of a spec."""
        row = self._db.execute(
            "SELECT value, failure, seconds FROM results WHERE id = ?", (_identity(spec),)
        ).fetchone()
        return Outcome(json.loads(row[0]) if row[0] else None, row[1], row[2]) if row else None

    def record(self, spec: str, outcome: Outcome) -> None:
        """Write an outcome in one transaction; an earlier one of the same spec is replaced."""
        value = None if outcome.value is None else json.dumps(dict(outcome.value), allow_nan=False)
        row = (_identity(spec), spec, value, outcome.failure, outcome.seconds, time.time())
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?)", row)

    def count(self) -> int:
        """How many outcomes are recorded."""
        return int(self._db.execute("SELECT count(*) FROM results").fetchone()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()


def _identity(spec: str) -> str:
    return hashlib.sha256(spec.encode()).hexdigest()[:16]
