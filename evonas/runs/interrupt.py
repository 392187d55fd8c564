"""Stopping a long run by Ctrl-C, SIGTERM or a closed terminal without breaking what it is doing."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from evonas.errors import StopError

Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class RunInterruptedError(StopError):
    """The user wants the run to stop."""


class Interrupts:
    """Turns signals into a request to stop, which is heeded only where nothing can be lost.

    That is while waiting for a result, and where ``check`` is called. Elsewhere a signal is remembered: an exception
    in the middle of a transaction, or inside a library that turns it into an error of its own, would do harm. A second
    signal raises ``KeyboardInterrupt`` at once. Outside the main thread signals are left alone: what they do is the
    main thread's business.
    """

    def __init__(self) -> None:
        self._requested = self._waiting = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # Python delivers signals to the main thread, and lets no other one handle them
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants a closed terminal to mean nothing
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
            self.check()
            value = result()
        except BaseException:
            if self._requested:  # whatever the interruption turned into on its way here
                raise RunInterruptedError from None
            raise
        finally:
            self._waiting = False
        self.check()
        return value

    def check(self) -> None:
        """Go on only if no signal came.

        Raises:
            RunInterruptedError: one did.
        """
        if self._requested:
            raise RunInterruptedError

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        again, self._requested = self._requested, True
        if self._waiting or again:
            raise KeyboardInterrupt
