"""What a running search shows: live on a terminal, a line now and then elsewhere."""

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from evonas.report.table import written
from evonas.runs.progress import duration_text
from evonas.search.budget import Clock
from evonas.search.outcome import Candidate, Evaluation, Remeasurement

PLAIN_EVERY = 10.0  # seconds between lines when the output is not a terminal


class SearchProgress:
    """Says what a search is doing, what it has found and what that cost. It is a watcher of the search.

    Args:
        console: where to show it; None shows nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self._console = console
        self._clock: Clock | None = None
        self._threads = 1
        self._now: Sequence[str] = ()
        self._rejections: Counter[str] = Counter()
        self._evaluated = self._scored = self._new = self._measured = 0
        self._core_seconds = 0.0
        self._best: tuple[float, Candidate, Evaluation] | None = None
        self._baselines: dict[str, float | None] = {}
        self._started = self._printed = time.monotonic()
        on_terminal = console is not None and (console.is_terminal or console.is_jupyter)
        self._live = Live(get_renderable=self._panel, console=console, refresh_per_second=2) if on_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._now = ()
        if self._live is not None:
            self._live.stop()
        elif self._clock is not None:
            self._print(self._line())

    def count(self, clock: Clock, threads: int) -> None:
        """From now on, show how much of a budget is used; ``threads`` are those of one training."""
        self._clock, self._threads = clock, threads

    def say(self, what: str) -> None:
        """What is being done, where that is one thing that takes a while."""
        self._now = (what,)
        if self._live is not None:
            self._live.refresh()
        else:
            self._print(what)

    def note(self, line: str) -> None:
        """A line that stays."""
        self._print(line)

    def doing(self, lines: Sequence[str]) -> None:
        """What is being done at this moment, by the workers and by the driver."""
        self._now = tuple(lines)
        now = time.monotonic()
        if self._live is None and now - self._printed >= PLAIN_EVERY:
            self._printed = now
            self._print(self._line())

    def baseline(self, name: str, evaluation: Evaluation) -> None:
        """See ``Watcher``."""
        self._baselines[name] = evaluation.mean
        self._core_seconds += evaluation.seconds * self._threads
        if self._live is None:
            self._print(f"baseline {name}: {written(evaluation.mean)}")

    def told(self, candidate: Candidate, evaluation: Evaluation, *, recorded: bool) -> None:
        """See ``Watcher``."""
        self._evaluated += 1
        self._new += not recorded
        self._core_seconds += evaluation.seconds * self._threads
        for (stage, _), count in candidate.reasons.items():
            self._rejections[stage] += count
        if evaluation.rejection is not None:
            self._rejections[f"{evaluation.rejection.stage}: {evaluation.rejection.reason}"] += 1
        mean = evaluation.mean
        if mean is not None:
            self._scored += 1
            if self._best is None or mean > self._best[0]:
                self._best = (mean, candidate, evaluation)

    def measured(self, measurement: Remeasurement, evaluation: Evaluation, *, recorded: bool) -> None:  # noqa: ARG002
        """See ``Watcher``."""
        self._measured += 1
        self._core_seconds += evaluation.seconds * self._threads

    def _print(self, line: str) -> None:
        if self._console is not None:
            self._console.print(line, soft_wrap=True)

    def _pace(self) -> float:
        """New evaluations per minute."""
        return 60 * self._new / max(time.monotonic() - self._started, 1e-9)

    def _left(self) -> str:
        fraction = self._clock.fraction(self._evaluated) if self._clock is not None else 0.0
        if self._clock is None or not 0 < fraction < 1:
            return "-"
        return duration_text(self._clock.seconds * (1 - fraction) / fraction)

    def _counts(self) -> str:
        seconds = self._clock.seconds if self._clock is not None else 0.0
        again = f", {self._measured} measured again" if self._measured else ""
        return (
            f"{self._evaluated} evaluated, {self._scored} scored{again}, {self._pace():.1f} a minute; "
            f"{duration_text(seconds)} used, {self._left()} left; {self._core_seconds:.0f} core-seconds of training"
        )

    def _reasons(self, between: str) -> str:
        return between.join(f"{reason} {count}" for reason, count in self._rejections.most_common()) or "none"

    def _line(self) -> str:
        best = f"best {self._best[0]:.4f} (candidate {self._best[1].index})" if self._best else "no scores yet"
        now = "; now " + ", ".join(self._now) if self._now else ""
        return f"{self._counts()}; {best}; rejected: {self._reasons(', ')}{now}"

    def _panel(self) -> Grid:
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(style="bold")
        grid.add_column(overflow="fold")
        if self._clock is not None:
            fraction = min(1.0, self._clock.fraction(self._evaluated))
            grid.add_row("search", ProgressBar(total=1.0, completed=fraction, width=50))
            grid.add_row("", self._counts())
        for number, line in enumerate(self._now):
            grid.add_row("" if number else "now", Text(line))
        if self._best is not None:
            mean, candidate, evaluation = self._best
            scores = "  ".join(f"{task} {value:.4f}" for task, value in evaluation.objectives.items())
            grid.add_row("best", f"{mean:.4f}  ({scores})  candidate {candidate.index}")
            grid.add_row("", Text(candidate.genome.formula()))
        if self._baselines:
            grid.add_row("baselines", "  ".join(f"{name} {written(mean)}" for name, mean in self._baselines.items()))
        if self._clock is not None:
            grid.add_row("rejected", self._reasons("  "))
        return grid
