"""What two archives of the same search have in common: all that does not depend on clocks."""

import sqlite3
from typing import Any

Content = dict[str, list[tuple[Any, ...]]]

_TABLES = (
    "candidates",
    "evaluations",
    "rejections",
    "rungs",
    "rates",
    "screened_out",
    "measurements",
    "predictions",
    "screened_counts",
)
_QUERIES = {name: f"SELECT * FROM {name}" for name in _TABLES} | {
    "extras": "SELECT * FROM extras WHERE objective != 'latency'",  # which is measured time
    "origins": "SELECT subject, proposer, note FROM origins",
}


def content(db: sqlite3.Connection) -> Content:
    """The rows of every table, sorted; equal for two runs of the same configuration, seed and look-ahead."""
    return {name: sorted(db.execute(query), key=repr) for name, query in _QUERIES.items()}
