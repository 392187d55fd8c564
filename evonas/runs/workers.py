"""Worker processes that may die, hang or run out of memory at the cost of one job."""

import os
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch
from pebble import ProcessExpired, ProcessPool

from evonas.errors import InputError, described, is_out_of_memory
from evonas.extensions import EXTENSIONS, load_extensions
from evonas.runs.log import LOGGER
from evonas.runs.suspending import suspending
from evonas.training.allocator import keep_memory

Setup = TypeVar("Setup")
Job = TypeVar("Job")
Result = TypeVar("Result")

WATCH_SECONDS = 2.0  # between a worker's looks whether its driver is alive
TICK_SECONDS = 0.1  # between looks of one who waits for a job
NOTE_SECONDS = 0.5  # between a worker's notes of what it does
MOST_BREAKS = 3
TRIES = 2  # of a job whose worker was killed or took too long, which may have been the machine's fault


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job gave no result, where neither the job nor the one who asked for it made a mistake.

    Attributes:
        reason: a short fixed phrase.
        detail: more for people.
        limit: the seconds it was allowed, if it took longer.
    """

    reason: str
    detail: str = ""
    limit: float | None = None

    def __str__(self) -> str:
        limit = f"{self.limit:g} s" if self.limit else ""
        return ": ".join(part for part in (self.reason, self.detail or limit) if part)


@dataclass(frozen=True, slots=True)
class Raised:
    """An error that a job raised, in words: errors of a stranger's code may not survive the way to the driver."""

    words: str
    trace: str
    out_of_memory: bool


