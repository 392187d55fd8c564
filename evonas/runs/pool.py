"""A pool of workers, wherever they are: jobs are handed in, and a job that fails costs nothing but itself."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import torch

from evonas.config import ExecutionConfig
from evonas.errors import InputError
from evonas.runs.inside import Raised
from evonas.runs.log import LOGGER

Job = TypeVar("Job")
Result = TypeVar("Result")
JobIn = TypeVar("JobIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)

Tick = Callable[[], None]
TRIES = 2  # of a job whose worker was killed or took too long, which may have been the machine's fault
OUT_OF_MEMORY, ERROR = "out of memory", "error"


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


class Waiting(Protocol[ResultOut]):
    """A job in a pool. Call it to wait for its result."""

    @property
    def ready(self) -> bool:
        """Whether nobody has to wait any more."""
        ...

    def __call__(self, tick: Tick | None = None) -> ResultOut | Failure:
        """The result.

        Args:
            tick: called several times a second while the job is waited for; what it raises ends the waiting.

        Raises:
            InputError: the job raised it, or there are no workers to be had.
        """
        ...


class Pool(Protocol[JobIn, ResultOut]):
    """Processes, each of which prepares once and then does jobs. Use as a context manager."""

    def submit(self, job: JobIn) -> Waiting[ResultOut]:
        """Queue a job; call what this returns to get its result."""
        ...

    def doing(self) -> list[str]:
        """What the workers have noted that they are doing now, one line for each that has; see ``inside.note``."""
        ...

    def unordered(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, ResultOut | Failure]]:
        """Do all jobs, and give each with its result as it comes."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def result_of(returned: Any) -> Any:
    """The result or the failure in what ``inside.do`` has returned.

    Raises:
        InputError: the job raised it.
    """
    if isinstance(returned, InputError):
        raise returned
    if not isinstance(returned, Raised):
        return returned
    LOGGER.debug("a worker raised %s", returned.trace)
    return Failure(OUT_OF_MEMORY if returned.out_of_memory else ERROR, returned.words)


def open_pool(
    prepare: Callable[[Any], Callable[[Job], Result]], setup: Any, execution: ExecutionConfig, workers: int
) -> Pool[Job, Result]:
    """The pool that ``[execution]`` asks for.

    Args:
        prepare: called with ``setup`` in each worker; gives what does jobs. A function of a module, so that it can
            travel. What a job raises is a failure of the job, but an ``InputError`` reaches whoever waits for it.
        setup: what a worker needs to begin.
        execution: where the workers are, threads, device and timeout.
        workers: how many at most.

    Raises:
        InputError: Ray is asked for, and is not installed or does not answer.
    """
    if execution.on_ray:
        from evonas.runs.ray_workers import RayWorkers

        return RayWorkers(prepare, setup, execution, workers=workers)
    from evonas.runs.workers import Workers

    limits = {"workers": workers, "threads": execution.threads, "timeout": execution.timeout_seconds}
    return Workers(prepare, setup, **limits)  # type: ignore[arg-type]


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use so many threads in this process meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
