"""Numbers over a whole archive: scores, counts and times, without the layers and the curves that they belong to."""

import json
import sqlite3
from collections import Counter

from evonas.search.outcome import Rejection

_OF_CANDIDATES = "subject GLOB '[0-9]*' AND subject NOT GLOB '*/*'"
_OF_PROPOSALS = "subject NOT LIKE '%:%'"  # of candidates, and of those that were screened out


def told(db: sqlite3.Connection) -> int:
    """How many candidates have been told."""
    return int(db.execute("SELECT count(*) FROM candidates").fetchone()[0])


def means(db: sqlite3.Connection) -> list[tuple[int, float]]:
    """Index and mean score of every scored candidate, in the order of recording."""
    rows = db.execute(
        f"SELECT subject, objectives FROM evaluations WHERE objectives IS NOT NULL AND {_OF_CANDIDATES} ORDER BY rowid"
    )
    scores = ((int(subject), json.loads(objectives)) for subject, objectives in rows)
    return [(index, sum(values.values()) / len(values)) for index, values in scores]


def times(db: sqlite3.Connection) -> list[float]:
    """Unix time at which each candidate was told, in order."""
    return [time for (time,) in db.execute(f"SELECT told FROM timings WHERE {_OF_CANDIDATES} ORDER BY rowid")]


def last_time(db: sqlite3.Connection) -> float:
    """Unix time of the last record or event; 0 of an archive without any."""
    query = "SELECT max(coalesce((SELECT max(told) FROM timings), 0.0), coalesce((SELECT max(time) FROM events), 0.0))"
    return float(db.execute(query).fetchone()[0])


def seconds(db: sqlite3.Connection) -> float:
    """The time that all evaluations took, baselines and measurements included."""
    return float(db.execute("SELECT coalesce(sum(seconds), 0.0) FROM timings").fetchone()[0])


def rejected(db: sqlite3.Connection) -> Counter[tuple[str, str]]:
    """How often each (stage, reason) occurred, screened-out proposals included; baselines and measurements not."""
    kept = f"SELECT stage, reason, count(*) FROM rejections WHERE {_OF_PROPOSALS} GROUP BY stage, reason"
    counts = Counter({(stage, reason): count for stage, reason, count in db.execute(kept)})
    others = "SELECT stage, reason, sum(count) FROM screened_counts GROUP BY stage, reason"
    for stage, reason, count in db.execute(others):
        counts[stage, reason] += count
    return counts


def ends(db: sqlite3.Connection) -> list[Rejection]:
    """The rejections of evaluated candidates, in order."""
    rows = db.execute(
        "SELECT stage, reason, task, measured, lim, detail FROM candidates "
        "CROSS JOIN rejections ON subject = CAST(candidates.id AS TEXT) ORDER BY candidates.id"
    )
    return [Rejection(*row) for row in rows]


def compilations(db: sqlite3.Connection) -> Counter[str]:
    """How often layers were compiled, and how often it failed for each reason."""
    rows = db.execute("SELECT compiled, count(*) FROM timings WHERE compiled != '' GROUP BY compiled")
    return Counter(dict(rows.fetchall()))


def reused(db: sqlite3.Connection) -> int:
    """How many candidates have an evaluation of an earlier run; see ``Evaluation.reused``."""
    query = (
        "SELECT count(*) FROM timings LEFT JOIN rejections USING (subject) "
        f"WHERE seconds = 0 AND {_OF_CANDIDATES} AND (stage IS NULL OR stage NOT IN ('execution', 'resource'))"
    )
    return int(db.execute(query).fetchone()[0])


def latest_rejections(db: sqlite3.Connection, count: int) -> list[tuple[str, Rejection]]:
    """For each stage and reason the latest rejections of proposals, with their subjects."""
    rows = db.execute(
        "SELECT subject, stage, reason, task, measured, lim, detail FROM (SELECT *, row_number() OVER "
        f"(PARTITION BY stage, reason ORDER BY rowid DESC) AS place FROM rejections WHERE {_OF_PROPOSALS}) "
        "WHERE place <= ? ORDER BY stage, reason, place",
        (count,),
    )
    return [(subject, Rejection(*rest)) for subject, *rest in rows]
