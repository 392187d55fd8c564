"""What a driver writes into an archive; each function is called within a transaction."""

import json
import sqlite3
import time
from dataclasses import asdict

from evonas.search.outcome import Candidate, Evaluation, Rejection, Remeasurement


def insert_candidate(db: sqlite3.Connection, candidate: Candidate, evaluation: Evaluation) -> None:
    """A candidate, the proposals screened out before it and its evaluation."""
    proposal, index = candidate.proposal, candidate.index
    genome = proposal.genome
    row = (index, genome.key, genome.to_text(), proposal.parent, proposal.operator, candidate.fingerprint)
    db.execute("INSERT INTO candidates VALUES (?, ?, ?, ?, ?, ?)", row)
    out = [
        (index, attempt, each.genome.to_text(), each.parent, each.operator)
        for attempt, (each, _) in enumerate(candidate.screened_out)
    ]
    db.executemany("INSERT INTO screened_out VALUES (?, ?, ?, ?, ?)", out)
    for attempt, (each, rejection) in enumerate(candidate.screened_out):
        _insert_rejection(db, f"{index}/{attempt}", each.genome.key, rejection)
    if candidate.prediction is not None:
        expected = (index, *asdict(candidate.prediction).values())
        db.execute("INSERT INTO predictions VALUES (?, ?, ?, ?)", expected)
    counts = [(index, *why, count) for why, count in candidate.counts.items()]
    db.executemany("INSERT INTO screened_counts VALUES (?, ?, ?, ?)", counts)
    insert_evaluation(db, str(index), evaluation)
    origins = [(subject, origin.id, origin.by, origin.note) for subject, origin in candidate.origins.items()]
    db.executemany("INSERT INTO origins VALUES (?, ?, ?, ?)", origins)


def insert_measurement(
    db: sqlite3.Connection, measurement: Remeasurement, evaluation: Evaluation, conditions: str
) -> None:
    """What a race measured, and under which conditions."""
    genome = measurement.genome
    row = (measurement.position, measurement.round, measurement.candidate, genome.key, genome.to_text(), conditions)
    db.execute("INSERT INTO measurements VALUES (?, ?, ?, ?, ?, ?)", row)
    insert_evaluation(db, f"measurement:{measurement.position}", evaluation)


def insert_evaluation(db: sqlite3.Connection, subject: str, evaluation: Evaluation) -> None:
    """An evaluation under the name that the archive has for what was evaluated."""
    objectives = json.dumps(dict(evaluation.objectives)) if evaluation.objectives else None
    traces = json.dumps({task: list(points) for task, points in evaluation.traces.items()})
    row = (subject, evaluation.key, evaluation.seed, evaluation.steps, objectives, traces)
    db.execute("INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?)", row)
    timing = (subject, time.time(), evaluation.seconds, evaluation.compiled)
    db.execute("INSERT INTO timings VALUES (?, ?, ?, ?)", timing)
    rungs = [(subject, task, *point) for task, points in evaluation.rungs.items() for point in points]
    db.executemany("INSERT INTO rungs VALUES (?, ?, ?, ?)", rungs)
    extras = [(subject, *item) for item in evaluation.extras.items()]
    db.executemany("INSERT INTO extras VALUES (?, ?, ?)", extras)
    rates = [(subject, *item) for item in evaluation.rates.items()]
    db.executemany("INSERT INTO rates VALUES (?, ?, ?)", rates)
    if evaluation.rejection is not None:
        _insert_rejection(db, subject, evaluation.key, evaluation.rejection)


def _insert_rejection(db: sqlite3.Connection, subject: str, key: str, rejection: Rejection) -> None:
    db.execute(
        "INSERT INTO rejections (subject, key, stage, reason, task, measured, lim, detail) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (subject, key, *asdict(rejection).values()),
    )
