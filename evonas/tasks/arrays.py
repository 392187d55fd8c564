"""Arrays out of ``.npz`` files that others made. Nothing is executed, and sizes are known before anything is read."""

import math
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from evonas.errors import InputError, first_line
from evonas.limits import memory

NO_ARRAYS = "is not an .npz file of plain arrays"
_ENCRYPTED = 0x1  # a bit in the flags of a member of a ZIP file
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def names_of(path: str, where: str) -> set[str]:
    """The names of the arrays in a file.

    Raises:
        InputError: it is no ``.npz`` file.
    """
    with _opened(path, where) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def read_arrays(path: str, where: str, keys: Sequence[str]) -> list[NDArray[Any]]:
    """Some arrays of a file.

    Args:
        path: the file.
        where: names it in errors.
        keys: names of the arrays.

    Raises:
        InputError: it is no ``.npz`` file, lacks an array, or one is of another size than its header says, or does not
            fit into memory.
    """
    with _opened(path, where) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        missing = [key for key in keys if key not in members]
        if missing:
            raise InputError(where, f"has no array {missing[0]!r}", accepted=", ".join(keys))
        for key in keys:
            _require_size(archive, members[key])
        found = []
        for key in keys:
            with archive.open(members[key]) as member:
                found.append(np.asarray(npy.read_array(member, allow_pickle=False)))
        return found


@contextmanager
def _opened(path: str, where: str) -> Iterator[zipfile.ZipFile]:
    """A ZIP file; whatever is wrong with it while it is read is an ``InputError``."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # a device has no end, and a pipe keeps the reader waiting
            raise InputError(where, "is a folder" if Path(path).is_dir() else "is not a regular file")
        with open(path, "rb") as stream, zipfile.ZipFile(stream) as archive:
            yield archive
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(where, "no such file") from None
    except Exception as error:  # whatever unpacking what others packed may raise, out of many modules
        raise InputError(where, f"{NO_ARRAYS} ({first_line(error)})") from None


def _require_size(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Make sure that a member is as large as its header says, and fits into memory.

    Raises:
        ValueError: it is not, or does not.
    """
    if info.flag_bits & _ENCRYPTED:
        raise ValueError(f"{info.filename} is encrypted")
    if info.file_size > memory():
        raise ValueError(f"{info.filename} has {info.file_size} bytes, more than this machine has memory")
    with archive.open(info) as member:
        shape, dtype = _header(member)
        expected = math.prod(shape) * dtype.itemsize
        held = info.file_size - member.tell()
    if dtype.hasobject:
        raise ValueError(f"{info.filename} holds Python objects")
    if min(shape, default=0) < 0 or held != expected:
        raise ValueError(f"{info.filename} is {dtype}{list(shape)} in {held} bytes")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(member)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of numpy's format")
    shape, _, dtype = _HEADERS[version](member)
    return shape, dtype
