"""One driver for a run's folder, on any file system.

The driver locks a file of the folder; the system lets go of it when the process ends, however it ends. Some network
file systems have no locks, or locks that other machines do not see. So the file also says which process of which
machine drives the run, and the driver touches it every few seconds. A file that was not touched for a minute is
nobody's.
"""

import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from evonas.errors import InputError

LOCK = "lock"
BEAT_SECONDS = 10.0  # between two touches of the file
STALE_SECONDS = 60.0  # without a touch, after which a driver on another machine is thought dead
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for one driver.

    Raises:
        InputError: another process drives the run, or nothing can be written in its folder.
    """
    with _opened(folder / LOCK) as file:
        if not (taken := _take(file)) or _driven_elsewhere(folder, locks=taken is _Taken.LOCKED):
            remedy = f"wait for it; or {STALE_SECONDS:g} s, if it was killed on another machine"
            raise InputError(str(folder), "another process is driving this run", remedy=remedy)
        _write(file, json.dumps({"host": socket.gethostname(), "process": os.getpid()}))
        ended = threading.Event()
        beating = threading.Thread(target=_beat, args=(folder / LOCK, ended), daemon=True)
        beating.start()
        try:
            yield
        finally:
            ended.set()
            beating.join()
            with suppress(OSError):  # a full disk
                _write(file, "")


def is_held(folder: Path) -> bool:
    """Whether a process drives the run now."""
    try:
        with (folder / LOCK).open(encoding="utf-8") as file:
            taken = _take(file, shared=True)
        return not taken or _driven_elsewhere(folder, locks=taken is _Taken.LOCKED)
    except OSError:  # there is none, or it may not be read
        return False


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        found, remedy = f"cannot be written ({error.strerror})", "copy it with evonas backup, and work with the copy"
        raise InputError(str(path.parent), found, remedy=remedy) from None


class _Taken(Enum):
    """How a file was taken."""

    LOCKED = "by a lock"
    ASKED = "by what it says alone, since the file system has no locks"


def _take(file: IO[str], *, shared: bool = False) -> _Taken | None:
    """Try to lock a file; for a moment, since whoever only asks whether a run is driven holds the lock as well."""
    for patience in (0.02,) * 10 if not shared else (0.0,):
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return _Taken.LOCKED
        except BlockingIOError:
            time.sleep(patience)
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            return _Taken.ASKED
    return None


def _driven_elsewhere(folder: Path, *, locks: bool) -> bool:
    """Whether the file names a process that touched it lately: on another machine, or where there are no locks."""
    try:
        owner = json.loads((folder / LOCK).read_text(encoding="utf-8"))
        host, process = str(owner["host"]), int(owner["process"])
    except (ValueError, KeyError, TypeError):  # nobody, or a driver of an earlier version
        return False
    if host == socket.gethostname() and (locks or not _lives(process)):
        return False
    return _now(folder) - (folder / LOCK).stat().st_mtime < STALE_SECONDS


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _now(folder: Path) -> float:
    """The time on the clock of the file system, which may be that of another machine."""
    try:
        with TemporaryFile(dir=folder) as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:  # a folder that may only be read
        return time.time()


def _write(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        with suppress(OSError):  # the folder may be gone; whoever writes to it will say so
            os.utime(path)
