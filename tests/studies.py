"""What tests of studies share: input that is refused, and results that are counted."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path


def assert_one_line(outcome: tuple[int, str, str], words: Sequence[str]) -> None:
    """A call of the command line was refused, in one line that says all this."""
    status, _, err = outcome
    assert status == 2
    assert len([line for line in err.splitlines() if not line.startswith("loading ")]) == 1, err
    assert all(word in err for word in words), err


def count_outcomes(record: Path) -> int:
    """How many results a file holds."""
    if not record.exists():
        return 0
    with closing(sqlite3.connect(f"{record.as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM results").fetchone()[0])
