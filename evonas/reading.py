"""Reads files and texts that others made: whatever they hold, it is a value or an ``InputError`` of one line."""

import json
import math
import os
import re
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evonas.errors import InputError, first_line, shortened
from evonas.limits import DEEPEST, LONGEST_KEY, memory

_PIECE = 2**22  # bytes that are read at once
_LONG_KEY = re.compile(  # tomllib takes time that grows with the square of the parts of a key
    r"""(?<![\w"'-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*)"""
    f"{{{LONGEST_KEY}}}"
)


def read_regular(path: Path, *, largest: int | None = None, follow: bool = True) -> bytes:
    """The content of a regular file; neither a pipe nor a device keeps the caller waiting.

    Args:
        path: the file.
        largest: size from which on it is refused; by default the memory of the machine.
        follow: whether it may be a link.

    Raises:
        OSError: as ``open``.
        InputError: it is no regular file, or too large; callers say which file.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    except ValueError:
        raise InputError("", "its name holds a NUL character") from None
    with open(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            if stat.S_ISDIR(os.fstat(file).st_mode):
                raise IsADirectoryError(str(path))
            raise InputError("", "is not a regular file")
        return read_up_to(opened.read, memory() if largest is None else largest)


def read_up_to(read: Callable[[int], bytes], largest: int) -> bytes:
    """All that a stream gives, taken in pieces: asked for a size, Python would take the memory for it at once.

    Raises:
        InputError: it has more; callers say what.
    """
    pieces, left = list[bytes](), largest
    while piece := read(min(left, _PIECE) + 1):
        left -= len(piece)
        if left < 0:
            raise InputError("", f"is larger than {largest} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def read_given(
    path: str | Path, where: str = "", *, accepted: str = "", remedy: str = "", largest: int | None = None
) -> bytes:
    """The content of a file that a user named.

    Args:
        path: the file.
        where: what is named by it, in errors; by default the path itself.
        accepted: what it should be, in errors.
        remedy: how to get it, in errors.
        largest: as for ``read_regular``.

    Raises:
        InputError: it cannot be read.
    """
    where = where or str(path)
    try:
        return read_regular(Path(path), largest=largest)
    except InputError as error:
        raise InputError(where, error.found, accepted=accepted, remedy=remedy) from None
    except FileNotFoundError:
        raise InputError(where, "no such file", accepted=accepted, remedy=remedy) from None
    except IsADirectoryError:
        raise InputError(where, "is a folder", accepted=accepted, remedy=remedy) from None
    except OSError as error:
        raise InputError(where, f"cannot be read ({error.strerror})", accepted=accepted, remedy=remedy) from None


def decoded(content: bytes, where: str) -> str:
    """The text that a file holds.

    Raises:
        InputError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(where, f"is not UTF-8 ({error.reason} at byte {error.start})") from None


def parse_json(text: str | bytes, where: str, *, remedy: str = "") -> Any:
    """The value of a JSON text, in which nothing is too deep or cannot be written again; see ``require_plain``.

    Raises:
        InputError: it is not JSON.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of too many digits is a ValueError too
        raise InputError(where, f"is not JSON ({first_line(error)})", remedy=remedy) from None
    require_plain(data, where)
    return data


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        InputError: it is not TOML.
    """
    if found := _LONG_KEY.search(text):
        raise InputError(
            where, f"has the key {shortened(found[0], 40)!r}", accepted=f"keys of less than {LONGEST_KEY} parts"
        )
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"is not TOML ({first_line(error)})") from None


def require_plain(data: object, where: str) -> None:
    """Refuse data that are nested too deep, numbers that are no numbers of 64 bits, and letters that are none.

    Raises:
        InputError: naming the key.
    """
    waiting: list[tuple[str, int, object]] = [("", 0, data)]
    while waiting:
        key, depth, value = waiting.pop()
        place = f"{where}: {key}" if key else where
        if depth > DEEPEST:
            raise InputError(place, "is nested too deep", accepted=f"up to {DEEPEST} levels")
        match value:
            case dict():
                for name in value:
                    _require_letters(str(name), f"{place}: a key")
                waiting += [(f"{key}.{name}" if key else str(name), depth + 1, part) for name, part in value.items()]
            case list():
                waiting += [(f"{key}.{number}" if key else str(number), depth + 1, p) for number, p in enumerate(value)]
            case str():
                _require_letters(value, place)
            case bool():
                pass
            case int() if not -(2**63) <= value < 2**63:
                raise InputError(
                    place, f"is a number of {value.bit_length()} bits", accepted="whole numbers from -2^63 to 2^63 - 1"
                )
            case float() if not math.isfinite(value):
                raise InputError(place, str(value), accepted="a finite number")


def _require_letters(text: str, where: str) -> None:
    """Refuse the character NUL, which no name of a file holds, and halves of characters, which no text holds."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text if character > "\u0fff"):
        raise InputError(where, f"holds a NUL or half a character: {shortened(text, 80)!r}")


def whole_number(text: str, largest: int = 2**63 - 1) -> int | None:
    """The number that somebody typed; None where it is no whole number from 0 to the largest."""
    if not text.isdecimal() or len(text.lstrip("0")) > len(str(largest)):
        return None
    return number if (number := int(text.lstrip("0") or "0")) <= largest else None
