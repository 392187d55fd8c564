"""The archive of a run: one SQLite file, the only truth that resume, report and board read.

One writer, the driver of the run. Each told evaluation is one transaction, committed before the next candidate is
asked for, so a killed driver loses at most what was not told yet.
"""

import json
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.runs.log import LOGGER
from evonas.search.outcome import (
    Candidate,
    Evaluation,
    HandedIn,
    Origin,
    Prediction,
    Proposal,
    Rejection,
    Remeasurement,
)

FORMAT = 2

_SCHEMA = """
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE candidates (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, genome TEXT NOT NULL, parent INTEGER, operator TEXT NOT NULL,
    fingerprint TEXT NOT NULL) STRICT;
CREATE TABLE evaluations (
    subject TEXT PRIMARY KEY, key TEXT NOT NULL, seed INTEGER NOT NULL, steps INTEGER NOT NULL,
    objectives TEXT, traces TEXT NOT NULL) STRICT;
CREATE TABLE rejections (
    subject TEXT PRIMARY KEY, key TEXT NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, task TEXT NOT NULL,
    measured REAL, lim REAL, detail TEXT NOT NULL) STRICT;
CREATE TABLE rungs (
    subject TEXT NOT NULL, task TEXT NOT NULL, steps INTEGER NOT NULL, score REAL NOT NULL,
    PRIMARY KEY (subject, task, steps)) STRICT;
CREATE TABLE extras (
    subject TEXT NOT NULL, objective TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (subject, objective)) STRICT;
CREATE TABLE screened_out (
    candidate INTEGER NOT NULL, attempt INTEGER NOT NULL, genome TEXT NOT NULL, parent INTEGER,
    operator TEXT NOT NULL, PRIMARY KEY (candidate, attempt)) STRICT, WITHOUT ROWID;
CREATE TABLE timings (
    subject TEXT PRIMARY KEY, told REAL NOT NULL, seconds REAL NOT NULL, compiled TEXT NOT NULL) STRICT;
CREATE TABLE events (id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL) STRICT;
"""

_LATER = {  # tables that archives of earlier versions lack
    "rates": "subject TEXT NOT NULL, task TEXT NOT NULL, rate REAL NOT NULL, PRIMARY KEY (subject, task)",
    "origins": "subject TEXT PRIMARY KEY, id TEXT NOT NULL, proposer TEXT NOT NULL, note TEXT NOT NULL",
    "measurements": "position INTEGER PRIMARY KEY, round INTEGER NOT NULL, candidate INTEGER, key TEXT NOT NULL, "
    "genome TEXT NOT NULL, conditions TEXT NOT NULL",
    "predictions": "candidate INTEGER PRIMARY KEY, mean REAL NOT NULL, deviation REAL NOT NULL, "
    "improvement REAL NOT NULL",
    "screened_counts": "candidate INTEGER NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, "
    "count INTEGER NOT NULL, PRIMARY KEY (candidate, stage, reason)",
}

# what two runs of the same configuration, seed and look-ahead have in common; the rest depends on clocks
_CONTENT = {
    name: f"SELECT * FROM {name}"
    for name in ("candidates", "evaluations", "rejections", "rungs", "rates", "screened_out", "measurements")
}
_CONTENT |= {name: f"SELECT * FROM {name}" for name in ("predictions", "screened_counts")}
_CONTENT["extras"] = "SELECT * FROM extras WHERE objective != 'latency'"
_CONTENT["origins"] = "SELECT subject, proposer, note FROM origins"


