"""Ctrl-Z for a program with worker processes: they lead groups of their own, which a terminal does not stop."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def suspending(groups: Callable[[], Iterable[int]]) -> Iterator[None]:
    """Stop these groups of processes when this process is stopped by Ctrl-Z, and let them go on when it does.

    Outside the main thread, which alone may handle signals, nothing is changed.

    Args:
        groups: called when the signal comes; gives the numbers of the groups.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped = list(groups())
        _tell(stopped, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)  # returns when somebody continues this process
        _tell(stopped, signal.SIGCONT)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def _tell(groups: Iterable[int], number: signal.Signals) -> None:
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, number)
