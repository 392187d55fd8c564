"""What people see on the terminal: tables, and the progress of a search."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from evonas.compare.comparison import (
    Comparison,
    cell_text,
    failure_text,
    interval_text,
    mean_text,
    rank_text,
)
from evonas.compare.result import COSTS, Matrix, cost_texts
from evonas.report.save import Report
from evonas.report.table import Table
from evonas.runs.progress import JobProgress
from evonas.search.driver import Clock
from evonas.search.objectives import OBJECTIVES
from evonas.search.outcome import Candidate, Evaluation
from evonas.search.ranking import Entry

FILE_WIDTH = 140
LONGEST_WORD = 24  # letters; longer ones are broken
PLAIN_EVERY = 10.0  # seconds between lines when the output is not a terminal


def ranking_table(entries: Sequence[Entry], baselines: Sequence[Entry], *, title: str) -> Grid:
    """Layers and baselines by rank: formula, score per architecture, mean, and what other objectives there are."""
    tasks = sorted({task for e in (*entries, *baselines) for task in e.evaluation.objectives})
    extras = sorted({name for e in (*entries, *baselines) for name in e.evaluation.extras})
    table = Grid(title=title, title_justify="left", caption_justify="left")
    missing = dict.fromkeys(entry.missing for entry in entries if entry.missing)
    table.caption = "\n".join([_caption(entries, baselines), *map(_meaning, extras), *missing]).strip()
    table.add_column("layer", no_wrap=True)
    table.add_column("formula (before the affine)", overflow="fold", ratio=1)
    for task in (*tasks, "mean", *extras):
        table.add_column(task, justify="right", no_wrap=True)
    for section in (entries, baselines):
        for entry in section:
            scores = [_number(entry.evaluation.objectives.get(task)) for task in tasks]
            mean = _number(entry.evaluation.mean)
            others = [_number(entry.evaluation.extras.get(name), "{:.4g}") for name in extras]
            table.add_row(entry.name, Text(entry.formula), *scores, mean, *others)
        table.add_section()
    return table


def _number(value: float | None, form: str = "{:.4f}") -> str:
    return "-" if value is None else form.format(value)


def _meaning(extra: str) -> str:
    if extra not in OBJECTIVES:
        return f"{extra}: an objective of an extension that is not loaded"
    return f"{extra}: {OBJECTIVES[extra].meaning}, {OBJECTIVES[extra].direction}"


def _caption(entries: Sequence[Entry], baselines: Sequence[Entry]) -> str:
    best = entries[0].evaluation.mean if entries else None
    if best is None:
        return "no layer has scores yet"
    lines = [
        f"{entry.name}: {100 * (best - entry.evaluation.mean):+.2f} points"
        for entry in baselines
        if entry.evaluation.mean is not None
    ]
    return f"{entries[0].name} against {', '.join(lines)}" if lines else ""


def rejection_table(counts: Counter[tuple[str, str]]) -> Grid:
    """How often each protocol rejected, and why."""
    table = Grid(title="rejections", title_justify="left")
    for column in ("protocol", "reason"):
        table.add_column(column)
    table.add_column("count", justify="right")
    for (stage, reason), count in sorted(counts.items(), key=lambda item: -item[1]):
        table.add_row(stage, reason, str(count))
    return table


def comparison_tables(comparison: Comparison, *, title: str) -> list[Grid]:
    """Scores of every layer, differences to every baseline, and the trials that failed if there are any."""
    scores = Grid(title=title, title_justify="left", caption_justify="left")
    scores.caption = f"mean \u00b1 standard deviation over seeds {', '.join(map(str, comparison.seeds))}"
    if comparison.baselines:
        scores.caption += "; below, differences of the mean in points with 95 % intervals (t) over seeds, paired"
    differences = Grid(title="differences", title_justify="left")
    failures = Grid(title="failed trials", title_justify="left")
    for column in ("rank", "layer"):
        scores.add_column(column, no_wrap=True)
    scores.add_column("formula (before the affine)", overflow="fold", ratio=1)
    for column in (*comparison.tasks, "mean"):
        scores.add_column(column, justify="right", no_wrap=True)
    differences.add_column("layer", no_wrap=True)
    for baseline in comparison.baselines:
        differences.add_column(f"minus {baseline}", justify="right", no_wrap=True)
    for column in ("layer", "task", "seed", "reason"):
        failures.add_column(column)
    for standing in comparison.standings:
        name = standing.contender.name
        cells = [cell_text(standing, task) for task in comparison.tasks]
        formula = Text(standing.contender.genome.active().formula())
        scores.add_row(rank_text(standing), Text(name), formula, *cells, mean_text(standing))
        found = [standing.differences.get(baseline) for baseline in comparison.baselines]
        differences.add_row(Text(name), *(Text(interval_text(each.over_seeds if each else None)) for each in found))
        for (task, seed), rejection in standing.failures.items():
            failures.add_row(Text(name), Text(task), str(seed), Text(failure_text(rejection)))
    return [
        scores,
        *([differences] if comparison.baselines else []),
        *([failures] if failures.row_count else []),
    ]


@dataclass(frozen=True, slots=True)
class Printed:
    """A table on a terminal: cells are wrapped between words; where they are too many, each row is a block of lines."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See ``rich.console.RichRenderable``."""
        columns, cells = self.table.columns, self.table.cells()
        narrowest = [
            max(min(cell_len(word), LONGEST_WORD) for text in (name, *column) for word in text.split() or [""])
            for name, column in zip(columns, zip(*cells, strict=True), strict=True)
        ]
        if sum(narrowest) + 3 * len(columns) + 1 <= options.max_width:
            yield self._rows(cells, narrowest)
        else:
            yield self._blocks(cells)

    def _rows(self, cells: Sequence[Sequence[str]], narrowest: Sequence[int]) -> Grid:
        shown = Grid(title=self.table.title or None, title_justify="left")
        for name, width in zip(self.table.columns, narrowest, strict=True):
            numbers = any(not isinstance(cell, str | None) for cell in self.table.column(name))
            justify: JustifyMethod = "right" if numbers else "left"
            shown.add_column(Text(name), justify=justify, min_width=width, overflow="fold")
        for row in cells:
            shown.add_row(*map(Text, row))
        return shown

    def _blocks(self, cells: Sequence[Sequence[str]]) -> Grid:
        shown = Grid(title=self.table.title or None, title_justify="left", show_header=False)
        shown.add_column(overflow="fold", max_width=LONGEST_WORD)
        shown.add_column(overflow="fold")
        for row in cells:
            for name, cell in zip(self.table.columns, row, strict=True):
                shown.add_row(Text(name), Text(cell))
            shown.add_section()
        return shown


