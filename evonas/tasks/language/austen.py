"""Reads the six novels of Jane Austen out of the data file of an R package, without R.

The file holds one chunk a novel: its length as R unpacks it (4 bytes, big-endian) and a zlib stream of a serialized
character vector, one string a line.

Source: the layout of R's serialization, *R Internals*; the texts are Project Gutenberg's.
"""

import struct
import zlib
from pathlib import Path

from evonas.errors import InputError
from evonas.limits import LARGEST_BOOK
from evonas.reading import read_regular

DEBIAN = Path("/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb")
REMEDY = "apt-get download r-cran-janeaustenr && dpkg-deb -x r-cran-janeaustenr_*.deb DIR; it lies in DIR" + str(DEBIAN)
STRINGS, STRING = 16, 9  # R's numbers of its types: character vector, one string of it
VERSIONS = (2, 3)
MOST_NOVELS = 100  # of a file


def read_austen(path: str | Path | None = None) -> tuple[str, ...]:
    """The novels in the file's order: Emma, Mansfield Park, Northanger Abbey, Persuasion, Pride and P., Sense and S.

    Args:
        path: of ``Rdata.rdb``; without it, where the Debian package r-cran-janeaustenr puts it.

    Raises:
        InputError: the file is missing, or holds something else.
    """
    path = Path(path or DEBIAN)
    try:
        raw = read_regular(path, largest=LARGEST_BOOK)
        books: list[str] = []
        while raw and len(books) < MOST_NOVELS:
            stream = zlib.decompressobj()
            books.append("\n".join(_strings(stream.decompress(raw[4:], LARGEST_BOOK))))
            raw = stream.unused_data
    except InputError as error:
        raise InputError("text.path", f"{path} {error.found}", remedy=REMEDY) from None
    except OSError as error:
        raise InputError("text.path", f"{path} cannot be read ({error.strerror})", remedy=REMEDY) from None
    except (zlib.error, struct.error, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"text.path: {path}", f"is no data file of janeaustenr ({error})", remedy=REMEDY) from None
    if len(books) < 2:
        raise InputError(f"text.path: {path}", f"{len(books)} novels", accepted="two or more", remedy=REMEDY)
    return tuple(books)


def _strings(vector: bytes) -> list[str]:
    """The strings of a serialized character vector."""
    if vector[:2] != b"X\n":
        raise ValueError("not in R's binary format")
    place = 2

    def number() -> int:
        nonlocal place
        place += 4
        found: int = struct.unpack_from(">i", vector, place - 4)[0]
        return found

    version = number()
    place += 8  # the versions of R that wrote it and that can read it
    if version not in VERSIONS:
        raise ValueError(f"version {version} of R's format")
    if version == 3:
        length = max(number(), 0)
        place += length  # the name of an encoding
    if number() & 0xFF != STRINGS:
        raise ValueError("not a character vector")
    lines = []
    for _ in range(number()):
        if number() & 0xFF != STRING:
            raise ValueError("not a string")
        length = max(number(), 0)  # -1 is R's missing value
        if place + length > len(vector):
            raise ValueError("cut short")
        lines.append(vector[place : place + length].decode())
        place += length
    return lines
