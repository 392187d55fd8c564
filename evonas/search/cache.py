"""A store of evaluations that several runs share: one SQLite file.

Evaluations lie under a context, that is, a hash of everything that decides what an evaluation gives, and are found by
content key or by the fingerprint of the layer's function. Several processes may read and write at once.
"""

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.search.outcome import Evaluation, Rejection

FORMAT = 1
APPLICATION = 0x65764E61  # marks the file as one of these, so that no other database is written to
WAIT = 60.0  # seconds for other processes to finish their writing

_SCHEMA = """
CREATE TABLE IF NOT EXISTS evaluations (
    id INTEGER PRIMARY KEY, context TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL,
    steps INTEGER NOT NULL, stopped INTEGER NOT NULL, evaluation TEXT NOT NULL, UNIQUE (context, key)) STRICT
"""

_STORE = """
INSERT INTO evaluations (context, key, fingerprint, steps, stopped, evaluation) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (context, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, steps = excluded.steps, stopped = excluded.stopped,
    evaluation = excluded.evaluation
WHERE (excluded.steps, NOT excluded.stopped) > (steps, NOT stopped)
"""


class EvaluationCache:
    """An open cache; ``close`` it. Not for network file systems, as nothing in SQLite's WAL mode is.

    Args:
        path: the file; made if missing.

    Raises:
        InputError: the file cannot be made or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.parent.is_dir():
            raise InputError(str(path), "no such folder", remedy=f"mkdir -p {path.parent}")
        try:
            self._db = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from None
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise self._unusable(error) from None

    def _unusable(self, error: sqlite3.Error) -> InputError:
        return InputError(str(self._path), f"cannot be used as a cache ({error})", accepted="a new file")

    def _prepare(self) -> None:
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        marks = tuple(self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if tables and marks != (APPLICATION, FORMAT):
            self._db.close()
            raise InputError(str(self._path), "is no cache, or one of another format", accepted="a new file")
        if tables:
            return
        _patiently(lambda: self._db.execute("PRAGMA journal_mode = WAL"))
        self._db.execute("BEGIN IMMEDIATE")  # others that open the new file wait here, and find it made
        self._db.execute(_SCHEMA)
        self._db.execute("CREATE INDEX IF NOT EXISTS by_fingerprint ON evaluations (context, fingerprint)")
        self._db.execute(f"PRAGMA application_id = {APPLICATION}")
        self._db.execute(f"PRAGMA user_version = {FORMAT}")
        self._db.execute("COMMIT")

    def find(self, context: str, genome: Genome, fingerprint: str) -> list[Evaluation]:
        """What is known of a layer and of others of its function, with the layer's own key; its own comes first."""
        rows = self._use(
            "SELECT evaluation FROM evaluations WHERE context = ? AND (key = ? OR fingerprint = ?) "
            "ORDER BY key <> ?, id",
            (context, genome.key, fingerprint, genome.key),
        )
        return [replace(_loaded(text), key=genome.key) for (text,) in rows]

    def store(self, context: str, fingerprint: str, evaluation: Evaluation, *, stopped: bool) -> None:
        """Keep an evaluation, in place of a shorter one; ``stopped`` if a layer was not trained as far as it could."""
        text = json.dumps(asdict(evaluation))
        self._use(_STORE, (context, evaluation.key, fingerprint, evaluation.steps, stopped, text))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _use(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            remedy = "resume without it: --cache ''"
            raise InputError(f"execution.cache: {self._path}", f"failed ({error})", remedy=remedy) from None


def _patiently(action: Callable[[], object]) -> None:
    """SQLite does not wait by itself while another process changes the journal mode."""
    end = time.monotonic() + WAIT
    while True:
        try:
            action()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def _loaded(text: str) -> Evaluation:
    data = json.loads(text)
    for name in ("traces", "rungs"):
        data[name] = {task: tuple((step, value) for step, value in points) for task, points in data[name].items()}
    rejection = data.pop("rejection")
    return Evaluation(**data, rejection=Rejection(**rejection) if rejection else None)
