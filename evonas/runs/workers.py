"""Worker processes on this machine that may die, hang or run out of memory at the cost of one job."""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from evonas.errors import InputError
from evonas.extensions import EXTENSIONS
from evonas.runs import inside
from evonas.runs.guard import start_guard
from evonas.runs.log import LOGGER
from evonas.runs.pool import TRIES, Failure, Tick, result_of
from evonas.runs.suspending import suspending

Setup = TypeVar("Setup")
Job = TypeVar("Job")
Result = TypeVar("Result")

TICK_SECONDS = 0.1  # between looks of one who waits for a job
MOST_BREAKS = 3


class Workers(Generic[Setup, Job, Result]):
    """A pool of processes on this machine; see ``pool.open_pool`` for its arguments.

    Workers have the extensions that the driver has loaded when they start. A job whose worker was killed or took too
    long is done once more before that is its failure: the machine may have been suspended, its clock set, or its memory
    needed by another program.

    Args:
        prepare: gives what does jobs.
        setup: what a worker needs to begin.
        workers: how many processes.
        threads: of torch, in each.
        timeout: seconds a job may take.
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
        self._guard = start_guard(self._notes)
        self._pool = self._new_pool()
        self._breaks = 0  # since the last job that came back
        self._stack = ExitStack()

    def submit(self, job: Job) -> "Submitted[Job, Result]":
        """See ``Pool``.

        Raises:
            InputError: workers keep dying before they do anything.
        """
        future = self._schedule(job)
        return Submitted(self, self._pool, future, job)

    def doing(self) -> list[str]:
        """See ``Pool``."""
        found = []
        for file in sorted(self._notes.iterdir()):
            if _alive(int(file.name)) and (text := file.read_text(encoding="utf-8")):
                found.append(text)
        return found

    def unordered(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result | Failure]]:
        """See ``Pool``.

        Raises:
            InputError: workers keep dying before they do anything.
        """
        waiting: dict[Future[Any], tuple[ProcessPool, Job]] = {}
        for job in jobs:
            future = self._schedule(job)
            waiting[future] = (self._pool, job)
        for future in as_completed(waiting):
            pool, job = waiting[future]
            yield job, self._wait(pool, future, job)

    def _wait(self, pool: ProcessPool, future: "Future[Any]", job: Job, tick: Tick | None = None) -> Result | Failure:
        tries = 1
        while True:
            while tick is not None and not future.done():
                tick()
                wait_for([future], timeout=TICK_SECONDS)
            try:
                returned = future.result()
            except BrokenProcessPool:  # a worker died while none had a job: nobody's fault, so once more
                if pool is self._pool:
                    self._renew()
                pool, future = self._pool, self._schedule(job)
            except (FutureTimeout, ProcessExpired) as error:
                self._end_orphans()
                failure = self._lost(error)
                if tries == TRIES:
                    return failure
                LOGGER.warning("%s; it is tried once more", failure)
                tries, pool, future = tries + 1, self._pool, self._schedule(job)
            else:
                self._breaks = 0
                found: Result | Failure = result_of(returned)
                return found

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

    def _schedule(self, job: Job) -> "Future[Any]":
        try:
            return self._pool.schedule(inside.do, args=(job,), timeout=self._timeout)
        except RuntimeError:  # the pool broke while it had nothing to do
            self._renew()
            return self._pool.schedule(inside.do, args=(job,), timeout=self._timeout)

    def _renew(self) -> None:
        self._breaks += 1
        if self._breaks > MOST_BREAKS:
            found = f"workers crashed on start-up {self._breaks} times"
            raise InputError(
                "execution.workers",
                found,
                remedy="the machine may be out of memory: try fewer, or `--workers 0` to see the traceback; a script "
                'must call evonas under `if __name__ == "__main__":`',
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
        self._guard.communicate()  # which closes its input, and waits until it has deleted the notes


@dataclass(frozen=True, slots=True)
class Submitted(Generic[Job, Result]):
    """A job in a pool; see ``Waiting``."""

    workers: Workers[Any, Job, Result]
    pool: ProcessPool
    future: "Future[Any]"
    job: Job

    @property
    def ready(self) -> bool:
        """See ``Waiting``."""
        return self.future.done()

    def __call__(self, tick: Tick | None = None) -> Result | Failure:
        """See ``Waiting``."""
        return self.workers._wait(self.pool, self.future, self.job, tick)


def _start_worker(
    prepare: Callable[[Any], Callable[[Any], Any]], setup: Any, threads: int, extensions: Sequence[str], notes: Path
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which stops the workers itself
    os.setpgid(0, 0)  # so that a worker's own children end with it
    threading.Thread(target=inside.end_with_driver, args=(os.getppid(),), daemon=True).start()
    file = notes / str(os.getpid())

    def note_to(text: str) -> None:
        file.write_text(text, encoding="utf-8")

    inside.begin(prepare, setup, threads, extensions, note_to)


def _alive(process: int) -> bool:
    """Whether a process does anything any more; one that has ended and was not looked after yet does not."""
    try:
        os.kill(process, 0)
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except ProcessLookupError:
        return False
    except OSError:  # no Linux
        return True
    return not status.rpartition(")")[2].startswith(" Z")
