"""Candidates, measurements and evaluations as they were told, read in portions: memory does not grow with an archive.

What belongs to one subject lies in several tables. Each is asked once for a whole portion of subjects.
"""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from evonas.graph import notation
from evonas.graph.genome import Genome
from evonas.search.guide.pool import STAGE as GUIDE
from evonas.search.outcome import Candidate, Evaluation, Origin, Prediction, Proposal, Rejection, Remeasurement
from evonas.search.protocols import EQUIVALENCE, PROTOCOLS, silent

PORTION = 500  # candidates that are read at once
SHORT = 10_000  # characters of a layer's text; those of searches have some hundred
PORTION_WITH_REST = 50  # of which each brings dozens of proposals that were screened out
_AMONG = "IN (SELECT value FROM json_each(?))"
_REASONS = "stage, reason, task, measured, lim, detail"

_AGAIN = (*PROTOCOLS.builtin, GUIDE)  # stages that say the same of a layer, or nothing, whenever it is proposed

Points = tuple[tuple[int, float], ...]
IsKept = Callable[[str, str], bool]


def is_any(_stage: str, _reason: str) -> bool:
    """Every proposal that was screened out."""
    return True


def candidates(
    db: sqlite3.Connection, *, screened_out: bool, is_kept: IsKept = is_any, first: int = 0, until: int | None = None
) -> Iterator[tuple[Candidate, Evaluation]]:
    """Every told candidate with its evaluation, in order.

    Args:
        db: the archive.
        screened_out: whether to read the proposals screened out before each, too.
        is_kept: whether one that was screened out for a stage and a reason is read; the others are counted.
        first: index of the first candidate that is read.
        until: index of the last candidate that is read; by default all are.
    """
    size, last = PORTION_WITH_REST if screened_out else PORTION, first - 1
    query = "SELECT id, genome, parent, operator, fingerprint FROM candidates WHERE id > ? ORDER BY id LIMIT ?"
    while rows := db.execute(query, (last, size)).fetchall():
        first, last = rows[0][0], rows[-1][0]  # of this portion
        subjects = [str(index) for index, *_ in rows]
        found, origins, predictions = evaluations(db, subjects), _origins(db, subjects), _predictions(db, first, last)
        rest = _rest(db, first, last, is_kept) if screened_out else {}
        for index, text, parent, operator, fingerprint in rows:
            if until is not None and index > until:
                return
            proposal = Proposal(layer_of(text), parent, operator, origins.get(str(index)))
            out = rest.get(index) or _Rest()
            candidate = Candidate(
                index, proposal, fingerprint, tuple(out.kept), predictions.get(index), dict(out.counts)
            )
            yield candidate, found[str(index)]


def measurements(db: sqlite3.Connection) -> Iterator[tuple[int, int, int | None, str, Evaluation]]:
    """Position, round, candidate (None: the reference), layer and evaluation of what a race measured, in order."""
    rows = db.execute("SELECT position, round, candidate, genome FROM measurements ORDER BY position").fetchall()
    for portion in _portions(rows):
        found = evaluations(db, [f"measurement:{position}" for position, *_ in portion])
        for position, round_, candidate, text in portion:
            yield position, round_, candidate, text, found[f"measurement:{position}"]


def in_order(
    db: sqlite3.Connection, *, screened_out: bool, is_kept: IsKept
) -> Iterator[tuple[Candidate | Remeasurement, Evaluation]]:
    """All that a search was told of, in the order of asking; see ``Archive.in_order``."""
    (until,) = db.execute("SELECT max(id) FROM candidates").fetchone()  # first: a driver may write meanwhile
    measured = measurements(db)
    again, position, index = next(measured, None), 0, 0
    told = candidates(db, screened_out=screened_out, is_kept=is_kept, until=-1 if until is None else until)
    while True:
        if again is not None and again[0] == position:
            place, round_, candidate, text, evaluation = again
            yield _told(Remeasurement(place, round_, candidate, layer_of(text)), evaluation, index)
            again = next(measured, None)
        elif (found := next(told, None)) is not None:
            yield _told(*found, index)
            index += 1
        else:
            return
        position += 1


def _told(
    what: Candidate | Remeasurement, evaluation: Evaluation, index: int
) -> tuple[Candidate | Remeasurement, Evaluation]:
    """What was told when so many candidates had been.

    Raises:
        ValueError: a search would not take it.
    """
    if isinstance(what, Candidate) and what.index != index:
        raise ValueError(f"candidate {index} is missing")
    if isinstance(what, Remeasurement) and what.candidate is not None and not 0 <= what.candidate < index:
        raise ValueError(f"the measurement at place {what.position} is of candidate {what.candidate}")
    if evaluation.key != what.genome.key:
        name = f"candidate {what.index}" if isinstance(what, Candidate) else f"the measurement at place {what.position}"
        raise ValueError(f"the evaluation of {name} is of another layer")
    return what, evaluation


def is_needed(stage: str, reason: str) -> bool:
    """Whether a search that goes on has to know of a proposal that was screened out like this.

    What was cheap to find out is found out again where it is proposed again, and repeats follow from the candidates.
    """
    if stage == EQUIVALENCE:
        return reason == silent(None).reason
    return stage not in _AGAIN


def layers(db: sqlite3.Connection, indices: Sequence[int]) -> Iterator[tuple[int, str, Evaluation]]:
    """Index, text and evaluation of some candidates, in the order in which they are asked for."""
    for portion in _portions(indices):
        asked = f"SELECT id, genome FROM candidates WHERE id {_AMONG}"
        texts = dict(db.execute(asked, (json.dumps(portion),)).fetchall())
        known = evaluations(db, [str(index) for index in portion])
        yield from ((index, texts[index], known[str(index)]) for index in portion)


