"""Copies of archives: of one as it is at a moment, while it is written; and of what is whole of a damaged one."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from evonas.registry import UnknownNameError
from evonas.runs.database import close_as_one_file, transaction
from evonas.search.archive import damage, opening, reading
from evonas.search.archive.damage import UNREADABLE
from evonas.search.outcome import one_line

SALVAGED = "salvaged"  # kind of the event that says what was saved from where
_OF_SUBJECT = ("evaluations", "timings", "rejections", "rungs", "extras", "rates", "origins")
_OF_CANDIDATE = ("screened_out", "predictions", "screened_counts")


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was saved of a damaged archive.

    Attributes:
        baselines: their names.
        candidates: how many; they are the first ones.
        measurements: how many of those that a race made between these candidates.
        recorded: how many candidates there seem to be; None if that cannot be read.
        reason: why it ends where it ends; empty if everything was saved.
    """

    baselines: tuple[str, ...]
    candidates: int
    measurements: int
    recorded: int | None
    reason: str


def back_up(source: Path, target: Path) -> None:
    """Copy an archive as it is at one moment; a driver may write to it meanwhile.

    Raises:
        FileExistsError: there is a file at ``target`` already.
        InputError: the archive cannot be read.
    """
    if target.exists():
        raise FileExistsError(target)
    with closing(opening.for_reading(source)) as db:
        copy = sqlite3.connect(target)
        try:
            db.backup(copy)  # all pages in one step, which is one moment
        except sqlite3.Error as error:
            raise damage.explained(source, error) from None
        finally:
            close_as_one_file(copy)


def salvage(source: Path, target: Path, *, needs: Sequence[str] = ()) -> Salvaged:
    """Write the longest whole beginning of an archive as an archive of its own, which can be gone on with.

    Args:
        source: the archive, which may be damaged; nobody drives it.
        target: where to; there is no file yet.
        needs: baselines without which no candidate can be gone on with.

    Raises:
        FileExistsError: there is a file at ``target`` already.
        InputError: nothing can be read, or a layer needs an extension that is not loaded.
    """
    with closing(opening.for_saving(source)) as old:
        new = opening.make(target)
        try:
            new.execute("PRAGMA synchronous = OFF")  # a copy that is not finished is worth nothing
            baselines = _saved_baselines(old, new)
            missing = [name for name in needs if name not in baselines]
            if missing:
                candidates, measured, reason = 0, 0, f"the baseline {missing[0]} that candidates go by is not whole"
            else:
                candidates, measured, reason = _saved_in_order(old, new)
            _save_notes(old, new, f"{candidates} candidates of {source}")
            new.execute("PRAGMA synchronous = FULL")
        finally:
            close_as_one_file(new)
        return Salvaged(baselines, candidates, measured, _recorded(old), reason)


def _saved_baselines(old: sqlite3.Connection, new: sqlite3.Connection) -> tuple[str, ...]:
    """Copy the baselines that are whole; the others are trained again when the run goes on."""
    names = []
    query = "SELECT subject FROM evaluations WHERE subject GLOB 'baseline:*' ORDER BY rowid"
    with suppress(*UNREADABLE):
        for (subject,) in old.execute(query):
            with suppress(*UNREADABLE):
                with transaction(new):
                    _copy_subject(old, new, subject)
                    reading.evaluations(new, [subject])
                names.append(subject.partition(":")[2])
    return tuple(names)


def _saved_in_order(old: sqlite3.Connection, new: sqlite3.Connection) -> tuple[int, int, str]:
    """Copy candidates and measurements in the order of asking, up to the first that is not whole."""
    places, limit, reason = _places(old)
    candidate = measured = 0
    while True:
        position = candidate + measured
        if limit is not None and position >= limit:
            return candidate, measured, reason
        try:
            with transaction(new):
                if position in places:
                    _copy_measurement(old, new, position)
                elif not _copy_candidate(old, new, candidate):
                    last = old.execute("SELECT max(id) FROM candidates").fetchone()[0]
                    gap = last is not None and last >= candidate
                    return candidate, measured, f"candidate {candidate} is missing" if gap else ""
        except UnknownNameError:
            raise
        except UNREADABLE as error:
            what = f"the measurement at place {position}" if position in places else f"candidate {candidate}"
            return candidate, measured, f"{what}: {_said(error)}"
        if position in places:
            measured += 1
        else:
            candidate += 1


