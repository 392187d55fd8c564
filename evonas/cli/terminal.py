"""What people see on the terminal: tables, and what stands beside them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from evonas.cli.app import INTERRUPTED
from evonas.cli.verbosity import notes_are_shown
from evonas.report.console import PlainConsole, say
from evonas.report.table import Table
from evonas.runs.interrupt import RunInterruptedError

if TYPE_CHECKING:
    from evonas.report.save import Report
    from evonas.search.racing.shrinkage import Shrinkage
    from evonas.search.ranking import Entry, Relatives

FILE_WIDTH = 140
READABLE = 40  # letters of a formula; with fewer on a line it cannot be read
BELIEF = "mean: the score when a layer was found; posterior mean ± sd: what is believed after measuring the best again"
LONGEST_WORD = 24  # letters; longer ones are broken


def print_ranking(
    groups: Sequence[Relatives], baselines: Sequence[Entry], *, title: str, shrinkage: Shrinkage | None = None
) -> None:
    """Layers and baselines by rank: formula, score per architecture, mean, and what other objectives there are.

    Where layers were measured again, also what is believed of each, and ``shrinkage``, how much the best ones fell.
    """
    entries = [group.best for group in groups]
    relatives = {group.best.name: len(group.others) for group in groups}
    every = [entry.evaluation for entry in (*entries, *baselines)]
    tasks = sorted({task for evaluation in every for task in evaluation.objectives})
    extras = sorted({name for evaluation in every for name in evaluation.extras})
    believed = any(entry.posterior for entry in entries)
    table = Table.of(
        (
            {
                "layer": entry.name,
                "formula (before the affine)": entry.formula + _with_relatives(relatives.get(entry.name, 0)),
                "nodes": entry.nodes,
                **{task: entry.evaluation.objectives.get(task) for task in tasks},
                "mean": entry.evaluation.mean,
                **_belief(entry, shown=believed),
                **{name: entry.evaluation.extras.get(name) for name in extras},
            }
            for entry in (*entries, *baselines)
        ),
        dict.fromkeys(extras, "{:.4g}"),
        title=title,
        code=("formula (before the affine)",),
    )
    console().print(Printed(table))
    missing = dict.fromkeys(entry.missing for entry in entries if entry.missing)
    folded = "relatives compute nearly the same; --all gives each a row" if any(relatives.values()) else ""
    meaning = BELIEF if believed else ""
    for line in (
        _comparison(entries, baselines),
        meaning,
        str(shrinkage or ""),
        folded,
        *map(_meaning, extras),
        *missing,
    ):
        if line:
            console().print(line, soft_wrap=True)


def _belief(entry: Entry, *, shown: bool) -> dict[str, str | int | None]:
    if not shown:
        return {}
    found = entry.posterior
    return {"posterior mean": str(found) if found else None, "measured": found.measurements if found else None}


def _with_relatives(count: int) -> str:
    return f" (and {count} relative{'s' if count > 1 else ''})" if count else ""


def _meaning(extra: str) -> str:
    from evonas.search.objectives import OBJECTIVES

    if extra not in OBJECTIVES:
        return f"{extra}: an objective of an extension that is not loaded"
    return f"{extra}: {OBJECTIVES[extra].meaning}, {OBJECTIVES[extra].direction}"


def _comparison(entries: Sequence[Entry], baselines: Sequence[Entry]) -> str:
    best = entries[0].score if entries else None
    if best is None:
        return "no layer has scores yet"
    lines = [
        f"{entry.name}: {100 * (best - entry.evaluation.mean):+z.2f} points"
        for entry in baselines
        if entry.evaluation.mean is not None
    ]
    return f"{entries[0].name} against {', '.join(lines)}" if lines else ""


def print_rejections(counts: Counter[tuple[str, str]], *, by_reason: bool) -> None:
    """How often each protocol rejected, in a line; or a table of how often for which reason."""
    found = counts.most_common()
    if not by_reason:
        stages = Counter[str]()
        for (stage, _), count in found:
            stages[stage] += count
        said = ", ".join(f"{stage} {count}" for stage, count in stages.most_common())
        console().print(f"rejected: {said or 'none'}", soft_wrap=True)
        return
    table = Table.of({"protocol": stage, "reason": why, "count": count} for (stage, why), count in found)
    console().print(Printed(replace(table, title="rejections")))


@dataclass(frozen=True, slots=True)
class Printed:
    """A table on a terminal: cells are wrapped between words; where they are too many, each row is a block of lines.

    Where there is no room for formulas, which the table calls ``code``, they follow in a table of their own.
    """

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See ``rich.console.RichRenderable``."""
        columns, cells = self.table.columns, self.table.cells()
        texts = list(zip(columns, *cells, strict=True)) if cells else []
        words = [max((cell_len(word) for text in column for word in text.split()), default=1) for column in texts]
        widths = [min(longest, LONGEST_WORD) for longest in words]
        left = options.max_width - sum(widths) - 3 * len(widths) - 1
        if not texts:
            return
        widths = _widened(widths, texts, left)
        wanted = {name: min(READABLE, max(map(cell_len, text))) for name, text in zip(columns, texts, strict=True)}
        cramped = [n for n, width in zip(columns, widths, strict=True) if n in self.table.code and width < wanted[n]]
        names = [name for name in columns if all(isinstance(cell, str) for cell in self.table.column(name))]
        if cramped and names[0] not in cramped:
            yield Printed(_with(self.table, [name for name in columns if name not in cramped]))
            yield Printed(replace(_with(self.table, [names[0], *cramped]), title=""))
        else:
            yield self._rows(cells, widths) if left >= 0 else self._blocks(cells)

    def _rows(self, cells: Sequence[Sequence[str]], widths: Sequence[int]) -> Grid:
        shown = Grid(title=Text(self.table.title), title_justify="left")
        for name, width in zip(self.table.columns, widths, strict=True):
            numbers = any(not isinstance(cell, str | None) for cell in self.table.column(name))
            justify: JustifyMethod = "right" if numbers else "left"
            shown.add_column(Text(name), justify=justify, width=width, overflow="fold")
        for row in cells:
            shown.add_row(*map(Text, row))
        return shown

    def _blocks(self, cells: Sequence[Sequence[str]]) -> Grid:
        shown = Grid(title=Text(self.table.title), title_justify="left", show_header=False)
        shown.add_column(overflow="fold", max_width=LONGEST_WORD)
        shown.add_column(overflow="fold")
        for row in cells:
            for name, cell in zip(self.table.columns, row, strict=True):
                shown.add_row(Text(name), Text(cell))
            shown.add_section()
        return shown