def print_report(report: Report, files: Sequence[Path], *, as_json: bool) -> None:
    """The tables and the files that were written, or the data as JSON; after them, as errors, what failed."""
    if as_json:
        print(report.json(), end="")
    else:
        out = console()
        for table in report.tables:
            out.print(Printed(table))
        for path in files:
            out.print(f"wrote {path}", highlight=False, soft_wrap=True)
    for line in report.failures:
        console(stderr=True).print(f"failed: {line}", highlight=False, markup=False, soft_wrap=True)


def cost_tables(matrix: Matrix) -> list[Grid]:
    """What every layer costs on every task, if that was measured."""
    if not matrix.costs and not matrix.unmeasured:
        return []
    table = Grid(title="costs", title_justify="left", caption_justify="left")
    table.caption = (
        "times and memory relative to the network with BatchNorm2d and ReLU of torch, or with its own norms of tokens, "
        "side by side"
    )
    for column in ("layer", "task"):
        table.add_column(column)
    for name, _ in COSTS.values():
        table.add_column(name, justify="right")
    for (layer, task), cost in matrix.costs.items():
        table.add_row(Text(layer), Text(task), *cost_texts(cost))
    for (layer, task), reason in matrix.unmeasured.items():
        table.add_row(Text(layer), Text(task), Text(reason))
    return [table]


