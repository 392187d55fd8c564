"""``log.txt`` of a run's folder: session after session, what was started and how, what was reported, and how it ended.

It is written by Python's ``logging``: everything that the loggers below ``evonas`` say while a folder is held, and all
warnings. A user's own handlers of the logger ``evonas`` get the same.
"""

import logging
import os
import re
import shlex
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from evonas.errors import first_line, shown

LOG = "log.txt"
FORM, TIME = "%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"

# where a session begins, and where it ends
_MARK = re.compile(r"\S+ \S+ [A-Z]+ (started: .* \(process .*|(?P<end>ended.*))")

LOGGER = logging.getLogger("evonas")
LOGGER.addHandler(logging.NullHandler())  # nothing is printed unless the program that imports evonas sets up logging


class _Shown(logging.Formatter):
    """Writes characters that are not seen as their escapes: a log is looked at on a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        return shown(super().format(record))


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Append to the log of a folder what happens in here, from the command to how it ended."""
    handler = logging.FileHandler(folder / LOG, encoding="utf-8")
    handler.setFormatter(_Shown(FORM, TIME))
    level, show = LOGGER.level, warnings.showwarning

    def show_and_log(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        LOGGER.warning("%s: %s", category.__name__, message)
        show(message, category, filename, lineno, file, line)

    LOGGER.addHandler(handler)
    LOGGER.setLevel(level or logging.INFO)
    warnings.showwarning = show_and_log
    try:
        command = " ".join(shlex.join(sys.orig_argv).split())  # on one line
        LOGGER.info("started: %s (process %d, in %s)", command, os.getpid(), Path.cwd())
        yield
        LOGGER.info("ended")
    except BaseException as error:
        LOGGER.warning("ended by %s: %s", type(error).__name__, first_line(error))
        raise
    finally:
        warnings.showwarning = show
        LOGGER.setLevel(level)
        LOGGER.removeHandler(handler)
        handler.close()


def last_ending(folder: Path) -> str | None:
    """How the last session in a folder ended: what its log says, nothing if it was killed, None without a log."""
    try:
        lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    marks = [found for found in map(_MARK.match, lines) if found]
    return next((mark["end"] or "" for mark in reversed(marks)), None)


def log_settings(text: str) -> None:
    """Put the settings of what is done into the log, as the lines of their file."""
    lines = [line for line in text.splitlines() if line]
    LOGGER.info("settings:\n%s", textwrap.indent("\n".join(lines), "    "))
