"""What happens inside a worker of Ray's: it begins once for a pool, does jobs, and says at a desk what it is doing."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from evonas.runs import inside
from evonas.runs.shipping import Shipped, localized


@dataclass(frozen=True, slots=True)
class Start:
    """What a worker needs to begin, once for all of its jobs; ``name`` tells one pool from another."""

    name: str
    prepare: Callable[[Any], Callable[[Any], Any]]
    setup: Any
    threads: int
    extensions: tuple[str, ...]
    files: Shipped
    desk: Any


@dataclass(frozen=True, slots=True)
class Seen:
    """A job that a worker has begun: where it runs, for how many seconds, and what is done in it."""

    number: int
    node: str
    process: int
    text: str = ""
    seconds: float = 0.0


class Desk:
    """An actor to whom workers say what they are doing, by the number of the job."""

    def __init__(self) -> None:
        self._jobs: dict[int, Seen] = {}
        self._began: dict[int, float] = {}

    def begin(self, number: int, node: str, process: int) -> None:
        """A worker has begun with a job."""
        self._jobs[number], self._began[number] = Seen(number, node, process), time.monotonic()

    def note(self, number: int, text: str) -> None:
        """A worker does this, in this job."""
        if number in self._jobs:
            self._jobs[number] = replace(self._jobs[number], text=text)

    def forget(self, number: int) -> None:
        """The job has ended."""
        self._jobs.pop(number, None)
        self._began.pop(number, None)

    def seen(self) -> list[Seen]:
        """Every job that has begun and not ended."""
        now = time.monotonic()
        return [replace(seen, seconds=now - self._began[number]) for number, seen in self._jobs.items()]


_begun = ""  # the name of the pool that this worker process works for
_number = -1  # of the job that it does


def work(start: Start, number: int, job: Any, files: Shipped) -> Any:
    """Do a job, in a worker of Ray's."""
    global _begun, _number
    _number = number
    import ray

    # waited for: a worker that is stopped at once would never be seen, and its clock never run
    ray.get(start.desk.begin.remote(number, ray.get_runtime_context().get_node_id(), os.getpid()))

    def note_to(text: str) -> None:
        start.desk.note.remote(_number, text)

    try:
        if _begun != start.name:
            setup = localized(start.setup, start.files)
            inside.begin(start.prepare, setup, start.threads, start.extensions, note_to)
            _begun = start.name
        return inside.do(localized(job, files))
    except BaseException as error:  # of the preparation, or of a file that cannot be had
        return inside.as_value(error)
    finally:
        start.desk.forget.remote(number)


def end_worker(node: str, process: int) -> None:
    """Kill a worker of this node."""
    import ray

    if ray.get_runtime_context().get_node_id() == node:  # and not another one, where the number means nothing
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
