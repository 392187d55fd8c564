"""Where proposals from outside wait for a search: a file for each, in the folder ``inbox`` of the run.

Any number of programs may put files there, each whole or not at all. Only the driver of the run takes them, in the
order of their names, and removes one when the archive has the record of what became of it. So a run that is killed
reads again what was not recorded yet, and nothing twice. What is no proposal is put aside, in ``inbox/refused``.

A name that begins with ``at00000017-`` belongs to candidate 17: it waits until that one is drawn. Replays use that.
"""

import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from evonas.errors import InputError, first_line
from evonas.files import write_named
from evonas.graph.genome import Genome
from evonas.runs.log import LOGGER
from evonas.search.engine import Search
from evonas.search.outcome import Candidate, Origin, one_line

FORMAT = "evonas-proposal/1"
REFUSED = "refused"
LARGEST = 2**16  # bytes of a file
LONGEST_REASON = 500  # characters of a line in the log
LAST = 999_999  # the number of the last file of a candidate
AT_ONCE = 100  # files that are read before one draw; the others wait for the next

_ID = re.compile(r"[A-Za-z0-9-]+")
_AT = re.compile(r"at(\d+)-")


def put(folder: Path, layers: Iterable[tuple[Genome, Origin]]) -> list[str]:
    """Put layers into an inbox, behind those that are there.

    Returns:
        The id of each.

    Raises:
        InputError: the inbox cannot be written.
    """
    began, ids = time.time_ns(), []
    for number, (genome, origin) in enumerate(layers):
        ids.append(f"{began:020d}-{number:04d}-{secrets.token_hex(4)}")
        _write(folder, ids[-1], genome, origin)
    return ids


def put_at(folder: Path, candidate: int, number: int, genome: Genome, origin: Origin) -> None:
    """Put a layer into an inbox for the draw of one candidate; ``number`` orders those of the same candidate."""
    _write(folder, f"at{candidate:08d}-{number:06d}", genome, origin)


def _write(folder: Path, name: str, genome: Genome, origin: Origin) -> None:
    data = {"format": FORMAT, "layer": genome.active().to_text(), "from": origin.by, "note": origin.note}
    write_named(folder / f"{name}.json", json.dumps(data) + "\n")


def waiting(folder: Path) -> list[str]:
    """The names of the files that wait in an inbox, in the order in which they are taken; none if there is no inbox."""
    try:
        with os.scandir(folder) as found:
            return sorted(entry.name for entry in found if not entry.name.startswith(".") and entry.name != REFUSED)
    except (FileNotFoundError, NotADirectoryError):
        return []


def said_of(folder: Path) -> list[str]:
    """How many proposals wait in an inbox, in a line; nothing if none does, and nothing of those of a replay."""
    count = sum(_AT.match(name) is None for name in waiting(folder))
    what = "1 proposal waits" if count == 1 else f"{count} proposals wait"
    return [f"{what} in the inbox, and will be drawn when the run goes on"] if count else []


def read(path: Path) -> tuple[Genome, Origin]:
    """The layer that a file of an inbox proposes, and who proposes it. Nothing in the file is executed.

    Raises:
        FileNotFoundError: it is not there any more.
        InputError: it is no proposal.
    """
    data = _parsed(path)
    known = {"format", "layer", "from", "note"}
    if not isinstance(data, dict) or data.get("format") != FORMAT or not set(data) <= known:
        raise InputError("", "is no proposal", accepted=f"a JSON object of format {FORMAT}")
    if not isinstance(data.get("layer"), str):
        raise InputError("layer", "is missing, or no text", accepted="the text form of a layer")
    if _ID.fullmatch(path.stem) is None or path.suffix != ".json":
        raise InputError("", "has another name than evonas propose gives", remedy="hand it in with evonas propose")
    return Genome.from_text(data["layer"]), Origin(data.get("from", ""), data.get("note", ""), path.stem)


def _parsed(path: Path) -> Any:
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # a link may lead anywhere, a pipe may keep the search waiting
            raise InputError("", "is no file")
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError("", f"cannot be read ({error.strerror})") from None
    if len(content) > LARGEST:
        raise InputError("", f"is larger than {LARGEST} bytes")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError("", f"is not JSON ({first_line(error)})") from None


class Inbox:
    """The inbox of a run, as its driver sees it.

    Args:
        folder: where the files are; it need not be there.
        on_refused: called with the name of each file that is put aside, and why.
    """

    def __init__(self, folder: Path, on_refused: Callable[[str], None]) -> None:
        self._folder, self._on_refused = folder, on_refused
        self._known: set[str] = set()  # names of files that were handed over, recorded or put aside

    def hand_over(self, search: Search) -> None:
        """Propose to the search what has come in for the candidate that it draws next."""
        names = (name for name in self._waiting() if name not in self._known and _is_due(name, search.asked))
        for name, _ in zip(names, range(AT_ONCE), strict=False):
            self._known.add(name)
            try:
                genome, origin = read(self._folder / name)
                search.propose(genome, origin)
                LOGGER.info("proposed by %s: %s", origin.by, genome.to_text())
            except FileNotFoundError:  # whoever proposed it has removed it
                continue
            except InputError as error:
                self._refuse(name, str(error))

    def remove(self, candidate: Candidate) -> None:
        """Remove the files of what was drawn on the way to a candidate that is recorded."""
        for origin in candidate.origins.values():
            if _ID.fullmatch(origin.id):
                name = f"{origin.id}.json"
                self._known.add(name)
                self._change(name, lambda path: path.unlink(missing_ok=True))

    def _waiting(self) -> Sequence[str]:
        try:
            return waiting(self._folder)
        except OSError as error:
            if str(self._folder) not in self._known:
                self._known.add(str(self._folder))
                self._on_refused(f"the inbox cannot be read ({error.strerror})")
            return ()

    def _refuse(self, name: str, why: str) -> None:
        self._on_refused(one_line(f"{name!r}: {why}"[:LONGEST_REASON]))
        self._change(name, self._put_aside)

    def _put_aside(self, path: Path) -> None:
        aside = self._folder / REFUSED
        aside.mkdir(exist_ok=True)
        taken = (aside / path.name).exists()
        path.rename(aside / (f"{path.name}.{time.time_ns()}" if taken else path.name))

    def _change(self, name: str, change: Callable[[Path], object]) -> None:
        """Do something with a file; where that is forbidden it stays, and is known."""
        try:
            change(self._folder / name)
        except OSError as error:
            self._on_refused(one_line(f"{name!r} cannot be removed from the inbox ({error.strerror})"))


def _is_due(name: str, candidate: int) -> bool:
    match = _AT.match(name)
    return match is None or int(match[1]) <= candidate