def baselines(db: sqlite3.Connection) -> dict[str, Evaluation]:
    """The evaluations of the catalogue layers, by name, in the order in which they were recorded."""
    rows = db.execute("SELECT subject FROM evaluations WHERE subject GLOB 'baseline:*' ORDER BY rowid")
    subjects = [subject for (subject,) in rows.fetchall()]
    found = evaluations(db, subjects)
    return {subject.partition(":")[2]: found[subject] for subject in subjects}


def evaluations(db: sqlite3.Connection, subjects: Sequence[str]) -> dict[str, Evaluation]:
    """The evaluations of some subjects, by subject; few enough for the memory.

    Raises:
        LookupError: one has none.
    """
    rungs, extras, rates = (
        _rows(db, subjects, f"subject, {columns} FROM {table}", " ORDER BY rowid")
        for table, columns in (("rungs", "task, steps, score"), ("extras", "objective, value"), ("rates", "task, rate"))
    )
    ends = rejections(db, subjects)
    asked = (
        "subject, key, seed, steps, objectives, traces, seconds, compiled FROM evaluations JOIN timings USING (subject)"
    )
    found = {}
    for subject, rows in _rows(db, subjects, asked).items():
        for key, seed, steps, objectives, traces, seconds, compiled in rows:
            found[subject] = Evaluation(
                key,
                seed,
                steps,
                seconds,
                json.loads(objectives) if objectives else {},
                ends.get(subject),
                _traces(json.loads(traces)),
                _by_task(rungs.get(subject, ())),
                dict(extras.get(subject, ())),
                compiled,
                dict(rates.get(subject, ())),
            )
    if missing := [subject for subject in subjects if subject not in found]:
        raise LookupError(f"no evaluation of {missing[0]}")
    return found


def rejections(db: sqlite3.Connection, subjects: Sequence[str]) -> dict[str, Rejection]:
    """Those of some subjects, by subject; scored layers have none."""
    rows = _rows(db, subjects, f"subject, {_REASONS} FROM rejections")
    return {subject: Rejection(*each) for subject, found in rows.items() for each in found}


def layer_of(text: str) -> Genome:
    """The layer of a recorded text."""
    if len(text) > SHORT:
        return Genome.from_text(text)
    return Genome.trusted(notation.from_text(text))  # which checks every node; to check them again takes as long


def text_of(db: sqlite3.Connection, subject: str) -> str:
    """The layer of a candidate or of a proposal that was screened out."""
    candidate, _, attempt = subject.partition("/")
    query = "SELECT genome FROM candidates WHERE id = ?"
    if attempt:
        query = "SELECT genome FROM screened_out WHERE candidate = ? AND attempt = ?"
    return str(db.execute(query, (candidate, attempt) if attempt else (candidate,)).fetchone()[0])


@dataclass(slots=True)
class _Rest:
    """What was drawn in vain on the way to a candidate."""

    kept: list[tuple[Proposal, Rejection]] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)


def _rest(db: sqlite3.Connection, first: int, last: int, is_kept: IsKept) -> dict[int, _Rest]:
    """By candidate. A proposal from outside is kept in any case."""
    found: defaultdict[int, _Rest] = defaultdict(_Rest)
    query = "SELECT candidate, stage, reason, count FROM screened_counts WHERE candidate BETWEEN ? AND ?"
    for candidate, stage, reason, count in db.execute(query, (first, last)):
        found[candidate].counts[stage, reason] += count
    rows = db.execute(
        f"SELECT candidate, genome, parent, operator, proposer, note, origins.id, {_REASONS} "
        "FROM screened_out CROSS JOIN rejections ON rejections.subject = candidate || '/' || attempt "
        "LEFT JOIN origins ON origins.subject = rejections.subject "
        "WHERE candidate BETWEEN ? AND ? ORDER BY candidate, attempt",
        (first, last),
    )
    for candidate, text, parent, operator, by, note, id_, *why in rows:
        if by is None and not is_kept(why[0], why[1]):
            found[candidate].counts[why[0], why[1]] += 1
            continue
        origin = None if by is None else Origin(by, note, id_)
        proposal = Proposal(layer_of(text), parent, operator, origin)
        found[candidate].kept.append((proposal, Rejection(*why)))
    return found


def _origins(db: sqlite3.Connection, subjects: Sequence[str]) -> dict[str, Origin]:
    """Who proposed candidates from outside, by subject."""
    rows = _rows(db, subjects, "subject, proposer, note, id FROM origins")
    return {subject: Origin(*each) for subject, found in rows.items() for each in found}


def _predictions(db: sqlite3.Connection, first: int, last: int) -> dict[int, Prediction]:
    query = "SELECT candidate, mean, deviation, improvement FROM predictions WHERE candidate BETWEEN ? AND ?"
    return {candidate: Prediction(*row) for candidate, *row in db.execute(query, (first, last))}


def _rows(
    db: sqlite3.Connection, subjects: Sequence[str], asked: str, order: str = ""
) -> dict[str, list[tuple[Any, ...]]]:
    """Rows by the subject in their first column."""
    found: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    query = f"SELECT {asked} WHERE subject {_AMONG}{order}"
    for subject, *row in db.execute(query, (json.dumps(subjects),)):
        found[subject].append(tuple(row))
    return found


def _by_task(rows: Iterable[tuple[str, int, float]]) -> dict[str, Points]:
    points: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for task, steps, score in rows:
        points[task].append((steps, score))
    return {task: tuple(found) for task, found in points.items()}


def _traces(data: Mapping[str, list[list[Any]]]) -> dict[str, Points]:
    return {task: tuple((int(step), float(loss)) for step, loss in points) for task, points in data.items()}


def _portions(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while portion := list(islice(rest, PORTION)):
        yield portion