def _places(old: sqlite3.Connection) -> tuple[set[int], int | None, str]:
    """The places of measurements in the order of asking; and from where on they are not known, and why."""
    found: set[int] = set()
    try:
        for (position,) in old.execute("SELECT position FROM measurements ORDER BY position"):
            found.add(position)
    except UNREADABLE as error:
        return found, max(found, default=-1) + 1, f"measurements: {_said(error)}"
    return found, None, ""


def _copy_candidate(old: sqlite3.Connection, new: sqlite3.Connection, index: int) -> bool:
    """Copy all rows of a candidate, and see that they are whole; whether there is such a candidate."""
    if not _copy(old, new, "candidates", "id = ?", (index,)):
        return False
    for table in _OF_CANDIDATE:
        _copy(old, new, table, "candidate = ?", (index,))
    _copy_subject(old, new, str(index))
    for table in ("rejections", "origins"):  # of what was screened out before it
        _copy(old, new, table, "subject > ? AND subject < ?", (f"{index}/", f"{index}0"))  # "0" comes after "/"
    ((found, evaluation),) = reading.candidates(new, screened_out=True, first=index)
    (kept,) = new.execute("SELECT count(*) FROM screened_out WHERE candidate = ?", (index,)).fetchone()
    (key,) = new.execute("SELECT key FROM candidates WHERE id = ?", (index,)).fetchone()
    if not found.genome.key == evaluation.key == key or len(found.screened_out) != kept:
        raise ValueError("its rows do not belong together")
    return True


def _copy_measurement(old: sqlite3.Connection, new: sqlite3.Connection, position: int) -> None:
    _copy(old, new, "measurements", "position = ?", (position,))
    subject = f"measurement:{position}"
    _copy_subject(old, new, subject)
    query = "SELECT key, genome FROM measurements WHERE position = ?"
    key, text = new.execute(query, (position,)).fetchone()
    if not reading.layer_of(text).key == reading.evaluations(new, [subject])[subject].key == key:
        raise ValueError("its rows do not belong together")


def _copy_subject(old: sqlite3.Connection, new: sqlite3.Connection, subject: str) -> None:
    for table in _OF_SUBJECT:
        _copy(old, new, table, "subject = ?", (subject,))


def _save_notes(old: sqlite3.Connection, new: sqlite3.Connection, said: str) -> None:
    """Copy what happened to the run and what is said of it, as far as it can be read, and note the saving."""
    with transaction(new):
        for table, condition in (("events", "1"), ("run", "name != 'format'")):
            with suppress(*UNREADABLE):  # a run goes on without it
                _copy(old, new, table, condition, ())
        # with the time of the last result, as a later one would be charged to the budget
        query = "INSERT INTO events (time, kind, detail) SELECT coalesce(max(told), 0.0), ?, ? FROM timings"
        new.execute(query, (SALVAGED, said))


def _copy(
    old: sqlite3.Connection, new: sqlite3.Connection, table: str, condition: str, values: Iterable[object]
) -> int:
    """Copy some rows, in their order; how many."""
    order = "" if table == "screened_out" else " ORDER BY rowid"
    rows = old.execute(f"SELECT * FROM {table} WHERE {condition}{order}", tuple(values)).fetchall()
    if rows:
        new.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    return len(rows)


def _recorded(old: sqlite3.Connection) -> int | None:
    try:
        return int(old.execute("SELECT count(*) FROM candidates").fetchone()[0])
    except UNREADABLE:
        return None


def _said(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__
