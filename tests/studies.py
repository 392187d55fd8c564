"""What tests of studies share: input that is refused, and a process that is killed."""

import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path


def assert_one_line(outcome: tuple[int, str, str], words: Sequence[str]) -> None:
    """A call of the command line was refused, in one line that says all this."""
    status, _, err = outcome
    assert status == 2
    assert len(err.splitlines()) == 1, err
    assert all(word in err for word in words), err


def kill_after(outcomes: int, command: Sequence[str], folder: Path, *, seconds: float = 200) -> int:
    """Run a study into a folder until so many outcomes are recorded, kill it, and say how many there are."""
    process = subprocess.Popen([*command, "--run", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record, end = folder / "results.sqlite", time.monotonic() + seconds
    while count_outcomes(record) < outcomes:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return count_outcomes(record)


def count_outcomes(record: Path) -> int:
    """How many results a file holds; read only, as another process is writing."""
    if not record.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"{record.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM results").fetchone()[0])
    except sqlite3.OperationalError:  # being made
        return 0
