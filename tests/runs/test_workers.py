"""Oracles: accidents made on purpose, each of which must cost its own job and nothing else: a worker that is killed,
one that hangs, one that runs out of memory, errors of a stranger's code, and a mistake of people.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from evonas.errors import InputError
from evonas.runs.inside import note
from evonas.runs.pool import Failure, threads
from evonas.runs.workers import Workers

TIMEOUT, LONG = 1.0, 3600.0  # of jobs that hang, and of others, which a busy machine may slow down


def commands(folder: Path) -> Callable[[str], str]:
    """What does jobs that are accidents; one that hangs says first that it has begun, and that Ctrl-C is no end."""

    def obey(job: str) -> str:
        if job.startswith("die"):
            with (folder / job).open("a") as file:
                file.write(".")
            if job == "die" or (folder / job).read_text() == ".":
                os.kill(os.getpid(), signal.SIGKILL)
        if job == "leave":
            sleeper = subprocess.Popen(["sleep", str(LONG)])
            (folder / job).write_text(str(sleeper.pid))
            os.kill(os.getpid(), signal.SIGKILL)
        if job in RAISED:
            raise RAISED[job]
        if job == "hang":
            os.kill(os.getpid(), signal.SIGINT)
            (folder / job).touch()
            time.sleep(LONG)
        if job == "starve":
            raise MemoryError
        if job == "mistake":
            raise InputError("data.path", "was deleted", remedy="put it back")
        return f"{job} with {torch.get_num_threads()} threads"

    return obey


class BadError(Exception):
    """Cannot be read back from a pickle, as the exceptions of many packages cannot."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


RAISED: dict[str, BaseException] = {
    "bad": BadError("two", "words"),
    "exit": SystemExit(0),
    "interrupt": KeyboardInterrupt(),
    "value": ValueError("first line\nsecond line"),
    "torch": RuntimeError("shapes differ"),
    "allocate": RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 1 bytes"),
}


def die(_: Path) -> Callable[[str], str]:
    os._exit(1)


def children() -> list[Any]:
    return [child for child in multiprocessing.active_children() if child.name == "pebble_pool_worker"]


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():  # what never happens is ended by pytest's own limit
        time.sleep(0.01)


@pytest.fixture(scope="module")
def accidents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | Failure | Exception]:
    """What each accident ended in; they all happen in one pool of two workers, but for the one that takes its time."""
    folder = tmp_path_factory.mktemp("began")
    found: dict[str, str | Failure | Exception] = {}
    with Workers(commands, folder, workers=1, threads=1, timeout=TIMEOUT) as pool:
        found["hang"] = pool.submit("hang")()
    (folder / "hang").unlink(missing_ok=True)
    with Workers(commands, folder, workers=2, threads=1, timeout=LONG) as pool:
        jobs = ("die", "die once", "leave", "starve", "mistake", "reply", *RAISED)
        pending = {job: pool.submit(job) for job in jobs}
        for job, wait in pending.items():
            try:
                found[job] = wait()
            except InputError as error:
                found[job] = error
        found["tries"] = (folder / "die").read_text()
        found["left"] = (folder / "leave").read_text()
        for child in children():
            child.kill()  # while nothing is done
        found["after idle workers died"] = pool.submit("reply")()
        pool.submit("hang")
        wait_for((folder / "hang").exists)
        assert children()
    return found


def test_a_killed_worker_costs_its_job(accidents: dict[str, Any]) -> None:
    assert accidents["die"] == Failure("worker died", f"exit code {-signal.SIGKILL}")


def test_a_job_that_hangs_is_ended_by_its_time_and_not_by_ctrl_c(accidents: dict[str, Any]) -> None:
    assert accidents["hang"] == Failure("took too long", limit=TIMEOUT)


def test_a_job_that_needs_too_much_memory_fails(accidents: dict[str, Any]) -> None:
    assert accidents["starve"] == Failure("out of memory", "MemoryError")
    assert accidents["allocate"].reason == "out of memory"


def test_a_job_whose_worker_was_killed_is_tried_once_more_and_no_more(accidents: dict[str, Any]) -> None:
    assert accidents["die once"] == "die once with 1 threads"
    assert accidents["tries"] == ".."


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("bad", "BadError: two words"),
        ("exit", "SystemExit: 0"),
        ("interrupt", "KeyboardInterrupt"),
        ("value", "ValueError: first line"),
        ("torch", "shapes differ"),
    ],
)
def test_an_error_of_any_kind_is_a_failure_of_its_job_in_words(job: str, words: str, accidents: dict[str, Any]) -> None:
    assert accidents[job] == Failure("error", words)


def test_what_a_dead_worker_has_started_is_ended(accidents: dict[str, Any]) -> None:
    assert accidents["leave"] == Failure("worker died", f"exit code {-signal.SIGKILL}")
    wait_for(lambda: not Path(f"/proc/{accidents['left']}").exists())


def test_a_mistake_of_people_reaches_them_from_a_worker(accidents: dict[str, Any]) -> None:
    error = accidents["mistake"]
    assert isinstance(error, InputError)
    assert str(error) == "data.path: was deleted; put it back"
    assert error.remedy == "put it back"


def test_the_pool_goes_on_after_accidents(accidents: dict[str, Any]) -> None:
    assert accidents["reply"] == "reply with 1 threads"


def test_workers_that_die_idle_are_replaced(accidents: dict[str, Any]) -> None:
    assert accidents["after idle workers died"] == "reply with 1 threads"


@pytest.mark.usefixtures("accidents")
def test_a_closed_pool_leaves_no_workers_behind() -> None:
    assert children() == []