class Archive:
    """An open archive. Use as a context manager, or ``close`` it.

    Subjects: an evaluation belongs to a candidate (``"17"``), to a baseline (``"baseline:bn-relu"``) or to a
    measurement of a race (``"measurement:23"``, by its place in the order of asking); a rejection also to a
    screened-out proposal (``"17/3"``: the fourth draw on the way to candidate 17). So does the origin of a proposal
    from outside.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new archive.

        Raises:
            FileExistsError: there is a file already.
        """
        if path.exists():
            raise FileExistsError(path)
        archive = cls(_connect(path))
        with archive._db:
            archive._db.executescript(_SCHEMA)
            archive._db.execute("INSERT INTO run VALUES ('format', ?)", (str(FORMAT),))
        archive._complete()
        return archive

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False) -> Self:
        """An existing archive.

        Raises:
            InputError: there is none, it is not an archive, or of another format.
        """
        if not path.is_file():
            raise InputError(str(path), "no such file", accepted="the archive of a run")
        try:
            archive = cls(_connect(path, read_only=read_only))
            row = archive._db.execute("SELECT value FROM run WHERE name = 'format'").fetchone()
        except sqlite3.DatabaseError as error:
            raise InputError(str(path), f"is not an archive of evonas ({error})") from None
        if row is None or row[0] != str(FORMAT):
            archive.close()
            raise InputError(str(path), f"archive format {row and row[0]}", accepted=str(FORMAT))
        archive._complete(read_only=read_only)
        return archive

    def _complete(self, *, read_only: bool = False) -> None:
        """Make the tables that are missing; where the file may not be written, they last as long as it is open."""
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        with self._db:
            for name in _LATER.keys() - tables:
                self._db.execute(f"CREATE {'TEMP ' if read_only else ''}TABLE {name} ({_LATER[name]}) STRICT")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything recorded is on disk already."""
        self._db.close()

    def record(self, candidate: Candidate, evaluation: Evaluation) -> None:
        """Write a candidate, the proposals screened out before it and its evaluation, in one transaction."""
        proposal = candidate.proposal
        row = (
            candidate.index,
            proposal.genome.key,
            proposal.genome.to_text(),
            proposal.parent,
            proposal.operator,
        )
        with self._db:
            self._db.execute("INSERT INTO candidates VALUES (?, ?, ?, ?, ?, ?)", (*row, candidate.fingerprint))
            for attempt, (out, rejection) in enumerate(candidate.screened_out):
                self._db.execute(
                    "INSERT INTO screened_out VALUES (?, ?, ?, ?, ?)",
                    (candidate.index, attempt, out.genome.to_text(), out.parent, out.operator),
                )
                self._insert_rejection(f"{candidate.index}/{attempt}", out.genome.key, rejection)
            if candidate.prediction is not None:
                expected = (candidate.index, *asdict(candidate.prediction).values())
                self._db.execute("INSERT INTO predictions VALUES (?, ?, ?, ?)", expected)
            counts = [(candidate.index, *why, count) for why, count in candidate.counts.items()]
            self._db.executemany("INSERT INTO screened_counts VALUES (?, ?, ?, ?)", counts)
            self._insert_evaluation(str(candidate.index), evaluation)
            origins = [(subject, origin.id, origin.by, origin.note) for subject, origin in candidate.origins.items()]
            self._db.executemany("INSERT INTO origins VALUES (?, ?, ?, ?)", origins)
        LOGGER.debug("candidate %d, %s: %s", candidate.index, row[2], _said(evaluation))

    def record_baseline(self, name: str, evaluation: Evaluation) -> None:
        """Write the evaluation of a catalogue layer trained under the run's budget."""
        LOGGER.info("baseline %s: %s", name, _said(evaluation))
        with self._db:
            self._insert_evaluation(f"baseline:{name}", evaluation)

    def record_measurement(self, measurement: Remeasurement, evaluation: Evaluation, conditions: str) -> None:
        """Write what a race measured, and under which conditions, in one transaction."""
        LOGGER.debug("%s: %s", measurement.label, _said(evaluation))
        genome = measurement.genome
        row = (measurement.position, measurement.round, measurement.candidate, genome.key, genome.to_text(), conditions)
        with self._db:
            self._db.execute("INSERT INTO measurements VALUES (?, ?, ?, ?, ?, ?)", row)
            self._insert_evaluation(f"measurement:{measurement.position}", evaluation)

    def event(self, kind: str, detail: str = "", *, seconds_ago: float = 0.0) -> None:
        """Note that something happened to the run: started, stopped."""
        LOGGER.info("%s: %s", kind, detail)
        row = (time.time() - seconds_ago, kind, detail)
        with self._db:
            self._db.execute("INSERT INTO events (time, kind, detail) VALUES (?, ?, ?)", row)

    def events(self) -> list[tuple[float, str, str]]:
        """(time, kind, detail) in order."""
        return list(self._db.execute("SELECT time, kind, detail FROM events ORDER BY id"))

    def made_from(self) -> dict[str, str]:
        """What the run was begun with, or goes on with; empty in archives of earlier versions."""
        row = self._db.execute("SELECT value FROM run WHERE name = 'made from'").fetchone()
        return dict(json.loads(row[0])) if row else {}

    def note_made_from(self, sources: Mapping[str, str]) -> None:
        """Record what the run is made from, from now on."""
        with self._db:
            values = ("made from", json.dumps(dict(sources), sort_keys=True))
            self._db.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", values)

    def told(self) -> int:
        """How many candidates have been told."""
        return int(self._db.execute("SELECT count(*) FROM candidates").fetchone()[0])

    def evaluation_seconds(self) -> float:
        """The time that all evaluations took, baselines included."""
        return float(self._db.execute("SELECT coalesce(sum(seconds), 0.0) FROM timings").fetchone()[0])

    def records(self, *, screened_out: bool = False) -> Iterator[tuple[Candidate, Evaluation]]:
        """Every told candidate with its evaluation, in order; with the proposals screened out before it if asked for.

        These are many times the candidates, and only a resumed search wants them again.
        """
        rows = self._db.execute("SELECT id, genome, parent, operator, fingerprint FROM candidates ORDER BY id")
        origins = self._origins()
        for index, text, parent, operator, fingerprint in rows.fetchall():
            proposal = Proposal(Genome.from_text(text), parent, operator, origins.get(str(index)))
            out = self._screened_out(index, origins) if screened_out else ()
            counts = self._counts(index) if screened_out else {}
            candidate = Candidate(index, proposal, fingerprint, out, self._prediction(index), counts)
            yield candidate, self._evaluation(str(index))

    def measurements(self) -> list[tuple[Remeasurement, Evaluation]]:
        """What a race measured, in order; its genomes must be known."""
        return [
            (Remeasurement(position, round_, candidate, Genome.from_text(text)), evaluation)
            for position, round_, candidate, text, evaluation in self._measurements()
        ]

    def race(self) -> list[tuple[int, int | None, Evaluation]]:
        """Round, candidate (None: the reference) and evaluation of every measurement of a race, in order."""
        return [(round_, candidate, evaluation) for _, round_, candidate, _, evaluation in self._measurements()]

    def in_order(self, *, screened_out: bool = False) -> Iterator[tuple[Candidate | Remeasurement, Evaluation]]:
        """All that a search was told of, in the order of asking; with the proposals screened out if asked for."""
        measured = {measurement.position: (measurement, found) for measurement, found in self.measurements()}
        candidates, position = self.records(screened_out=screened_out), 0
        while True:
            told = measured.get(position) or next(candidates, None)
            if told is None:
                return
            yield told
            position += 1

    def _measurements(self) -> Iterator[tuple[int, int, int | None, str, Evaluation]]:
        query = "SELECT position, round, candidate, genome FROM measurements ORDER BY position"
        for row in self._db.execute(query).fetchall():
            yield (*row, self._evaluation(f"measurement:{row[0]}"))

    def scored(self) -> list[tuple[int, str, Evaluation]]:
        """Index, text and evaluation of every scored candidate, in order; its primitives need not be known."""
        rows = self._db.execute(
            "SELECT id, genome FROM candidates JOIN evaluations ON subject = CAST(id AS TEXT) "
            "WHERE objectives IS NOT NULL ORDER BY id"
        )
        return [(index, text, self._evaluation(str(index))) for index, text in rows.fetchall()]

    def _origins(self) -> dict[str, Origin]:
        """Who proposed a layer from outside, by subject, in the order in which they were drawn."""
        rows = self._db.execute("SELECT subject, proposer, note, id FROM origins ORDER BY rowid")
        return {subject: Origin(*row) for subject, *row in rows.fetchall()}

    def _screened_out(self, candidate: int, origins: Mapping[str, Origin]) -> tuple[tuple[Proposal, Rejection], ...]:
        rows = self._db.execute(
            "SELECT genome, parent, operator, stage, reason, task, measured, lim, detail FROM screened_out "
            "JOIN rejections ON subject = candidate || '/' || attempt WHERE candidate = ? ORDER BY attempt",
            (candidate,),
        )
        return tuple(
            (Proposal(Genome.from_text(g), p, o, origins.get(f"{candidate}/{attempt}")), Rejection(*r))
            for attempt, (g, p, o, *r) in enumerate(rows.fetchall())
        )

    def _prediction(self, candidate: int) -> Prediction | None:
        query = "SELECT mean, deviation, improvement FROM predictions WHERE candidate = ?"
        row = self._db.execute(query, (candidate,)).fetchone()
        return Prediction(*row) if row else None

    def _counts(self, candidate: int) -> dict[tuple[str, str], int]:
        query = "SELECT stage, reason, count FROM screened_counts WHERE candidate = ?"
        return {(stage, reason): count for stage, reason, count in self._db.execute(query, (candidate,))}

    def baselines(self) -> dict[str, Evaluation]:
        """The evaluations of the catalogue layers, by name."""
        rows = self._db.execute("SELECT subject FROM evaluations WHERE subject LIKE 'baseline:%' ORDER BY rowid")
        return {subject.partition(":")[2]: self._evaluation(subject) for (subject,) in rows.fetchall()}

    def rejection_counts(self) -> Counter[tuple[str, str]]:
        """How often each (stage, reason) occurred, screened-out proposals included; baselines and measurements not."""
        rows = self._db.execute(
            "SELECT stage, reason, count(*) FROM rejections WHERE subject NOT LIKE '%:%' GROUP BY stage, reason"
        )
        counts = Counter({(stage, reason): count for stage, reason, count in rows})
        for stage, reason, count in self._db.execute("SELECT stage, reason, count FROM screened_counts"):
            counts[stage, reason] += count
        return counts

    def handed_in(self) -> list[HandedIn]:
        """The proposals from outside that are recorded, in the order of drawing, and what became of each."""
        found = []
        for subject, origin in self._origins().items():
            genome = Genome.from_text(self._text(subject))
            if "/" in subject:
                found.append(HandedIn(subject, genome, origin, None, self._rejection(subject)))
            else:
                evaluation = self._evaluation(subject)
                found.append(HandedIn(subject, genome, origin, evaluation, evaluation.rejection))
        return found

    def rejected(self, count: int) -> list[tuple[str, Rejection]]:
        """For each stage and reason the latest rejections, each with the text of its layer; only of proposals."""
        rows = self._db.execute(
            "SELECT subject, stage, reason, task, measured, lim, detail FROM (SELECT *, row_number() OVER "
            "(PARTITION BY stage, reason ORDER BY rowid DESC) AS place FROM rejections "
            "WHERE subject NOT LIKE '%:%') WHERE place <= ? ORDER BY stage, reason, place",
            (count,),
        )
        return [(self._text(subject), Rejection(*rest)) for subject, *rest in rows.fetchall()]

    def candidate_with(self, fingerprint: str) -> int | None:
        """The first candidate whose layer computes the function with this fingerprint, if there is one."""
        query = "SELECT min(id) FROM candidates WHERE fingerprint = ?"
        found = self._db.execute(query, (fingerprint,)).fetchone()[0]
        return None if found is None else int(found)

    def ends(self) -> tuple[list[Rejection], int]:
        """The rejections of evaluated candidates, and how many candidates have scores."""
        rows = self._db.execute(
            "SELECT stage, reason, task, measured, lim, detail FROM candidates "
            "JOIN rejections ON subject = CAST(candidates.id AS TEXT) ORDER BY candidates.id"
        )
        rejections = [Rejection(*row) for row in rows.fetchall()]
        return rejections, self.told() - len(rejections)

    def compiling_counts(self) -> Counter[str]:
        """How often layers were compiled, and how often it failed for each reason."""
        rows = self._db.execute("SELECT compiled, count(*) FROM timings WHERE compiled != '' GROUP BY compiled")
        return Counter(dict(rows.fetchall()))

    def reused(self) -> int:
        """How many candidates have an evaluation of an earlier run; see ``Evaluation.reused``."""
        query = (
            "SELECT count(*) FROM timings JOIN candidates ON timings.subject = CAST(candidates.id AS TEXT) "
            "LEFT JOIN rejections ON rejections.subject = timings.subject "
            "WHERE seconds = 0 AND (stage IS NULL OR stage NOT IN ('execution', 'resource'))"
        )
        return int(self._db.execute(query).fetchone()[0])

    def told_times(self) -> list[float]:
        """Unix time at which each candidate was told, in order."""
        rows = self._db.execute(
            "SELECT told FROM timings JOIN candidates ON subject = CAST(candidates.id AS TEXT) ORDER BY candidates.id"
        )
        return [told for (told,) in rows]

    def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that does not depend on clocks: equal for two runs of the same search."""
        return {name: sorted(self._db.execute(query), key=repr) for name, query in _CONTENT.items()}

    def _insert_evaluation(self, subject: str, evaluation: Evaluation) -> None:
        objectives = json.dumps(dict(evaluation.objectives)) if evaluation.objectives else None
        traces = json.dumps({task: list(points) for task, points in evaluation.traces.items()})
        row = (subject, evaluation.key, evaluation.seed, evaluation.steps, objectives, traces)
        self._db.execute("INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?)", row)
        timing = (subject, time.time(), evaluation.seconds, evaluation.compiled)
        self._db.execute("INSERT INTO timings VALUES (?, ?, ?, ?)", timing)
        rungs = [(subject, task, *point) for task, points in evaluation.rungs.items() for point in points]
        self._db.executemany("INSERT INTO rungs VALUES (?, ?, ?, ?)", rungs)
        extras = [(subject, *item) for item in evaluation.extras.items()]
        self._db.executemany("INSERT INTO extras VALUES (?, ?, ?)", extras)
        if evaluation.rates:
            rates = [(subject, *item) for item in evaluation.rates.items()]
            self._db.executemany("INSERT INTO rates VALUES (?, ?, ?)", rates)
        if evaluation.rejection is not None:
            self._insert_rejection(subject, evaluation.key, evaluation.rejection)

    def _insert_rejection(self, subject: str, key: str, rejection: Rejection) -> None:
        row = (subject, key, *asdict(rejection).values())
        self._db.execute(
            "INSERT INTO rejections (subject, key, stage, reason, task, measured, lim, detail) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    def _evaluation(self, subject: str) -> Evaluation:
        key, seed, steps, objectives, traces, seconds, compiled = self._db.execute(
            "SELECT key, seed, steps, objectives, traces, seconds, compiled "
            "FROM evaluations JOIN timings USING (subject) WHERE subject = ?",
            (subject,),
        ).fetchone()
        return Evaluation(
            key,
            seed,
            steps,
            seconds,
            json.loads(objectives) if objectives else {},
            self._rejection(subject),
            _traces(json.loads(traces)),
            self._rungs(subject),
            self._extras(subject),
            compiled,
            self._rates(subject),
        )

    def _rates(self, subject: str) -> dict[str, float]:
        rows = self._db.execute("SELECT task, rate FROM rates WHERE subject = ? ORDER BY rowid", (subject,))
        return dict(rows.fetchall())

    def _rejection(self, subject: str) -> Rejection | None:
        row = self._db.execute(
            "SELECT stage, reason, task, measured, lim, detail FROM rejections WHERE subject = ?", (subject,)
        ).fetchone()
        return Rejection(*row) if row else None

    def _text(self, subject: str) -> str:
        """The layer of a candidate or of a proposal that was screened out."""
        candidate, _, attempt = subject.partition("/")
        query = "SELECT genome FROM candidates WHERE id = ?"
        if attempt:
            query = "SELECT genome FROM screened_out WHERE candidate = ? AND attempt = ?"
        return str(self._db.execute(query, (candidate, attempt) if attempt else (candidate,)).fetchone()[0])

    def _rungs(self, subject: str) -> dict[str, tuple[tuple[int, float], ...]]:
        rows = self._db.execute("SELECT task, steps, score FROM rungs WHERE subject = ? ORDER BY rowid", (subject,))
        points: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for task, steps, score in rows:
            points[task].append((steps, score))
        return {task: tuple(found) for task, found in points.items()}

    def _extras(self, subject: str) -> dict[str, float]:
        rows = self._db.execute("SELECT objective, value FROM extras WHERE subject = ? ORDER BY rowid", (subject,))
        return dict(rows.fetchall())


def _said(evaluation: Evaluation) -> str:
    """How a layer did, for the log."""
    if evaluation.rejection is not None:
        return f"rejected, {evaluation.rejection.stage}: {evaluation.rejection.reason}"
    at = {task: f" at {rate:g}" for task, rate in evaluation.rates.items()}
    scores = ", ".join(f"{task} {value:.4f}{at.get(task, '')}" for task, value in evaluation.objectives.items())
    return f"{evaluation.mean:.4f} ({scores})"


def _traces(data: Mapping[str, list[list[Any]]]) -> dict[str, tuple[tuple[int, float], ...]]:
    return {task: tuple((int(step), float(loss)) for step, loss in points) for task, points in data.items()}


def _connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    if read_only:
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
