"""Results by what they were made from: one SQLite file, in which a result is never mistaken for another one's."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evonas.errors import InputError, first_line
from evonas.runs.database import WAIT, close_as_one_file, open_to_read, tables_of, transaction, write_ahead
from evonas.runs.log import LOGGER

RESULTS = "results.sqlite"  # in the folder of a run
FORMAT = "evonas results 2"

_SCHEMA = (
    "CREATE TABLE format (name TEXT PRIMARY KEY) STRICT",
    # with rowids: without, rows of more than a quarter of a page take pages of their own
    "CREATE TABLE results (id TEXT PRIMARY KEY, subject TEXT NOT NULL, family TEXT NOT NULL, spec TEXT NOT NULL, "
    "sources TEXT NOT NULL, value TEXT, failure TEXT NOT NULL, seconds REAL NOT NULL, told REAL NOT NULL) STRICT",
    "CREATE INDEX by_subject ON results (subject)",
    "CREATE INDEX by_family ON results (family)",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one job ended.

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


@dataclass(frozen=True, slots=True)
class Key:
    """What a result is known by.

    Attributes:
        spec: the JSON of the settings that it depends on.
        sources: what it was made from, by name: digests of data and of code, versions, the kind of device.
        family: results that are looked up together share one; empty if that is not needed.
    """

    spec: str
    sources: Mapping[str, str] = field(default_factory=dict)
    family: str = ""

    @property
    def identity(self) -> str:
        """A digest of settings and sources."""
        return _digest(self.spec, _json(self.sources))


class Store:
    """An open file of results. Use as a context manager; several processes may read and write at once.

    It is not for network file systems, as nothing in SQLite's WAL mode is.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db, self.path = connection, path

    @classmethod
    def open(cls, path: Path) -> Self:
        """A file of results, made if there is none.

        Raises:
            InputError: the file cannot be made, is something else, or holds results of another format.
        """
        try:
            connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
        except sqlite3.Error as error:
            raise _unusable(path, str(error)) from None
        try:
            _prepare(connection, path)
        except (sqlite3.Error, UnicodeError, TypeError) as error:
            connection.close()
            raise _unusable(path, str(error)) from None
        except InputError:
            connection.close()
            raise
        return cls(connection, path)

    def find(self, key: Key) -> Outcome | None:
        """What is recorded under a key."""
        rows = self._use("SELECT value, failure, seconds FROM results WHERE id = ?", (key.identity,))
        return self._outcome(*rows[0]) if rows else None

    def find_with_other_sources(self, key: Key) -> tuple[Outcome, dict[str, str]] | None:
        """The newest value of the same settings that was made from something else, and from what."""
        rows = self._use(
            "SELECT value, failure, seconds, sources FROM results WHERE subject = ? AND id != ? AND failure = '' "
            "ORDER BY rowid DESC LIMIT 1",
            (_digest(key.spec), key.identity),
        )
        return (self._outcome(*rows[0][:3]), self._parsed(rows[0][3])) if rows else None

    def family(self, name: str) -> list[tuple[str, Outcome]]:
        """Every result of a family with its settings, in the order of recording."""
        rows = self._use("SELECT spec, value, failure, seconds FROM results WHERE family = ? ORDER BY rowid", (name,))
        return [(spec, self._outcome(*row)) for spec, *row in rows]

    def record(self, key: Key, outcome: Outcome) -> None:
        """Write an outcome in one transaction; an earlier one of the same key is replaced."""
        if outcome.failure:
            LOGGER.warning("failed: %s: %s", key.spec, outcome.failure)
        value = None if outcome.value is None else json.dumps(dict(outcome.value), allow_nan=False)
        self._use(
            "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(key.identity, _digest(key.spec), key.family, key.spec, _json(key.sources)),
                *(value, outcome.failure, outcome.seconds, time.time()),
            ),
        )

    def count(self) -> int:
        """How many outcomes are recorded."""
        return int(self._use("SELECT count(*) FROM results", ())[0][0])

    def close(self) -> None:
        """Close the file; everything recorded is on disk already. Once nobody has it open it is a single file."""
        close_as_one_file(self._db, patience=0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _outcome(self, value: str | None, failure: str, seconds: float) -> Outcome:
        found = self._parsed(value) if value else None
        try:
            return Outcome(found, failure, seconds)
        except ValueError as error:
            raise _damaged(self.path, error) from None

    def _parsed(self, text: str) -> dict[str, Any]:
        """A JSON object of a row.

        Raises:
            InputError: it is none: the file is damaged, or not of evonas.
        """
        try:
            return dict(json.loads(text))
        except (TypeError, ValueError, RecursionError) as error:
            raise _damaged(self.path, error) from None

    def _use(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeError) as error:
            raise _unusable(self.path, str(error)) from None


@dataclass(frozen=True, slots=True)
class Totals:
    """What a file of results amounts to: how many, the seconds that they took, and the Unix time of the last one."""

    count: int
    seconds: float
    last: float


def totals(path: Path) -> Totals:
    """What a file of results amounts to; it is not written to.

    Raises:
        InputError: it cannot be read.
    """
    query = "SELECT count(*), coalesce(sum(seconds), 0.0), coalesce(max(told), 0.0) FROM results"
    try:
        with closing(open_to_read(path)) as connection:
            return Totals(*connection.execute(query).fetchone())
    except (sqlite3.Error, OSError, UnicodeError) as error:
        raise InputError(str(path), f"is no file of results ({error})") from None


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, or see that an old one has them."""
    if not tables_of(connection):
        with transaction(connection):  # others that open the new file wait here, and find it made
            if not tables_of(connection):
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO format VALUES (?)", (FORMAT,))
    if "format" not in tables_of(connection):
        raise _unusable(path, "it holds something else")
    (found,) = connection.execute("SELECT name FROM format").fetchone()
    if found != FORMAT:
        raise InputError(str(path), f"holds {found!r}", accepted=repr(FORMAT), remedy="choose a new file or folder")
    write_ahead(connection)


def _unusable(path: Path, why: str) -> InputError:
    remedy = "choose a new file or folder" if path.parent.is_dir() else f"mkdir -p {path.parent}"
    return InputError(str(path), f"cannot be used for results ({why})", remedy=remedy)


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(str(path), f"holds a damaged result ({first_line(error)})", remedy="choose a new file or folder")


def _json(sources: Mapping[str, str]) -> str:
    return json.dumps(dict(sources), sort_keys=True)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
