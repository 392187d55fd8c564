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
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from pebble import ProcessExpired, ProcessPool

from evonas.config import SearchConfig
from evonas.evaluate.evaluator import Evaluator, evaluator_from_config
from evonas.graph.genome import Genome
from evonas.record.outcome import Evaluation, Rejection

WATCH_SECONDS = 2.0

Pending = Callable[[], Evaluation]


class Executor(Protocol):
    """Runs evaluations: ``submit`` gives a function that waits for the result."""

    def submit(self, genome: Genome, *, gated: bool = True) -> Pending:
        """Start (or queue) the evaluation of a genome, with the quality gate or without; call the result to get it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InProcess:
    """Evaluates when a result is waited for. An evaluation that raises ends the run: there is nobody to contain it."""

    def __init__(self, evaluator: Evaluator, threads: int) -> None:
        self._evaluator, self._threads = evaluator, threads

    def submit(self, genome: Genome, *, gated: bool = True) -> Pending:
        """See ``Executor``."""
        return partial(self._evaluate, genome, gated)

    def _evaluate(self, genome: Genome, gated: bool) -> Evaluation:
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            return self._evaluator(genome, gated=gated)
        finally:
            torch.set_num_threads(before)

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
        self._pool = ProcessPool(
            max_workers=config.execution.workers,
            initializer=_start_worker,
            initargs=(config,),
            context=get_context("spawn"),  # torch's threads do not survive a fork
        )

    def submit(self, genome: Genome, *, gated: bool = True) -> Pending:
        """See ``Executor``."""
        timeout = self._config.execution.timeout_seconds
        future = self._pool.schedule(_evaluate_in_worker, args=(genome, gated), timeout=timeout)
        return partial(self._wait, future, genome)

    def _wait(self, future: "Future[Evaluation]", genome: Genome) -> Evaluation:
        limit = self._config.execution.timeout_seconds
        try:
            return future.result()
        except FutureTimeout:
            rejection = Rejection("execution", "took too long", measured=limit, limit=limit)
        except ProcessExpired as error:
            rejection = Rejection("execution", "worker died", detail=f"exit code {error.exitcode}")
        except MemoryError:
            rejection = Rejection("execution", "out of memory")
        return Evaluation(genome.key, self._config.seed, rejection=rejection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # whatever still runs was not told and is asked for again on resume
        self._pool.stop()
        self._pool.join()


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


def _evaluate_in_worker(genome: Genome, gated: bool) -> Evaluation:
    assert _evaluator is not None, "the pool's initializer has run"
    return _evaluator(genome, gated=gated)


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