class Workers(Generic[Setup, Job, Result]):
    """A pool of processes, each of which prepares once and then does jobs. Use as a context manager.

    Workers have the extensions that the driver has loaded when they start.

    Args:
        prepare: called with ``setup`` in each worker; gives what does jobs. A function of a module, so that it can
            travel. What a job raises is a failure of the job, but an ``InputError`` reaches whoever waits for it.
        setup: what a worker needs to begin.
        workers: how many processes.
        threads: of torch, in each.
        timeout: seconds a job may take.

    A job whose worker was killed or took too long is done once more before that is its failure: the machine may have
    been suspended, its clock set, or its memory needed by another program.
    """

    def __init__(
        self,
        prepare: Callable[[Setup], Callable[[Job], Result]],
        setup: Setup,
        *,
        workers: int,
        threads: int,
        timeout: float,
    ) -> None:
        self._start = (prepare, setup, threads)
        self._workers, self._timeout = workers, timeout
        self._notes = Path(tempfile.mkdtemp(prefix="evonas-"))
        self._pool = self._new_pool()
        self._breaks = 0  # since the last job that came back
        self._stack = ExitStack()

    def submit(self, job: Job) -> "Submitted[Job, Result]":
        """Queue a job; call what this returns to get its result.

        Raises:
            InputError: workers keep dying before they do anything.
        """
        future = self._schedule(job)
        return Submitted(self, self._pool, future, job)

    def doing(self) -> list[str]:
        """What the workers have noted that they are doing now, one line for each that has; see ``note``."""
        found = []
        for file in sorted(self._notes.iterdir()):
            if _alive(int(file.name)) and (text := file.read_text(encoding="utf-8")):
                found.append(text)
        return found

    def unordered(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result | Failure]]:
        """Do all jobs, and give each with its result as it comes.

        Raises:
            InputError: workers keep dying before they do anything.
        """
        waiting: dict[Future[Result], tuple[ProcessPool, Job]] = {}
        for job in jobs:
            future = self._schedule(job)
            waiting[future] = (self._pool, job)
        for future in as_completed(waiting):
            pool, job = waiting[future]
            yield job, self._wait(pool, future, job)

    def _wait(
        self, pool: ProcessPool, future: "Future[Result]", job: Job, tick: Callable[[], None] | None = None
    ) -> Result | Failure:
        tries = 1
        while True:
            while tick is not None and not future.done():
                tick()
                wait_for([future], timeout=TICK_SECONDS)
            try:
                result = future.result()
            except BrokenProcessPool:  # a worker died while none had a job: nobody's fault, so once more
                if pool is self._pool:
                    self._renew()
                pool, future = self._pool, self._schedule(job)
                continue
            except (FutureTimeout, ProcessExpired) as error:
                self._end_orphans()
                failure = self._lost(error)
            else:
                self._breaks = 0
                if not isinstance(result, Raised):
                    return result
                LOGGER.debug("a worker raised %s", result.trace)
                return Failure("out of memory" if result.out_of_memory else "error", result.words)
            if tries == TRIES:
                return failure
            LOGGER.warning("%s; it is tried once more", failure)
            tries, pool, future = tries + 1, self._pool, self._schedule(job)

    def _lost(self, error: FutureTimeout | ProcessExpired) -> Failure:
        if isinstance(error, ProcessExpired):
            return Failure("worker died", f"exit code {error.exitcode}")
        return Failure("took too long", limit=self._timeout)

    def _end_orphans(self) -> None:
        """End what dead workers have left running: each led a group of processes, known by its own number."""
        for file in self._notes.iterdir():
            if not _alive(int(file.name)):
                file.unlink(missing_ok=True)
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(int(file.name), signal.SIGKILL)

    def _schedule(self, job: Job) -> "Future[Result]":
        try:
            return self._pool.schedule(_do_in_worker, args=(job,), timeout=self._timeout)
        except RuntimeError:  # the pool broke while it had nothing to do
            self._renew()
            return self._pool.schedule(_do_in_worker, args=(job,), timeout=self._timeout)

    def _renew(self) -> None:
        self._breaks += 1
        if self._breaks > MOST_BREAKS:
            found = f"workers crashed on start-up {self._breaks} times"
            raise InputError(
                "execution.workers",
                found,
                remedy="the machine may be out of memory: try fewer, or `--workers 0` to see the traceback",
            )
        self._close()
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._workers,
            initializer=_start_worker,
            initargs=(*self._start, tuple(EXTENSIONS), self._notes),
            context=get_context("spawn"),  # torch's threads do not survive a fork
        )

    def _close(self) -> None:
        self._pool.stop()
        self._pool.join()
        self._end_orphans()

    def _groups(self) -> list[int]:
        return [int(file.name) for file in self._notes.iterdir() if _alive(int(file.name))]

    def __enter__(self) -> Self:
        self._stack.enter_context(suspending(self._groups))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._close()  # whatever still runs is dropped
        shutil.rmtree(self._notes, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Submitted(Generic[Job, Result]):
    """A job in a pool. Call it to wait for its result."""

    workers: Workers[Any, Job, Result]
    pool: ProcessPool
    future: "Future[Result]"
    job: Job

    @property
    def ready(self) -> bool:
        """Whether nobody has to wait any more."""
        return self.future.done()

    def __call__(self, tick: Callable[[], None] | None = None) -> Result | Failure:
        """The result.

        Args:
            tick: called several times a second while the job is waited for; what it raises ends the waiting.

        Raises:
            InputError: workers keep dying before they do anything.
        """
        return self.workers._wait(self.pool, self.future, self.job, tick)


_notes: Path | None = None  # of a worker process, as is what does its jobs
_noted = 0.0
_do: Callable[[Any], Any] | None = None  # of a worker process, which has no other place to keep it between jobs


def _start_worker(
    prepare: Callable[[Any], Callable[[Any], Any]], setup: Any, threads: int, extensions: Sequence[str], notes: Path
) -> None:
    global _do, _notes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which stops the workers itself
    os.setpgid(0, 0)  # so that a worker's own children end with it
    threading.Thread(target=_end_with_driver, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(threads)
    keep_memory()
    load_extensions(extensions)  # before any job is read: a layer with a user's primitive could not be
    _notes = notes / str(os.getpid())
    note("starting")
    _do = prepare(setup)
    note("")


def _end_with_driver(driver: int) -> None:
    """A killed driver cannot stop its workers; nobody would want what they still compute."""
    while os.getppid() == driver:
        time.sleep(WATCH_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _do_in_worker(job: Any) -> Any:
    assert _do is not None, "the pool's initializer has run"
    try:
        return _do(job)
    except InputError:
        raise
    except BaseException as error:  # a task of the user's may call sys.exit
        return Raised(described(error), traceback.format_exc(), is_out_of_memory(error))
    finally:
        note("")


def note(text: str, *, often: bool = False) -> None:
    """Let the driver of a pool know what this worker is doing; does nothing outside of one.

    Args:
        text: for people; empty if it is doing nothing.
        often: whether another note comes soon, so that this one may be left out.
    """
    global _noted
    now = time.monotonic()
    if _notes is not None and not (often and now - _noted < NOTE_SECONDS):
        _noted = now
        _notes.write_text(text, encoding="utf-8")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use so many threads in this process meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
