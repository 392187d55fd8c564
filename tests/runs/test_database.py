"""SQLite files as one file. Oracles: the names of the files beside it, its bytes, and what was put into it."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from archives import files_of

from evonas.runs.database import close_as_one_file, open_to_read, transaction, write_ahead
from evonas.runs.store import Key, Outcome, Store, totals

ALONE = ["file.sqlite"]
WITH_LOG = ["file.sqlite", "file.sqlite-shm", "file.sqlite-wal"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.sqlite"


def written(path: Path, values: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0.1)
    write_ahead(connection)
    with transaction(connection):
        connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in range(values)])
    return connection


def killed(path: Path, values: int) -> None:
    """A process writes values, and is killed."""
    script = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1])\n"
        "c.execute('PRAGMA journal_mode = WAL')\n"
        "c.execute('CREATE TABLE t (a)')\n"
        "c.executemany('INSERT INTO t VALUES (?)', [(n,) for n in range(int(sys.argv[2]))])\n"
        "c.commit()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path), str(values)], check=False)
    assert done.returncode == -signal.SIGKILL


def values_of(path: Path) -> int:
    with closing(open_to_read(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def test_a_file_that_is_closed_is_one_file_and_reading_it_leaves_nothing(path: Path) -> None:
    connection = written(path, 3)
    assert files_of(path) == WITH_LOG
    close_as_one_file(connection)
    assert files_of(path) == ALONE
    before = path.read_bytes()
    assert values_of(path) == 3
    assert (files_of(path), path.read_bytes()) == (ALONE, before)


def test_who_reads_while_it_is_written_sees_what_is_committed(path: Path) -> None:
    connection = written(path, 3)
    with closing(open_to_read(path)) as reader:
        connection.execute("INSERT INTO t VALUES (3)")
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (3,)
        connection.commit()
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (4,)
        close_as_one_file(connection, patience=0.0)  # which it cannot become while somebody reads it
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (4,)
    assert values_of(path) == 4
    close_as_one_file(written(path, 1))
    assert files_of(path) == ALONE


def test_a_file_in_wal_mode_without_its_log_is_read_and_nothing_is_made_beside_it(path: Path) -> None:
    written(path, 3).close()
    assert files_of(path) == ALONE
    assert path.read_bytes()[18:20] == b"\2\2"  # as earlier versions left finished runs
    assert values_of(path) == 3
    assert files_of(path) == ALONE


def test_what_a_killed_process_wrote_is_read_from_its_log(path: Path) -> None:
    killed(path, 3)
    assert files_of(path) == WITH_LOG
    assert values_of(path) == 3
    close_as_one_file(written(path, 1))
    assert (files_of(path), values_of(path)) == (ALONE, 4)


@pytest.mark.parametrize("log", [b"", None])
def test_where_no_file_can_be_made_it_is_read_if_its_log_is_empty(path: Path, log: bytes | None) -> None:
    """A link to nowhere stands where SQLite would make a file: it follows none, and makes none."""
    if log is None:
        killed(path, 3)
        path.with_name("file.sqlite-shm").unlink()
    else:
        written(path, 3).close()
        path.with_name("file.sqlite-wal").write_bytes(log)
    path.with_name("file.sqlite-shm").symlink_to("nowhere/at/all")
    if log is None:
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            values_of(path)
    else:
        assert values_of(path) == 3


def test_a_transaction_is_written_whole_or_not_at_all(path: Path) -> None:
    connection = written(path, 3)

    def interrupted() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO t VALUES (1)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    close_as_one_file(connection)
    assert values_of(path) == 3


def test_a_store_is_one_file_when_the_last_of_its_writers_closes_it(path: Path) -> None:
    with Store.open(path) as first:
        assert first.count() == 0
        with Store.open(path) as second:
            second.record(Key("1"), Outcome({}))
        assert files_of(path) == WITH_LOG
        first.record(Key("2"), Outcome({}))
    assert files_of(path) == ALONE
    assert totals(path).count == 2
    assert files_of(path) == ALONE
    with Store.open(path) as again:
        assert again.count() == 2
