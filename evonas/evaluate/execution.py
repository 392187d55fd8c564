"""Where evaluations run: in this process, or in worker processes that may die without harm.

Both give the same numbers: an evaluation uses a fixed number of threads and depends on nothing but its genome and the
configuration.
"""

import ctypes
import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from pebble import ProcessExpired, ProcessPool

from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.evaluate.evaluator import Evaluator, evaluator_from_config
from evonas.evaluate.rungs import Hurdle
from evonas.graph.genome import Genome
from evonas.record.outcome import Evaluation, Rejection

WATCH_SECONDS = 2.0  # between a worker's looks whether its driver is alive
MOST_BREAKS = 3

Pending = Callable[[], Evaluation]


@dataclass(frozen=True, slots=True)
class Job:
    """One evaluation, as it travels to a worker."""

    genome: Genome
    gated: bool
    hurdles: tuple[Hurdle, ...] = ()
    seed: int | None = None

    def run(self, evaluator: Evaluator) -> Evaluation:
        """Do it."""
        return evaluator(self.genome, gated=self.gated, hurdles=self.hurdles, seed=self.seed)


class Executor(Protocol):
    """Runs evaluations: ``submit`` gives a function that waits for the result."""

    def submit(
        self, genome: Genome, *, gated: bool = True, hurdles: Sequence[Hurdle] = (), seed: int | None = None
    ) -> Pending:
        """Queue an evaluation, with the arguments of ``Evaluator``; call what this returns to get the result."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use so many threads in this process meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class InProcess:
    """Evaluates when a result is waited for. An evaluation that raises ends the run: there is nobody to contain it."""

    def __init__(self, evaluator: Evaluator, threads: int) -> None:
        self._evaluator, self._threads = evaluator, threads

    def submit(
        self, genome: Genome, *, gated: bool = True, hurdles: Sequence[Hurdle] = (), seed: int | None = None
    ) -> Pending:
        """See ``Executor``."""
        return partial(self._evaluate, Job(genome, gated, tuple(hurdles), seed))

    def _evaluate(self, job: Job) -> Evaluation:
        with threads(self._threads):
            return job.run(self._evaluator)

    def __enter__(self) -> Self:
        keep_memory()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LocalPool:
    """Worker processes on this machine; one that is killed, hangs or runs out of memory costs its candidate only."""

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._pool = self._new_pool()
        self._breaks = 0  # since the last evaluation that came back

    def submit(
        self, genome: Genome, *, gated: bool = True, hurdles: Sequence[Hurdle] = (), seed: int | None = None
    ) -> Pending:
        """See ``Executor``.

        Raises:
            InputError: workers keep dying before they evaluate anything.
        """
        job = Job(genome, gated, tuple(hurdles), seed)
        return partial(self._wait, self._pool, self._schedule(job), job)

    def _wait(self, pool: ProcessPool, future: "Future[Evaluation]", job: Job) -> Evaluation:
        limit = self._config.execution.timeout_seconds
        while True:
            try:
                evaluation = future.result()
                self._breaks = 0
                return evaluation
            except BrokenProcessPool:  # a worker died while none was evaluating: nobody's fault, so once more
                if pool is self._pool:
                    self._renew()
                pool, future = self._pool, self._schedule(job)
            except FutureTimeout:
                rejection = Rejection("execution", "took too long", measured=limit, limit=limit)
                break
            except ProcessExpired as error:
                rejection = Rejection("execution", "worker died", detail=f"exit code {error.exitcode}")
                break
            except MemoryError:
                rejection = Rejection("execution", "out of memory")
                break
        return Evaluation(job.genome.key, self._config.seed if job.seed is None else job.seed, rejection=rejection)

    def _schedule(self, job: Job) -> "Future[Evaluation]":
        timeout = self._config.execution.timeout_seconds
        try:
            future: Future[Evaluation] = self._pool.schedule(_evaluate_in_worker, args=(job,), timeout=timeout)
        except RuntimeError:  # the pool broke while it had nothing to do
            self._renew()
            future = self._pool.schedule(_evaluate_in_worker, args=(job,), timeout=timeout)
        return future

    def _renew(self) -> None:
        self._breaks += 1
        if self._breaks > MOST_BREAKS:
            found = f"workers died {self._breaks} times before they evaluated anything"
            raise InputError("execution.workers", found, remedy="ask for fewer (memory?), or for 1 to see the error")
        self._close()
        self._pool = self._new_pool()

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(
            max_workers=self._config.execution.workers,
            initializer=_start_worker,
            initargs=(self._config,),
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
        self._close()  # whatever still runs was not told and is asked for again on resume


_evaluator: Evaluator | None = None  # of a worker process, which has no other place to keep it between calls


def _start_worker(config: SearchConfig) -> None:
    global _evaluator
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which stops the workers itself
    threading.Thread(target=_end_with_driver, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(config.execution.threads)
    keep_memory()
    _evaluator = evaluator_from_config(config)


def _end_with_driver(driver: int) -> None:
    """A killed driver cannot stop its workers; nobody would want what they still compute."""
    while os.getppid() == driver:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _evaluate_in_worker(job: Job) -> Evaluation:
    assert _evaluator is not None, "the pool's initializer has run"
    return job.run(_evaluator)


def keep_memory() -> None:
    """Ask glibc to keep freed memory: activations of a few MB otherwise cost page faults at every step.

    Measured on CPU: elementwise forward and backward on 2 MB tensors run 1.5 to 3 times faster.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    libc: Any = ctypes.CDLL(None)
    trim_threshold, mmap_threshold, one_gigabyte = -1, -3, 1 << 30
    if not libc.mallopt(mmap_threshold, one_gigabyte):
        libc.mallopt(mmap_threshold, 1 << 25)  # the most that an older glibc takes
    libc.mallopt(trim_threshold, one_gigabyte)


def make_executor(config: SearchConfig) -> Executor:
    """One worker runs in this process, several in a pool.

    Raises:
        InputError: the data or architectures of the search cannot be had; found before any worker starts.
    """
    evaluator = evaluator_from_config(config)
    if config.execution.workers == 1:
        return InProcess(evaluator, config.execution.threads)
    return LocalPool(config)