def waiting(folder: Path) -> Callable[[str], str]:
    """What does jobs, the first of which ends when ``all others`` is there."""

    def work(job: str) -> str:
        if job == "first":
            wait_for((folder / "all others").exists)
        return f"{job} done"

    return work


def telling(folder: Path) -> Callable[[str], str]:
    """What says what it is doing, and ends when ``seen`` is there."""

    def work(job: str) -> str:
        note(f"begins {job}")
        note("too soon after that", often=True)
        wait_for((folder / "seen").exists)
        return job

    return work


class EnoughError(Exception):
    """Raised by one who waits no longer."""


def test_it_is_known_what_workers_do_and_waiting_for_them_can_be_ended(tmp_path: Path) -> None:
    with Workers(telling, tmp_path, workers=2, threads=1, timeout=LONG) as pool:
        pending = [pool.submit("this"), pool.submit("that")]
        wait_for(lambda: sorted(pool.doing()) == ["begins that", "begins this"])
        ticks = count(1)

        def tick() -> None:
            if next(ticks) == 3:
                raise EnoughError

        with pytest.raises(EnoughError):
            pending[0](tick)
        assert not pending[0].ready
        (tmp_path / "seen").touch()
        assert [wait(lambda: None) for wait in pending] == ["this", "that"]
        assert all(wait.ready for wait in pending)
        wait_for(lambda: pool.doing() == [])
        notes = pool._notes
        assert notes.is_dir()
    assert not notes.exists()
    note("nobody reads this")  # outside of a pool


def test_results_come_as_they_are_ready(tmp_path: Path) -> None:
    found: list[str] = []
    with Workers(waiting, tmp_path, workers=2, threads=1, timeout=LONG) as pool:
        for job, result in pool.unordered(["first", "second", "third"]):
            assert result == f"{job} done"
            found.append(job)
            if len(found) == 2:
                (tmp_path / "all others").touch()
    assert (sorted(found[:2]), found[2:]) == (["second", "third"], ["first"])


def test_workers_that_cannot_start_end_the_run_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evonas.runs.workers.MOST_BREAKS", 1)
    with Workers(die, tmp_path, workers=1, threads=1, timeout=LONG) as pool:
        pending = pool.submit("reply")
        with pytest.raises(InputError, match=r"^execution\.workers: workers crashed on start-up 2 times"):
            pending()


def test_a_pool_that_was_never_used_closes(tmp_path: Path) -> None:
    with Workers(commands, tmp_path, workers=2, threads=1, timeout=LONG):
        assert children() == []


@pytest.mark.parametrize("error", [None, KeyError("made")])
def test_the_number_of_threads_holds_meanwhile(error: Exception | None) -> None:
    before = torch.get_num_threads()
    try:
        with threads(before + 1):
            assert torch.get_num_threads() == before + 1
            if error is not None:
                raise error
    except KeyError:
        assert error is not None
    assert torch.get_num_threads() == before


SUSPENDED = """
import sys
from pathlib import Path
from tests.runs.test_workers import counting
from evonas.runs.workers import Workers

if __name__ == "__main__":
    with Workers(counting, Path(sys.argv[1]), workers=1, threads=1, timeout=3600.0) as pool:
        pool.submit("count")(lambda: None)
"""


def counting(folder: Path) -> Callable[[str], str]:
    """What counts until ``enough`` is there."""

    def work(job: str) -> str:
        for number in count():
            (folder / "counted.new").write_text(str(number))
            (folder / "counted.new").replace(folder / "counted")
            time.sleep(0.01)
            if (folder / "enough").exists():
                break
        return job

    return work


def test_ctrl_z_stops_workers_too_and_they_go_on_with_their_driver(tmp_path: Path) -> None:
    def counted() -> int:
        return int((tmp_path / "counted").read_text())

    script = tmp_path / "suspended.py"
    script.write_text(SUSPENDED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    driver = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment, process_group=0)
    try:
        wait_for((tmp_path / "counted").exists)
        os.kill(driver.pid, signal.SIGTSTP)
        state = Path(f"/proc/{driver.pid}/stat")
        wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
        before = counted()
        time.sleep(0.3)  # a worker that counted on would do so many times
        assert counted() <= before + 1
        os.kill(driver.pid, signal.SIGCONT)
        wait_for(lambda: counted() > before + 1)
        (tmp_path / "enough").touch()
        assert driver.wait() == 0
    finally:
        driver.kill()


LEAVING = """
import sys
from pathlib import Path
from tests.runs.test_workers import leaving
from evonas.runs.workers import Workers

if __name__ == "__main__":
    with Workers(leaving, Path(sys.argv[1]), workers=1, threads=1, timeout=3600.0) as pool:
        pool.submit("leave")(lambda: None)
"""


def leaving(folder: Path) -> Callable[[str], str]:
    """What starts a process, says its number, and waits for the end of its driver."""

    def work(_: str) -> str:
        sleeper = subprocess.Popen(["sleep", str(LONG)])
        (folder / "sleeper.new").write_text(str(sleeper.pid))
        (folder / "sleeper.new").replace(folder / "sleeper")
        time.sleep(LONG)
        return ""

    return work


def test_what_a_job_has_started_ends_with_a_killed_driver(tmp_path: Path) -> None:
    script = tmp_path / "leaving.py"
    script.write_text(LEAVING)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    driver = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    try:
        wait_for((tmp_path / "sleeper").exists)
    finally:
        driver.kill()
        driver.wait()
    status = Path(f"/proc/{(tmp_path / 'sleeper').read_text()}/stat")
    wait_for(lambda: not status.exists() or status.read_text().rpartition(")")[2].startswith(" Z"))
