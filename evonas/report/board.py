"""Where curves, texts and pictures of a run are shown: TensorBoard, or nowhere."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summaries

from evonas.report.pictures import to_array

HParam = bool | int | float | str


class Board(Protocol):
    """What can be shown. Use as a context manager, or ``close`` it."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of several curves, by tag."""

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Show a text."""

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """Show a picture."""

    def hparams(self, hparams: Mapping[str, HParam], metrics: Mapping[str, float]) -> None:
        """Say, once, how the run was configured and how it ended."""

    def flush(self) -> None:
        """Write what is still in memory."""

    def close(self) -> None:
        """Flush and let go of the files; nothing may be shown afterwards."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class NullBoard:
    """Shows nothing."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Do nothing."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Do nothing."""

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Do nothing."""

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """Do nothing."""

    def hparams(self, hparams: Mapping[str, HParam], metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class TensorBoard:
    """Writes TensorBoard event files.

    Args:
        folder: where to; made if missing.
        purge_step: TensorBoard drops what earlier writers logged at this step and later; for resumed runs.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        if purge_step is not None:
            _wait_for_a_later_name(folder)
        self._writer = SummaryWriter(str(folder), purge_step=purge_step)  # type: ignore[no-untyped-call]

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        self._writer.add_scalar(tag, value, step)  # type: ignore[no-untyped-call]

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of several curves, by tag."""
        for tag, value in values.items():
            self.scalar(tag, value, step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Show a text."""
        self._writer.add_text(tag, markdown, step)  # type: ignore[no-untyped-call]

    def figure(self, tag: str, figure: Figure, step: int) -> None:
        """Show a picture."""
        # not add_figure, which goes through pyplot's global state
        self._writer.add_image(tag, to_array(figure), step, dataformats="HWC")  # type: ignore[no-untyped-call]

    def hparams(self, hparams: Mapping[str, HParam], metrics: Mapping[str, float]) -> None:
        """Say, once, how the run was configured and how it ended; the metrics become curves of one point."""
        # not add_hparams, which opens a second run in a folder named after the clock
        events: Any = self._writer.file_writer
        for summary in hparams_summaries(dict(hparams), dict(metrics)):  # type: ignore[no-untyped-call]
            events.add_summary(summary)
        self.scalars(metrics, 0)

    def flush(self) -> None:
        """Write what is still in memory."""
        self._writer.flush()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Flush and let go of the files; nothing may be shown afterwards."""
        self._writer.close()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _wait_for_a_later_name(folder: Path) -> None:
    """Event files are read in the order of their names, which begin with the second; a second at the most."""
    seconds = (file.name.split(".")[3] for file in folder.glob("events.out.tfevents.*"))
    latest = max((int(second) for second in seconds if second.isdecimal()), default=0)
    now = time.time()
    if int(now) == latest:
        time.sleep(latest + 1 - now)


def open_board(folder: Path | None, *, purge_step: int | None = None) -> Board:
    """A TensorBoard log in ``folder``, or a board that shows nothing if there is no folder."""
    return NullBoard() if folder is None else TensorBoard(folder, purge_step=purge_step)


def redraw_board(folder: Path, pictures: Mapping[str, Figure], text: str, *, tag: str = "results") -> None:
    """Show the pictures and the text of a whole study in place of all that its folder of boards has shown before."""
    if folder.exists():
        for file in folder.rglob("events.*"):
            file.unlink()  # of what was shown before more runs came
    with open_board(folder) as board:
        for picture, figure in pictures.items():
            board.figure(picture, figure, 0)
        board.text(tag, text, 0)
