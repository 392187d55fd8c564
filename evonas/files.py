"""Files that are there whole or not at all."""

import os
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
