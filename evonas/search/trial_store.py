"""Trials: one layer trained on one task under one seed, outside any search.

They have tables of their own in an archive, made at the first use, so that what belongs to the search stays as it is. A
trial is known by its settings (everything but the layer and the seed that its result depends on), seed and layer: more
seeds or more layers reuse what was trained before, and other settings never do.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import asdict

from evonas.search.outcome import Evaluation, Rejection

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trial_settings (id TEXT PRIMARY KEY, settings TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trials (
    settings TEXT NOT NULL REFERENCES trial_settings, seed INTEGER NOT NULL, key TEXT NOT NULL, steps INTEGER NOT NULL,
    objectives TEXT NOT NULL, rejection TEXT, told REAL NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (settings, seed, key)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS costs (
    settings TEXT NOT NULL REFERENCES trial_settings, key TEXT NOT NULL, cost TEXT NOT NULL,
    PRIMARY KEY (settings, key)) STRICT, WITHOUT ROWID;
"""


class Trials:
    """The trials of an archive that is open for writing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._db.executescript(_SCHEMA)

    def find(self, settings: str, seed: int, key: str) -> Evaluation | None:
        """What was recorded of a layer; None if it is not known how it does."""
        row = self._db.execute(
            "SELECT steps, seconds, objectives, rejection FROM trials WHERE settings = ? AND seed = ? AND key = ?",
            (_identity(settings), seed, key),
        ).fetchone()
        if row is None:
            return None
        steps, seconds, objectives, rejection = row
        rejected = Rejection(**json.loads(rejection)) if rejection else None
        return Evaluation(key, seed, steps, seconds, json.loads(objectives), rejected)

    def record(self, settings: str, evaluation: Evaluation) -> None:
        """Write a trial in one transaction; an earlier one of the same settings, seed and layer is replaced."""
        rejection = json.dumps(asdict(evaluation.rejection)) if evaluation.rejection else None
        result = (evaluation.steps, json.dumps(dict(evaluation.objectives)), rejection, time.time(), evaluation.seconds)
        with self._db:
            row = (self._known(settings), evaluation.seed, evaluation.key, *result)
            self._db.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def find_cost(self, settings: str, key: str) -> dict[str, float] | None:
        """What a layer was measured to cost, by name; None if it was not."""
        where = (_identity(settings), key)
        row = self._db.execute("SELECT cost FROM costs WHERE settings = ? AND key = ?", where).fetchone()
        return None if row is None else json.loads(row[0])

    def record_cost(self, settings: str, key: str, cost: Mapping[str, float]) -> None:
        """Write what a layer costs in one transaction; an earlier measurement is replaced."""
        with self._db:
            row = (self._known(settings), key, json.dumps(dict(cost)))
            self._db.execute("INSERT OR REPLACE INTO costs VALUES (?, ?, ?)", row)

    def _known(self, settings: str) -> str:
        """The identity of settings, which are recorded on first use."""
        identity = _identity(settings)
        self._db.execute("INSERT OR IGNORE INTO trial_settings VALUES (?, ?)", (identity, settings))
        return identity

    def count(self) -> int:
        """How many trials are recorded."""
        return int(self._db.execute("SELECT count(*) FROM trials").fetchone()[0])


def _identity(settings: str) -> str:
    return hashlib.sha256(settings.encode()).hexdigest()[:16]
