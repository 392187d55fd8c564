"""Files that are there whole or not at all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from evonas.errors import InputError


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside ``path``, then put it in place in one step; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        write(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    write_whole(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def write_folder(path: Path, write: Callable[[Path], object], *, mark: str) -> None:
    """Let ``write`` fill a new folder beside ``path``, then put it in place; missing folders above it are made.

    Args:
        path: what it is to be called. An empty folder is replaced, and so is one that holds a file named ``mark``.
        write: is called with the new folder.
        mark: a file by which an older folder of the same kind is known.

    Raises:
        InputError: there is a file, or a folder that holds something else.
    """
    path = Path(os.path.abspath(path))
    require_replaceable(path, mark=mark)
    unfinished, old = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("new", "old"))
    try:
        unfinished.mkdir(parents=True)
        write(unfinished)
        if path.exists():
            os.replace(path, old)
        os.replace(unfinished, path)
    finally:
        for folder in (unfinished, old):
            shutil.rmtree(folder, ignore_errors=True)


def require_replaceable(path: Path, *, mark: str) -> None:
    """Make sure that a folder may be written there; see ``write_folder``.

    Raises:
        InputError: there is a file, or a folder that holds something else.
    """
    if path.exists() and not path.is_dir():
        raise InputError(str(path), "is a file", accepted="the path of a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / mark).is_file():
        raise InputError(str(path), "is a folder that holds other files", remedy="name a new folder")


def write_named(path: Path, text: str) -> None:
    """Write a text file that a user named, whole or not at all.

    Raises:
        InputError: it is a folder, or cannot be written.
    """
    if os.path.isdir(path):
        raise InputError(str(path), "is a folder", accepted="the path of a file")
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(str(path), f"cannot be written ({error.strerror})") from None
    except ValueError as error:  # a NUL in the path
        raise InputError(str(path), f"cannot be written ({error})") from None