class JobBar:
    """Shows how far jobs are: a bar on a terminal, a line now and then elsewhere. Call it with a ``JobProgress``."""

    def __init__(self, console: Console, what: str = "trials") -> None:
        self._console, self._started, self._printed = console, time.monotonic(), time.monotonic()
        self._what = what
        columns = (TextColumn(what), BarColumn(bar_width=50), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[left]} left"), console=console)
        self._task = self._bar.add_task("trials", total=None, left="-")

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
        now = time.monotonic()
        left = "-"
        if progress.done:
            left = _duration((now - self._started) * (progress.total - progress.finished) / progress.done)
        self._bar.update(self._task, completed=progress.finished, total=progress.total, left=left)
        edge = not progress.done or progress.finished == progress.total
        if not self._console.is_terminal and (edge or now - self._printed >= PLAIN_EVERY):
            self._printed = now
            self._console.print(f"{progress.finished} of {progress.total} {self._what}, {left} left", highlight=False)


class SearchProgress:
    """A watcher that shows a search while it runs: live on a terminal, a line now and then elsewhere."""

    def __init__(self, clock: Clock, console: Console) -> None:
        self._clock, self._console = clock, console
        self._rejections: Counter[str] = Counter()
        self._told = self._scored = self._new = 0
        self._best: tuple[float, Candidate, Evaluation] | None = None
        self._baselines: dict[str, float | None] = {}
        self._started = self._printed = time.monotonic()
        self._live = (
            Live(get_renderable=self._panel, console=console, refresh_per_second=2) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._told:
            self._console.print(self._line(), highlight=False, soft_wrap=True)

    def baseline(self, name: str, evaluation: Evaluation) -> None:
        """See ``Watcher``."""
        self._baselines[name] = evaluation.mean
        if self._live is None:
            self._console.print(f"baseline {name}: {_number(evaluation.mean)}", highlight=False)

    def told(self, candidate: Candidate, evaluation: Evaluation, *, recorded: bool) -> None:
        """See ``Watcher``."""
        self._told += 1
        self._new += not recorded
        self._rejections.update(r.stage for _, r in candidate.screened_out)
        if evaluation.rejection is not None:
            self._rejections[f"{evaluation.rejection.stage}: {evaluation.rejection.reason}"] += 1
        mean = evaluation.mean
        if mean is not None:
            self._scored += 1
            if self._best is None or mean > self._best[0]:
                self._best = (mean, candidate, evaluation)
        now = time.monotonic()
        if self._live is None and not recorded and now - self._printed >= PLAIN_EVERY:
            self._printed = now
            self._console.print(self._line(), highlight=False, soft_wrap=True)

    def _speed(self) -> float:
        return self._new / max(time.monotonic() - self._started, 1e-9)

    def _left(self) -> str:
        fraction = self._clock.fraction(self._told)
        if not 0 < fraction < 1:
            return "-"
        return _duration(self._clock.seconds * (1 - fraction) / fraction)

    def _line(self) -> str:
        best = f"best {self._best[0]:.4f} #{self._best[1].index}" if self._best else "no scores yet"
        reasons = ", ".join(f"{reason} {count}" for reason, count in self._rejections.most_common())
        return (
            f"{_duration(self._clock.seconds)}  {self._told} told, {self._scored} scored, {best}, "
            f"{self._speed():.2f}/s, {self._left()} left; rejected: {reasons or 'none'}"
        )

    def _panel(self) -> Grid:
        grid = Grid.grid(padding=(0, 2))
        grid.add_column(style="bold")
        grid.add_column(overflow="fold")
        grid.add_row("search", ProgressBar(total=1.0, completed=min(1.0, self._clock.fraction(self._told)), width=50))
        grid.add_row(
            "",
            f"{self._told} evaluated, {self._scored} scored, {self._speed():.2f}/s, "
            f"{_duration(self._clock.seconds)} used, {self._left()} left",
        )
        if self._best is not None:
            mean, candidate, evaluation = self._best
            scores = "  ".join(f"{task} {value:.4f}" for task, value in evaluation.objectives.items())
            grid.add_row("best", f"{mean:.4f}  ({scores})  candidate {candidate.index}")
            grid.add_row("", Text(candidate.genome.formula()))
        if self._baselines:
            grid.add_row("baselines", "  ".join(f"{name} {_number(mean)}" for name, mean in self._baselines.items()))
        reasons = "  ".join(f"{reason} {count}" for reason, count in self._rejections.most_common())
        grid.add_row("rejected", reasons or "none")
        return grid


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def console(*, stderr: bool = False) -> Console:
    """Results go to the output stream, progress to the error stream; wide enough for tables when it is a file."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else FILE_WIDTH)
