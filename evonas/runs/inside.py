"""What happens inside a worker process: it prepares once, does jobs, and says what it is doing."""

import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evonas.errors import InputError, described, is_out_of_memory
from evonas.extensions import load_extensions
from evonas.training.allocator import keep_memory

WATCH_SECONDS = 2.0  # between a worker's looks whether its driver is alive
NOTE_SECONDS = 0.5  # between a worker's notes of what it does


@dataclass(frozen=True, slots=True)
class Raised:
    """An error that a job raised, in words: errors of a stranger's code may not survive the way to the driver."""

    words: str
    trace: str
    out_of_memory: bool


# of a worker process, which has no other place to keep them between jobs
_do: Callable[[Any], Any] | None = None
_note_to: Callable[[str], None] | None = None
_noted = 0.0


def begin(
    prepare: Callable[[Any], Callable[[Any], Any]],
    setup: Any,
    threads: int,
    extensions: Sequence[str],
    note_to: Callable[[str], None],
) -> None:
    """Get ready for jobs.

    Args:
        prepare: gives what does jobs, from ``setup``.
        setup: what a worker needs to begin.
        threads: of torch.
        extensions: that the driver has loaded.
        note_to: passes on what is being done.
    """
    global _do, _note_to
    torch.set_num_threads(threads)
    keep_memory()
    load_extensions(extensions)  # before any job is read: a layer with a user's primitive could not be
    _note_to = note_to
    note("starting")
    _do = prepare(setup)
    note("")


def do(job: Any) -> Any:
    """Do a job; what it raises is returned, as an ``InputError`` or as ``Raised``."""
    assert _do is not None, "the worker has begun"
    try:
        return _do(job)
    except BaseException as error:  # a task of the user's may call sys.exit
        return as_value(error)
    finally:
        note("")


def as_value(error: BaseException) -> InputError | Raised:
    """An error in a form that travels; called where it is handled."""
    if isinstance(error, InputError):
        return error
    return Raised(described(error), traceback.format_exc(), is_out_of_memory(error))


def end_with_driver(driver: int) -> None:
    """End this process and those it has started when its driver is gone, which cannot stop it then.

    Args:
        driver: the number of the process that has started this one.
    """
    while os.getppid() == driver:
        time.sleep(WATCH_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def note(text: str, *, often: bool = False) -> None:
    """Let the driver of a pool know what this worker is doing; does nothing outside of one.

    Args:
        text: for people; empty if it is doing nothing.
        often: whether another note comes soon, so that this one may be left out.
    """
    global _noted
    now = time.monotonic()
    if _note_to is not None and not (often and now - _noted < NOTE_SECONDS):
        _noted = now
        _note_to(text)
