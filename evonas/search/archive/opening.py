"""Archives as files: made, opened to be written by one driver, or opened to be read by anybody."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from evonas.errors import InputError, first_line
from evonas.runs.database import is_in_use, is_unopened, open_to_read, tables_of, write_ahead
from evonas.search.archive import damage, schema
from evonas.search.outcome import one_line


def make(path: Path) -> sqlite3.Connection:
    """A new archive, open for writing.

    Raises:
        FileExistsError: there is a file already.
        InputError: it cannot be written.
    """
    if path.exists():
        raise FileExistsError(path)

    def prepare(connection: sqlite3.Connection) -> None:
        write_ahead(connection)
        schema.create(connection)

    return _connected(path, prepare)


def for_writing(path: Path) -> sqlite3.Connection:
    """An existing archive, brought to today's format; one that is damaged is not written to.

    Raises:
        InputError: there is none, it is not an archive, damaged, of an unknown format, or cannot be written.
    """
    _require_file(path)

    def prepare(connection: sqlite3.Connection) -> None:
        found = schema.require_format(connection, str(path))
        (first,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if first != "ok":
            raise damage.damaged(path, first_line(ValueError(first)))
        write_ahead(connection)
        schema.migrate(connection, found)

    return _connected(path, prepare)


def for_reading(path: Path) -> sqlite3.Connection:
    """An existing archive that is not written to, whatever its format.

    Raises:
        InputError: there is none, it is not an archive, of an unknown format, or cannot be opened.
    """
    _require_file(path)
    connection = None
    try:
        connection = open_to_read(path)
        schema.complete_for_reading(connection, schema.require_format(connection, str(path)))
    except (sqlite3.Error, UnicodeError, InputError) as error:
        if connection is not None:
            connection.close()
        raise _refusal(path, error) from None
    except OSError as error:
        raise InputError(str(path), f"cannot be opened ({error.strerror})") from None
    return connection


def for_saving(path: Path) -> sqlite3.Connection:
    """A damaged archive, of which anything may be missing, as long as it is a database.

    Raises:
        InputError: as ``for_reading``.
    """
    try:
        return for_reading(path)
    except damage.DamagedError as error:
        with damage.reading(path):
            connection = open_to_read(path)
            if "candidates" in tables_of(connection):
                return connection
            connection.close()
        raise error from None


def _connected(path: Path, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path)
    except sqlite3.Error as error:
        raise InputError(str(path), f"cannot be opened ({first_line(error)})") from None
    try:
        prepare(connection)
    except (sqlite3.Error, UnicodeError, InputError) as error:
        connection.close()
        raise _refusal(path, error) from None
    return connection


def _refusal(path: Path, error: Exception) -> InputError:
    """The one line for an archive that cannot be opened."""
    if isinstance(error, InputError):
        return error
    if isinstance(error, sqlite3.Error) and is_in_use(error):
        return damage.explained(path, error)
    if isinstance(error, sqlite3.Error) and is_unopened(error):
        return damage.unopened(path, error)
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR):
        return damage.explained(path, error)
    return damage.DamagedError(str(path), f"is not an archive of evonas ({one_line(first_line(error))})")


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(str(path), "no such file", accepted="the archive of a run")
