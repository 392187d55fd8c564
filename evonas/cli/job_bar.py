"""Shows how far the jobs of a study are, what is being done and how long the rest takes."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from evonas.runs.progress import duration_text

if TYPE_CHECKING:
    from evonas.runs.progress import JobProgress

PLAIN_EVERY = 10.0  # seconds between lines when the output is not a terminal
LOG = logging.getLogger("evonas.jobs")


class JobBar:
    """A bar on a terminal, and elsewhere a line now and then, also when something else begins to be done.

    Call it with a ``JobProgress``. What a line says goes to the log in either case.
    """

    def __init__(self, console: Console, what: str = "runs") -> None:
        self._console, self._what = console, what
        self._printed, self._seen = -PLAIN_EVERY, set[str]()
        columns = (TextColumn(what), BarColumn(bar_width=30), MofNCompleteColumn(), TimeElapsedColumn(), _Left())
        self._bar = Progress(*columns, TextColumn("{task.fields[doing]}", markup=False), console=console)
        self._task = self._bar.add_task(what, total=None, doing="")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def __call__(self, progress: JobProgress) -> None:
        """Show it."""
        now, ended = time.monotonic(), progress.finished == progress.total
        self._bar.update(
            self._task,
            completed=progress.finished,
            total=progress.total,
            doing=progress.doing,
            left=progress.left,
            at_least=progress.at_least,
            at=now,
        )
        if not (ended or progress.doing not in self._seen or now - self._printed >= PLAIN_EVERY):
            return
        self._printed = now
        self._seen.add(progress.doing)
        line = f"{progress.finished} of {progress.total} {self._what}"
        if progress.left is not None and not ended:
            line += f", {left_text(progress.left, at_least=progress.at_least)}"
        line += f": {progress.doing}" if progress.doing else ""
        LOG.info(line)
        if not (self._console.is_terminal or LOG.isEnabledFor(logging.DEBUG)):  # --verbose shows the log
            self._console.print(line, soft_wrap=True)


def left_text(seconds: float, *, at_least: bool) -> str:
    """How long something still takes, such as ``at least 3m05s left``."""
    return f"{'at least ' * at_least}{duration_text(seconds)} left"


class _Left(ProgressColumn):
    """The estimated time that is left, less what has passed since it was estimated."""

    max_refresh = 1.0

    def render(self, task: Task) -> Text:
        """See ``rich.progress.ProgressColumn``."""
        left = task.fields.get("left")
        if left is None:
            return Text("")
        passed = time.monotonic() - float(task.fields["at"])
        return Text(left_text(max(0.0, left - passed), at_least=task.fields["at_least"]))
