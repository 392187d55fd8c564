"""What is said where an archive cannot be read or written: one line, and how its whole part can be saved."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evonas.errors import InputError, first_line
from evonas.registry import UnknownNameError
from evonas.runs.database import is_in_use, is_unopened
from evonas.search.outcome import one_line

UNREADABLE = (  # what reading raises where a file does not hold what it should
    sqlite3.Error,
    UnicodeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class DamagedError(InputError):
    """An archive does not hold what it should."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what damaged rows and pages of an archive lead to into one line.

    Raises:
        DamagedError: the archive does not hold what it should.
        InputError: it is in use, or a layer needs an extension that is not loaded.
    """
    try:
        yield
    except (UnknownNameError, DamagedError, sqlite3.ProgrammingError):
        raise
    except UNREADABLE as error:
        raise explained(path, error) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a full disk and the like into one line; what was not written whole is not written at all.

    Raises:
        InputError: the archive cannot be written.
    """
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # the same thing was told twice, which no file is to blame for
    except sqlite3.OperationalError as error:
        remedy = "make room or mend its permissions, then go on with --resume; everything that is recorded is whole"
        raise InputError(str(path), f"cannot be written ({first_line(error)})", remedy=remedy) from None
    except sqlite3.DatabaseError as error:
        raise explained(path, error) from None


def explained(path: Path, error: Exception) -> InputError:
    """The one line for an error of reading."""
    if isinstance(error, sqlite3.Error) and is_in_use(error):
        found = f"another process works with it ({first_line(error)})"
        return InputError(str(path), found, remedy="try again when it is done")
    if isinstance(error, sqlite3.Error) and is_unopened(error):
        return unopened(path, error)
    kind = "" if isinstance(error, sqlite3.Error | InputError) else f"{type(error).__name__}: "
    return damaged(path, one_line(f"{kind}{first_line(error)}"))


def damaged(path: Path, why: str) -> DamagedError:
    """The error of an archive that does not hold what it should, with what can be done."""
    run = path.parent
    remedy = f"evonas verify {run} tells what is whole, and evonas backup {run} FOLDER --salvage saves that"
    return DamagedError(str(path), f"is damaged ({why})", remedy=remedy)


def unopened(path: Path, error: sqlite3.Error) -> InputError:
    """The error of an archive whose file cannot be opened."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        found = f"its latest results are in {log.name}, which can be read only where a file can be made beside it"
        return InputError(str(path), found, remedy=f"copy it and {log.name} to a folder of your own")
    return InputError(str(path), f"cannot be opened ({first_line(error)})", remedy="see who may read it and its folder")
