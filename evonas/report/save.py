"""What a study reports, and its folder: Markdown, JSON, CSV, pictures and TensorBoard."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evonas.files import write_text, write_whole
from evonas.report.board import Board, HParam, TensorBoard
from evonas.report.table import Table, markdown_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOARDS = "tb"


@dataclass(frozen=True, slots=True)
class RunLog:
    """What TensorBoard shows of one run.

    Attributes:
        hparams: how it was configured.
        metrics: how it ended. A metric named as a curve is the last value of that curve.
        curves: by tag, steps and values; None is a value that is not finite.
    """

    hparams: Mapping[str, HParam]
    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[tuple[int, float | None]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What a study found.

    Attributes:
        title: a line.
        tables: what is printed, and what ``results.md`` begins with.
        notes: sentences below the tables, in print and in ``results.md``.
        data: everything, fit for JSON.
        details: further tables and paragraphs of ``results.md``.
        runs: a row for each run, for ``results.csv``.
        pictures: by name of the file.
        images: PNG files that exist already, by the path of the file without its ending.
        logs: what TensorBoard shows of each run, by the run's folder.
        failures: what failed, a line each.
    """

    title: str
    tables: Sequence[Table]
    data: Mapping[str, Any]
    notes: Sequence[str] = ()
    details: Sequence[Table | str] = ()
    runs: Table | None = None
    pictures: Mapping[str, "Figure"] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    logs: Mapping[str, RunLog] = field(default_factory=dict)
    failures: Sequence[str] = ()

    def markdown(self) -> str:
        """The tables, the notes, the details and what failed."""
        every = (*self.tables, *self.notes, *self.details)
        parts = [part if isinstance(part, str) else part.markdown() for part in every]
        failed = "\n".join(f"- failed: {markdown_text(line)}" for line in self.failures)
        return "\n\n".join(filter(None, [f"# {markdown_text(self.title)}", *parts, failed])) + "\n"

    def json(self) -> str:
        """The data as text."""
        return json.dumps(self.data, indent=2) + "\n"


def save_report(folder: Path, report: Report, stem: str = "results") -> list[Path]:
    """Write a report, named ``stem``, the pictures and, under ``tb``, a board of the report and one of each run.

    Returns:
        The files that people look at.
    """
    files = write_report(folder, report, stem)
    for file in (folder / BOARDS).rglob("events.*"):
        file.unlink()  # of what was shown before more runs came
    with TensorBoard(folder / BOARDS / folder.resolve().name) as board:  # TensorBoard calls it by the folder's name
        show_report(board, report, stem, 0)
    for run, log in report.logs.items():
        with TensorBoard(folder / BOARDS / run) as board:
            for tag, points in log.curves.items():
                for step, value in points:
                    if value is not None:
                        board.scalar(tag, value, step)
            last = max((step for points in log.curves.values() for step, _ in points), default=0)
            board.hparams(log.hparams, log.metrics, step=last, curves=list(log.curves))
    return files


def write_report(folder: Path, report: Report, stem: str) -> list[Path]:
    """Write the texts, ``stem`` with the endings ``.md``, ``.json`` and, with runs, ``.csv``, and the pictures."""
    texts = {f"{stem}.md": report.markdown(), f"{stem}.json": report.json()}
    texts |= {f"{stem}.csv": report.runs.csv()} if report.runs else {}
    for name, text in texts.items():
        write_text(folder / name, text)
    if report.pictures:
        from evonas.report.pictures import to_png
    for name, figure in report.pictures.items():
        to_png(figure, folder / f"{name}.png")
    for name, image in report.images.items():
        write_whole(folder / f"{name}.png", partial(_write_bytes, image))
    return [folder / name for name in (*texts, *(f"{name}.png" for name in (*report.pictures, *report.images)))]


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def show_report(board: Board, report: Report, tag: str, step: int) -> None:
    """Put the pictures and the text on a board."""
    for name, figure in report.pictures.items():
        board.figure(name, figure, step)
    for name, image in report.images.items():
        board.image(name, image, step)
    board.text(tag, report.markdown(), step)


def slug(name: str) -> str:
    """A name as a part of the name of a file."""
    return "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in name)[:60]
