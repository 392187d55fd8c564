"""How much a command says beside its results: ``--quiet`` and ``--verbose``."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from evonas.report.console import say

NOTES = logging.getLogger("evonas.cli")  # its level says whether notes and progress are shown


@contextmanager
def verbosity(*, quiet: bool, verbose: bool) -> Iterator[None]:
    """While a command runs: how much it says on the error stream.

    Args:
        quiet: nothing but errors; results are printed as ever.
        verbose: also what goes to the log of a run, with each candidate, and what other libraries say while they load.
    """
    own = logging.getLogger("evonas")
    levels = own.level, NOTES.level
    handler = _ErrorStream()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    if verbose:
        own.addHandler(handler)
        own.setLevel(logging.DEBUG)
    NOTES.setLevel(logging.ERROR if quiet else logging.INFO)
    try:
        yield
    finally:
        own.removeHandler(handler)
        own.setLevel(levels[0])
        NOTES.setLevel(levels[1])


class _ErrorStream(logging.Handler):
    """Prints on the error stream of the moment: a live display puts one of its own in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        say(self.format(record), error=True)


def notes_are_shown() -> bool:
    """Whether notes and progress are wanted."""
    return NOTES.level <= logging.INFO
