"""Stopping a long run by Ctrl-C or SIGTERM without breaking what it is doing."""

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class RunInterruptedError(Exception):
    """The user wants the run to stop."""


class Interrupts:
    """Turns signals into a request to stop, which is heeded only where nothing can be lost: while waiting for a result.

    Elsewhere a signal is remembered: an exception in the middle of a transaction, or inside a library that turns it
    into an error of its own, would do harm. A second signal raises ``KeyboardInterrupt`` at once.
    """

    def __init__(self) -> None:
        self._requested = self._waiting = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def wait(self, result: Callable[[], Result]) -> Result:
        """What ``result`` returns.

        Raises:
            RunInterruptedError: a signal came, now or earlier; what was waited for is dropped.
        """
        try:
            self._waiting = True
            value = None if self._requested else result()
        except BaseException:
            if not self._requested:
                raise
            value = None  # whatever the interruption turned into on its way here
        finally:
            self._waiting = False
        if self._requested or value is None:
            raise RunInterruptedError
        return value

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        again, self._requested = self._requested, True
        if self._waiting or again:
            raise KeyboardInterrupt