def _with(table: Table, names: Sequence[str]) -> Table:
    """Some columns of a table."""
    rows = tuple(zip(*map(table.column, names), strict=True))
    return replace(table, columns=tuple(names), rows=rows, code=())


def _widened(widths: Sequence[int], texts: Sequence[Sequence[str]], left: int) -> list[int]:
    """Widths with the letters that are left on a line given to the columns whose texts lack most."""
    found, wanted = list(widths), [max(map(cell_len, column)) for column in texts]
    for _ in range(left):
        place = max(range(len(found)), key=lambda number: wanted[number] - found[number])
        found[place] += wanted[place] > found[place]
    return found


def print_report(report: Report, files: Sequence[Path], *, as_json: bool) -> None:
    """The title, the tables with what their columns mean, the notes and the files that were written.

    With ``as_json`` it is the data as JSON. What failed is printed as errors in either case.
    """
    if as_json:
        print(report.json(), end="")
    else:
        out = console()
        out.print(report.title, soft_wrap=True)
        for table in report.tables:
            out.print(Printed(table))
            for name, meaning in table.explained().items():
                out.print(Padding.indent(Text.assemble((name, "bold"), ": ", meaning), 2))
        for note in report.notes:
            out.print(note)
        for path in files:
            out.print(f"wrote {path}", soft_wrap=True)
    for line in report.failures:
        say(f"failed: {line}", error=True)


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Say how to go on with what is done in here where the user interrupts it, and end with the status of that."""
    try:
        yield
    except (RunInterruptedError, KeyboardInterrupt):
        console(stderr=True).print(f"interrupted; {how}", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def status(doing: str) -> Iterator[None]:
    """Show on a terminal what is being done in here."""
    shown = console(stderr=True)
    with shown.status(doing) if shown.is_terminal else nullcontext():
        yield


def console(*, stderr: bool = False) -> Console:
    """Results go to the output stream, progress and notes to the error stream unless that is not wanted.

    It is wide enough for tables when it is a file.
    """
    stream = sys.stderr if stderr else sys.stdout
    quiet = stderr and not notes_are_shown()
    return PlainConsole(stream, width=None if stream.isatty() else FILE_WIDTH, quiet=quiet)
