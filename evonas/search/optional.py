"""A watcher that only shows: where it cannot write, it falls silent, and the search goes on."""

from collections.abc import Callable
from typing import Protocol

from evonas.search.driver import Watcher
from evonas.search.outcome import Candidate, Evaluation, Remeasurement


class Closable(Watcher, Protocol):
    """A watcher that holds files."""

    def close(self) -> None:
        """Write what is left, and let go of the files."""
        ...


class OptionalWatcher:
    """A watcher whose ``OSError`` ends itself alone: its disk may be full, or its folder gone.

    Args:
        make: makes the watcher.
        say: is given, once, what went wrong.
    """

    def __init__(self, make: Callable[[], Closable], say: Callable[[str], None]) -> None:
        self._say = say
        self._watcher: Closable | None = None
        try:
            self._watcher = make()
        except OSError as error:
            self._end(error)

    def baseline(self, name: str, evaluation: Evaluation) -> None:
        """See ``Watcher``."""
        self._show(lambda watcher: watcher.baseline(name, evaluation))

    def told(self, candidate: Candidate, evaluation: Evaluation, *, recorded: bool) -> None:
        """See ``Watcher``."""
        self._show(lambda watcher: watcher.told(candidate, evaluation, recorded=recorded))

    def measured(self, measurement: Remeasurement, evaluation: Evaluation, *, recorded: bool) -> None:
        """See ``Watcher``."""
        self._show(lambda watcher: watcher.measured(measurement, evaluation, recorded=recorded))

    def close(self) -> None:
        """See ``Closable``."""
        self._show(lambda watcher: watcher.close())
        self._watcher = None

    def _show(self, show: Callable[[Closable], None]) -> None:
        if self._watcher is None:
            return
        try:
            show(self._watcher)
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        self._watcher = None
        self._say(f"cannot be written any more, and the search goes on without it ({error.strerror or error})")
