"""Oracle: a writer of R's serialization format after its documentation, below."""

import struct
import zlib
from pathlib import Path

import pytest

from evonas.config import TextConfig
from evonas.errors import InputError
from evonas.tasks.language.austen import read_austen
from evonas.tasks.language.text import load_text

BOOKS = (["EMMA", "", "by", "café"], ["MANSFIELD PARK"], ["NORTHANGER", "ABBEY"])


def vector(lines: list[str], version: int = 3, kind: int = 16, item: int = 9) -> bytes:
    written = b"X\n" + struct.pack(">iii", version, 0x040301, 0x030500)
    if version == 3:
        written += struct.pack(">i", 5) + b"UTF-8"
    written += struct.pack(">ii", kind, len(lines))
    for line in lines:
        raw = line.encode()
        written += struct.pack(">ii", 0x40000 | item, len(raw)) + raw
    return written


def chunk(raw: bytes) -> bytes:
    return struct.pack(">i", len(raw)) + zlib.compress(raw)


def written(path: Path, *chunks: bytes) -> Path:
    place = path / "Rdata.rdb"
    place.write_bytes(b"".join(chunks))
    return place


@pytest.mark.parametrize("version", [2, 3])
def test_books_are_read_line_by_line(tmp_path: Path, version: int) -> None:
    place = written(tmp_path, *(chunk(vector(lines, version)) for lines in BOOKS))
    assert read_austen(place) == ("EMMA\n\nby\ncafé", "MANSFIELD PARK", "NORTHANGER\nABBEY")


def test_a_missing_string_is_empty(tmp_path: Path) -> None:
    missing = vector(["a", "b"]).replace(struct.pack(">i", 1) + b"a", struct.pack(">i", -1))
    assert read_austen(written(tmp_path, chunk(missing), chunk(vector(["c"]))))[0] == "\nb"


def test_the_last_book_validates_unless_a_share_is_asked_for(tmp_path: Path) -> None:
    place = str(written(tmp_path, *(chunk(vector(lines)) for lines in BOOKS)))
    text = load_text(TextConfig(name="austen", path=place))
    assert bytes(text.validation.tolist()) == b"NORTHANGER\nABBEY"
    assert bytes(text.train.tolist()).decode() == "EMMA\n\nby\ncafé\nMANSFIELD PARK"
    assert len(load_text(TextConfig(name="austen", path=place, validation=0.5)).validation) == 23


@pytest.mark.parametrize(
    ("chunks", "named"),
    [
        ((b"",), "0 novels"),
        ((chunk(vector(["only one"])),), "1 novels"),
        ((b"some text that is no such file",), "is no data file of janeaustenr"),
        ((chunk(b"RDX3 something"),), "not in R's binary format"),
        ((chunk(vector(["a"], version=4)),), "version 4"),
        ((chunk(vector(["a"], kind=14)),), "not a character vector"),
        ((chunk(vector(["a"], item=10)),), "not a string"),
        ((chunk(vector(["abc"])[:-2]),), "cut short"),
        ((chunk(vector(["abc", "d"])[:-6]),), "is no data file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, chunks: tuple[bytes, ...], named: str) -> None:
    place = written(tmp_path, *chunks)
    with pytest.raises(InputError) as error:
        read_austen(place)
    assert named in str(error.value)
    assert str(place) in str(error.value)
    assert "r-cran-janeaustenr" in str(error.value)
