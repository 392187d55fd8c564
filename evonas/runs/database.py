"""SQLite files that are one file when nobody writes them, and that are read without leaving a trace beside them.

While a file is written it is in SQLite's WAL mode: ``-wal`` beside it holds the latest transactions, and ``-shm`` an
index of these that readers share. A file whose last writer has closed it has neither of the two.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WAIT = 60.0  # seconds for other processes to finish their reading or writing
WAIT_AT_END = 2.0  # seconds for readers to finish before a file is left in WAL mode
CHECKPOINT = 256  # pages in the -wal file after which they are put into the main file
_READ_VERSION, _WAL = 19, 2  # where the head of a database says how it is read, and what WAL mode writes there


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that can only read. It changes nothing, and works where nothing may be written.

    A file that is in WAL mode without a ``-wal`` file, as a finished run of an earlier version or a copy, is read as if
    nobody wrote it: SQLite would make the two files beside it otherwise, and could not in a folder that is read-only.

    Raises:
        sqlite3.Error: it cannot be opened, or is no database.
    """
    file = path.resolve()
    log = file.with_name(f"{file.name}-wal")
    if _in_wal_mode(file) and not log.exists():
        return _connected(file, "immutable=1")
    try:
        return _connected(file, "mode=ro")
    except sqlite3.OperationalError:
        if log.exists() and log.stat().st_size:
            raise
    return _connected(file, "immutable=1")


def write_ahead(connection: sqlite3.Connection) -> None:
    """Put a connection that writes into WAL mode, so that others can read meanwhile; every commit reaches the disk.

    Raises:
        sqlite3.Error: the file cannot be written, or another process reads or writes it for too long.
    """
    _patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"), WAIT)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT}")


def put_into_file(connection: sqlite3.Connection) -> None:
    """Put what is committed into the main file, as far as nobody reads an earlier state of it."""
    with suppress(sqlite3.Error):  # it is committed and in the -wal file, where SQLite finds it
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def close_as_one_file(connection: sqlite3.Connection, patience: float = WAIT_AT_END) -> None:
    """Close a connection that wrote, and leave WAL mode unless another process has the file open.

    Args:
        connection: without an open transaction.
        patience: seconds to wait for others.
    """
    try:
        # everything is on disk already: where this fails, as on a full disk, the next writer does it
        with suppress(sqlite3.Error):
            _patiently(lambda: connection.execute("PRAGMA journal_mode = DELETE"), patience)
    finally:
        connection.close()


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """What is done in here is written whole or not at all; others that write wait until it is."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def tables_of(connection: sqlite3.Connection) -> set[str]:
    """The names of the tables of a database."""
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def is_in_use(error: sqlite3.Error) -> bool:
    """Whether an error says no more than that another process works with the file at the moment."""
    return _kind(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_unopened(error: sqlite3.Error) -> bool:
    """Whether an error says that a file cannot be opened, whatever it holds."""
    return _kind(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def _kind(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)  # errors of the module itself have none
    return code & 0xFF  # further bits say more about it


def _connected(file: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{file.as_uri()}?{how}", uri=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # opens the files, and not before
    except BaseException:
        connection.close()
        raise
    return connection


def _in_wal_mode(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(_READ_VERSION + 1)[_READ_VERSION:] == bytes([_WAL])


def _patiently(action: Callable[[], object], patience: float) -> None:
    """SQLite does not wait by itself while another process changes the journal mode."""
    end = time.monotonic() + patience
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError as error:
            if not is_in_use(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
