"""Workers of a Ray cluster: the driver keeps the search and its archive, and every job is a task on some machine."""

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, as_completed
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from evonas.config import ExecutionConfig
from evonas.errors import InputError
from evonas.extensions import EXTENSIONS
from evonas.extras import import_package
from evonas.runs.log import LOGGER
from evonas.runs.pool import OUT_OF_MEMORY, TRIES, Failure, Tick, result_of
from evonas.runs.ray_inside import Desk, Seen, Start, end_worker, work
from evonas.runs.shipping import Stored, ship

Setup = TypeVar("Setup")
Job = TypeVar("Job")
Result = TypeVar("Result")

TICK_SECONDS = 0.1  # between looks of one who waits for a job
LOOK_SECONDS = 0.5  # between the driver's looks at what its workers are doing
STRATEGIES = "ray.util.scheduling_strategies"
ANSWER_SECONDS = 10.0  # of patience with a cluster
MOST_MOVES = 20  # of a job from nodes that went away


@dataclass
class _Asked(Generic[Job]):
    """A job that was handed in, and what became of it so far."""

    number: int
    job: Job
    ref: Any
    tries: int = 1
    moves: int = 0
    overdue: bool = False
    future: "Future[Any]" = field(default_factory=Future)


class RayWorkers(Generic[Setup, Job, Result]):
    """A pool of Ray's workers; see ``pool.open_pool`` for its arguments.

    A job whose worker was killed or took too long is done once more before that is its failure, as on one machine; one
    whose node went away is done elsewhere. Ray itself repeats nothing. The driver watches the time that jobs take.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """

    def __init__(
        self,
        prepare: Callable[[Setup], Callable[[Job], Result]],
        setup: Setup,
        execution: ExecutionConfig,
        *,
        workers: int,
    ) -> None:
        self._ray = import_package("ray", "execution.executor")
        self._timeout = execution.timeout_seconds
        self._began_ray = _connect(self._ray, execution, workers)
        settings = execution.ray
        # on the driver's own node: without the driver it is of no use, and no other node can take it away
        place = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            self._ray.get_runtime_context().get_node_id(), soft=True
        )
        lasting = {"max_restarts": -1, "max_task_retries": -1}  # a call that does not get through is made again
        self._desk = self._ray.remote(num_cpus=0, scheduling_strategy=place, **lasting)(Desk).remote()
        self._files: dict[str, Stored] = {}
        files = ship(self._ray, setup, self._files)
        name, extensions = os.urandom(8).hex(), tuple(EXTENSIONS)
        start = Start(name, prepare, setup, execution.threads, extensions, files, self._desk)
        self._start = self._ray.put(start)
        self._do = self._ray.remote(
            num_cpus=settings.cpus or execution.threads,
            num_gpus=settings.gpus or None,
            memory=int(settings.memory_gib * 2**30) or None,
            max_calls=settings.recycle_after,
            max_retries=0,  # Ray would train a layer that kills its worker four times
        )(work)
        self._numbers = count()
        self._open: dict[int, _Asked[Job]] = {}
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._seen: list[Seen] = []
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()

    def submit(self, job: Job) -> "Submitted[Job, Result]":
        """See ``Pool``."""
        asked = _Asked(next(self._numbers), job, None)
        self._send(asked)
        return Submitted(self, asked)

    def doing(self) -> list[str]:
        """See ``Pool``."""
        return [seen.text for seen in self._seen if seen.text]

    def unordered(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Result | Failure]]:
        """See ``Pool``."""
        waiting = {submitted.asked.future: submitted for submitted in map(self.submit, jobs)}
        for future in as_completed(waiting):
            yield waiting[future].asked.job, waiting[future]()

    def _send(self, asked: _Asked[Job]) -> None:
        """Hand a job to Ray; its end is noticed on a thread of Ray's."""
        files = ship(self._ray, asked.job, self._files)
        asked.ref = self._do.remote(self._start, asked.number, asked.job, files)
        with self._lock:
            self._open[asked.number] = asked
        asked.ref.future().add_done_callback(lambda found: self._ended(asked, found))

    def _ended(self, asked: _Asked[Job], found: "Future[Any]") -> None:
        error = found.exception()
        if error is None:
            self._finish(asked, found.result())
        elif not self._closing.is_set():
            self._again_or_failed(asked, error)

    def _again_or_failed(self, asked: _Asked[Job], error: BaseException) -> None:
        """Do a job once more where its worker or its node was lost, or say why it failed."""
        exceptions = self._ray.exceptions
        self._desk.forget.remote(asked.number)
        if isinstance(error, exceptions.NodeDiedError | exceptions.LocalRayletDiedError) and asked.moves < MOST_MOVES:
            asked.moves += 1
            LOGGER.warning("a node went away; its job is done elsewhere")
        else:
            failure = self._failure(asked, error)
            if failure.reason == OUT_OF_MEMORY or asked.tries == TRIES:
                self._finish(asked, failure)
                return
            LOGGER.warning("%s; it is tried once more", failure)
            asked.tries, asked.overdue = asked.tries + 1, False
        try:
            self._send(asked)
        except Exception as lost:  # the cluster itself is gone
            self._finish(asked, Failure("worker died", f"the cluster does not answer ({type(lost).__name__})"))

    def _failure(self, asked: _Asked[Job], error: BaseException) -> Failure:
        if asked.overdue:
            return Failure("took too long", limit=self._timeout)
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            return Failure(OUT_OF_MEMORY, "ended by Ray's memory monitor")
        return Failure("worker died", type(error).__name__)

    def _finish(self, asked: _Asked[Job], found: Any) -> None:
        with self._lock:
            self._open.pop(asked.number, None)
        with suppress(Exception):  # nobody waits any more
            asked.future.set_result(found)

    def _look(self) -> None:
        """Ask, again and again, what is being done and since when, and end what takes too long: Ray has no clocks."""
        while not self._closing.wait(LOOK_SECONDS):
            try:
                self._seen = self._ray.get(self._desk.seen.remote(), timeout=10 * LOOK_SECONDS)
            except self._ray.exceptions.RayError:
                continue
            for seen in self._seen:
                with self._lock:
                    asked = self._open.get(seen.number)
                if asked is not None and not asked.overdue and seen.seconds > self._timeout:
                    asked.overdue = True
                    self._kill(seen)

    def _kill(self, seen: "Seen") -> None:
        """End a worker by a task on its node: one that is stopped, or hangs in C, does not hear Ray's own cancel."""
        on_its_node = import_package(STRATEGIES, "execution.executor").NodeAffinitySchedulingStrategy(
            node_id=seen.node, soft=True
        )
        kill = self._ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=on_its_node)(end_worker)
        kill.remote(seen.node, seen.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._watch.join()
        with self._lock:
            left = list(self._open.values())
        for asked in left:
            with suppress(Exception):  # it has just ended, or its node has
                self._ray.cancel(asked.ref, force=True)
        self._ray.kill(self._desk)
        if self._began_ray:
            self._ray.shutdown()


@dataclass(frozen=True, slots=True)
class Submitted(Generic[Job, Result]):
    """A job in a pool; see ``Waiting``."""

    workers: RayWorkers[Any, Job, Result]
    asked: _Asked[Job]

    @property
    def ready(self) -> bool:
        """See ``Waiting``."""
        return self.asked.future.done()

    def __call__(self, tick: Tick | None = None) -> Result | Failure:
        """See ``Waiting``."""
        while tick is not None and not self.ready:
            tick()
            wait_for([self.asked.future], timeout=TICK_SECONDS)
        found: Result | Failure = result_of(self.asked.future.result())
        return found


def _connect(ray: Any, execution: ExecutionConfig, workers: int) -> bool:
    """Reach the cluster, or start one here; whether that was done now and not by somebody else before.

    Raises:
        InputError: none answers.
    """
    if ray.is_initialized():
        return False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address := execution.ray_address:
        try:
            _knock(address)
            ray.init(address=address, **quiet)
        except (OSError, ValueError, RuntimeError) as error:
            found = f"no cluster at {address} ({type(error).__name__})"
            raise InputError("execution.executor", found, remedy="start one with: ray start --head") from None
        return True
    ray.init(num_cpus=max(1, workers) * execution.threads, include_dashboard=False, **quiet)
    return True


def _knock(address: str) -> None:
    """Ray itself waits for minutes where nobody answers.

    Raises:
        OSError: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS).close()
