"""The archive of a run: one SQLite file, the only truth that resume, report and board read.

One writer, the driver of the run. Each told evaluation is one transaction, committed before the next candidate is
asked for, so a killed driver loses at most what was not told yet.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from evonas.runs.database import close_as_one_file, put_into_file, transaction
from evonas.runs.log import LOGGER
from evonas.search.archive import content, counting, damage, opening, reading, writing
from evonas.search.outcome import Candidate, Evaluation, HandedIn, Origin, Rejection, Remeasurement

IN_FILE_EVERY = 5.0  # seconds after which told results are put into the file itself, for those who copy that alone


class Archive:
    """An open archive. Use as a context manager, or ``close`` it.

    Subjects: an evaluation belongs to a candidate (``"17"``), to a baseline (``"baseline:bn-relu"``) or to a
    measurement of a race (``"measurement:23"``, by its place in the order of asking); a rejection also to a
    screened-out proposal (``"17/3"``: the fourth draw on the way to candidate 17). So does the origin of a proposal
    from outside.

    What is read or written raises an ``InputError`` where the file is damaged, full or cannot be reached.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, *, read_only: bool = False) -> None:
        self._db, self.path, self._read_only = connection, path, read_only
        self._in_file = time.monotonic()
        self._clock: Callable[[], float] | None = None

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new archive.

        Raises:
            FileExistsError: there is a file already.
        """
        return cls(opening.make(path), path)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """An existing archive. One of an earlier format is read as it is, and brought to today's to be written.

        Raises:
            InputError: there is none, it is not an archive, damaged or of another format.
        """
        connection = opening.for_reading(path) if read_only else opening.for_writing(path)
        return cls(connection, path, read_only=read_only)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything recorded is on disk already. Once nobody has it open it is a single file."""
        if self._read_only:
            self._db.close()
        else:
            close_as_one_file(self._db)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """What is written in here is on disk afterwards, and now and then in the file itself."""
        with damage.writing(self.path), transaction(self._db):
            yield
            if self._clock is not None:
                self._db.execute("INSERT OR REPLACE INTO run VALUES ('seconds', ?)", (str(self._clock()),))
        if (now := time.monotonic()) - self._in_file >= IN_FILE_EVERY:
            put_into_file(self._db)
            self._in_file = now

    def record(self, candidate: Candidate, evaluation: Evaluation) -> None:
        """Write a candidate, the proposals screened out before it and its evaluation, in one transaction."""
        with self._transaction():
            writing.insert_candidate(self._db, candidate, evaluation)
        LOGGER.debug("candidate %d, %s: %s", candidate.index, candidate.genome.to_text(), _said(evaluation))

    def record_baseline(self, name: str, evaluation: Evaluation) -> None:
        """Write the evaluation of a catalogue layer trained under the run's budget."""
        LOGGER.info("baseline %s: %s", name, _said(evaluation))
        with self._transaction():
            writing.insert_evaluation(self._db, f"baseline:{name}", evaluation)

    def record_measurement(self, measurement: Remeasurement, evaluation: Evaluation, conditions: str) -> None:
        """Write what a race measured, and under which conditions, in one transaction."""
        LOGGER.debug("%s: %s", measurement.label, _said(evaluation))
        with self._transaction():
            writing.insert_measurement(self._db, measurement, evaluation, conditions)

    def event(self, kind: str, detail: str = "", *, seconds_ago: float = 0.0) -> None:
        """Note that something happened to the run: started, stopped."""
        LOGGER.info("%s: %s", kind, detail)
        row = (time.time() - seconds_ago, kind, detail)
        with self._transaction():
            self._db.execute("INSERT INTO events (time, kind, detail) VALUES (?, ?, ?)", row)

    def events(self) -> list[tuple[float, str, str]]:
        """(time, kind, detail) in order."""
        with damage.reading(self.path):
            return list(self._db.execute("SELECT time, kind, detail FROM events ORDER BY id"))

    def made_from(self) -> dict[str, str]:
        """What the run was begun with, or goes on with; empty in archives of earlier versions."""
        with damage.reading(self.path):
            row = self._db.execute("SELECT value FROM run WHERE name = 'made from'").fetchone()
            return dict(json.loads(row[0])) if row else {}

    def note_made_from(self, sources: Mapping[str, str]) -> None:
        """Record what the run is made from, from now on."""
        with self._transaction():
            values = ("made from", json.dumps(dict(sources), sort_keys=True))
            self._db.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", values)

    def count_time(self, clock: Callable[[], float]) -> None:
        """Record with everything that is written from now on the seconds that all sessions took, as ``clock`` has them.

        They are those of a clock that never goes back; differences of dates may be of a machine that slept.
        """
        self._clock = clock

    def seconds(self) -> float | None:
        """The seconds that all sessions took up to what was written last; None in archives of earlier versions."""
        with damage.reading(self.path):
            row = self._db.execute("SELECT value FROM run WHERE name = 'seconds'").fetchone()
            return None if row is None else float(row[0])

    def told(self) -> int:
        """How many candidates have been told."""
        with damage.reading(self.path):
            return counting.told(self._db)

    def evaluation_seconds(self) -> float:
        """The time that all evaluations took, baselines included."""
        with damage.reading(self.path):
            return counting.seconds(self._db)

    def records(self, *, screened_out: bool = False, first: int = 0) -> Iterator[tuple[Candidate, Evaluation]]:
        """Every told candidate from one on with its evaluation, in order.

        Args:
            screened_out: whether with the proposals screened out before it, which are many times the candidates.
            first: index of the first candidate.
        """
        with damage.reading(self.path):
            yield from reading.candidates(self._db, screened_out=screened_out, first=first)

    def measurements(self) -> list[tuple[Remeasurement, Evaluation]]:
        """What a race measured, in order; its genomes must be known."""
        with damage.reading(self.path):
            return [
                (Remeasurement(position, round_, candidate, reading.layer_of(text)), evaluation)
                for position, round_, candidate, text, evaluation in reading.measurements(self._db)
            ]

    def race(self) -> list[tuple[int, int | None, Evaluation]]:
        """Round, candidate (None: the reference) and evaluation of every measurement of a race, in order."""
        with damage.reading(self.path):
            measured = reading.measurements(self._db)
            return [(round_, candidate, evaluation) for _, round_, candidate, _, evaluation in measured]

    def in_order(
        self, *, screened_out: bool = False, counted: bool = True
    ) -> Iterator[tuple[Candidate | Remeasurement, Evaluation]]:
        """All that a search was told of, in the order of asking.

        Args:
            screened_out: whether candidates come with the proposals screened out before them.
            counted: whether those of them that a search which goes on need not know of are only counted, in
                ``Candidate.counts``: they are nearly all.
        """
        kept = reading.is_needed if counted else reading.is_any
        with damage.reading(self.path):
            yield from reading.in_order(self._db, screened_out=screened_out, is_kept=kept)

    def means(self) -> list[tuple[int, float]]:
        """Index and mean score of every scored candidate, in order."""
        with damage.reading(self.path):
            return counting.means(self._db)

    def layers(self, indices: Sequence[int]) -> Iterator[tuple[int, str, Evaluation]]:
        """Index, text and evaluation of some candidates, as they are asked for; their primitives need not be known."""
        with damage.reading(self.path):
            yield from reading.layers(self._db, indices)

    def baselines(self) -> dict[str, Evaluation]:
        """The evaluations of the catalogue layers, by name."""
        with damage.reading(self.path):
            return reading.baselines(self._db)

    def rejection_counts(self) -> Counter[tuple[str, str]]:
        """How often each (stage, reason) occurred, screened-out proposals included; baselines and measurements not."""
        with damage.reading(self.path):
            return counting.rejected(self._db)

    def handed_in(self) -> list[HandedIn]:
        """The proposals from outside that are recorded, in the order of drawing, and what became of each."""
        with damage.reading(self.path):
            rows = self._db.execute("SELECT subject, proposer, note, id FROM origins ORDER BY rowid").fetchall()
            return [self._handed_in(subject, Origin(*origin)) for subject, *origin in rows]

    def _handed_in(self, subject: str, origin: Origin) -> HandedIn:
        genome = reading.layer_of(reading.text_of(self._db, subject))
        if "/" in subject:
            return HandedIn(subject, genome, origin, None, reading.rejections(self._db, [subject])[subject])
        evaluation = reading.evaluations(self._db, [subject])[subject]
        return HandedIn(subject, genome, origin, evaluation, evaluation.rejection)

    def rejected(self, count: int) -> list[tuple[str, Rejection]]:
        """For each stage and reason the latest rejections, each with the text of its layer; only of proposals."""
        with damage.reading(self.path):
            found = counting.latest_rejections(self._db, count)
            return [(reading.text_of(self._db, subject), rejection) for subject, rejection in found]

    def candidate_with(self, fingerprint: str) -> int | None:
        """The first candidate whose layer computes the function with this fingerprint, if there is one."""
        with damage.reading(self.path):
            query = "SELECT min(id) FROM candidates WHERE fingerprint = ?"
            found = self._db.execute(query, (fingerprint,)).fetchone()[0]
            return None if found is None else int(found)

    def ends(self) -> tuple[list[Rejection], int]:
        """The rejections of evaluated candidates, and how many candidates have scores."""
        with damage.reading(self.path):
            rejections = counting.ends(self._db)
            return rejections, counting.told(self._db) - len(rejections)

    def compiling_counts(self) -> Counter[str]:
        """How often layers were compiled, and how often it failed for each reason."""
        with damage.reading(self.path):
            return counting.compilations(self._db)

    def reused(self) -> int:
        """How many candidates have an evaluation of an earlier run; see ``Evaluation.reused``."""
        with damage.reading(self.path):
            return counting.reused(self._db)

    def told_times(self) -> list[float]:
        """Unix time at which each candidate was told, in order."""
        with damage.reading(self.path):
            return counting.times(self._db)

    def last_time(self) -> float:
        """Unix time of the last record or event; 0 if there is none."""
        with damage.reading(self.path):
            return counting.last_time(self._db)

    def content(self) -> content.Content:
        """All that does not depend on clocks: equal for two runs of the same search."""
        with damage.reading(self.path):
            return content.content(self._db)


def _said(evaluation: Evaluation) -> str:
    """How a layer did, for the log."""
    if evaluation.rejection is not None:
        return f"rejected, {evaluation.rejection.stage}: {evaluation.rejection.reason}"
    at = {task: f" at {rate:g}" for task, rate in evaluation.rates.items()}
    scores = ", ".join(f"{task} {value:.4f}{at.get(task, '')}" for task, value in evaluation.objectives.items())
    return f"{evaluation.mean:.4f} ({scores})"
