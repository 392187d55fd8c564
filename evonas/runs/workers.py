"""Worker processes that may die, hang or run out of memory at the cost of one job."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch
from pebble import ProcessExpired, ProcessPool

from evonas.errors import InputError
from evonas.extensions import EXTENSIONS, load_extensions
from evonas.training.allocator import keep_memory

Setup = TypeVar("Setup")
Job = TypeVar("Job")
Result = TypeVar("Result")

WATCH_SECONDS = 2.0  # between a worker's looks whether its driver is alive
MOST_BREAKS = 3


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


class Workers(Generic[Setup, Job, Result]):
    """A pool of processes, each of which prepares once and then does jobs. Use as a context manager.

    Workers have the extensions that the driver has loaded when they start.

    Args:
        prepare: called with ``setup`` in each worker; gives what does jobs. A function of a module, so that it can
            travel. Errors it or a job raises reach whoever waits for the job.
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
        self._pool = self._new_pool()
        self._breaks = 0  # since the last job that came back

    def submit(self, job: Job) -> Callable[[], Result | Failure]:
        """Queue a job; call what this returns to get its result.

        Raises:
            InputError: workers keep dying before they do anything.
        """
        future = self._schedule(job)
        return partial(self._wait, self._pool, future, job)

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

    def _wait(self, pool: ProcessPool, future: "Future[Result]", job: Job) -> Result | Failure:
        while True:
            try:
                result = future.result()
            except BrokenProcessPool:  # a worker died while none had a job: nobody's fault, so once more
                if pool is self._pool:
                    self._renew()
                pool, future = self._pool, self._schedule(job)
            except FutureTimeout:
                return Failure("took too long", limit=self._timeout)
            except ProcessExpired as error:
                return Failure("worker died", f"exit code {error.exitcode}")
            except MemoryError:
                return Failure("out of memory")
            else:
                self._breaks = 0
                return result

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
                remedy="the machine may be out of memory: try fewer, or `--workers 1` to see the traceback",
            )
        self._close()
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._workers,
            initializer=_start_worker,
            initargs=(*self._start, tuple(EXTENSIONS)),
            context=get_context("spawn"),  # torch's threads do not survive a fork
        )

    def _close(self) -> None:
        self._pool.stop()
        self._pool.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()  # whatever still runs is dropped


_do: Callable[[Any], Any] | None = None  # of a worker process, which has no other place to keep it between jobs


def _start_worker(
    prepare: Callable[[Any], Callable[[Any], Any]], setup: Any, threads: int, extensions: Sequence[str]
) -> None:
    global _do
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which stops the workers itself
    threading.Thread(target=_end_with_driver, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(threads)
    keep_memory()
    load_extensions(extensions)  # before any job is read: a layer with a user's primitive could not be
    _do = prepare(setup)


def _end_with_driver(driver: int) -> None:
    """A killed driver cannot stop its workers; nobody would want what they still compute."""
    while os.getppid() == driver:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _do_in_worker(job: Any) -> Any:
    assert _do is not None, "the pool's initializer has run"
    return _do(job)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use so many threads in this process meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
