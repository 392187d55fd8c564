"""Where curves, texts and pictures of a run are shown: what a board takes, and TensorBoard. ``trackers`` has others.

TensorBoard and matplotlib take half a second to import, so that this module imports them when a board is opened.
"""

import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HParam = bool | int | float | str
Layout = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of the tab HPARAMS.

    Attributes:
        hparams: by name, any value: it says of which kind the column is.
        metrics: their tags.
    """

    hparams: Mapping[str, HParam]
    metrics: Sequence[str]


class Board(Protocol):
    """What curves, texts and pictures are written to; an ``OSError`` says that it cannot be written any more."""

    @property
    def resumes(self) -> bool:
        """Whether the first steps of an earlier writer stay."""
        ...

    def part(self, name: str, *, own_steps: bool = False) -> "Board":
        """A board below this one; the caller closes it.

        Args:
            name: of the part.
            own_steps: whether its steps count something else than those of this board.
        """
        ...

    def fresh_part(self, name: str) -> "Board":
        """A board below this one that takes the place of what was written there before."""
        ...

    def clear(self, name: str) -> None:
        """Take away what lies below a part."""
        ...

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        ...

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of several curves, by tag."""
        ...

    def histogram(self, tag: str, values: Sequence[float], step: int) -> None:
        """Show how values are distributed at a step."""
        ...

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Show a text."""
        ...

    def figure(self, tag: str, figure: "Figure", step: int) -> None:
        """Show a picture."""
        ...

    def image(self, tag: str, png: bytes, step: int) -> None:
        """Show a PNG file."""
        ...

    def charts(self, layout: Layout) -> None:
        """Say which curves share a chart: by section and title, the tags of its lines; a ``*`` stands for anything."""
        ...

    def hparams(
        self,
        hparams: Mapping[str, HParam],
        metrics: Mapping[str, float],
        *,
        step: int = 0,
        curves: Sequence[str] = (),
        columns: Columns | None = None,
    ) -> None:
        """Say, once, how the run was configured and how it ended; see ``TensorBoard``."""
        ...

    def flush(self) -> None:
        """Write what is still in memory."""
        ...

    def close(self) -> None:
        """Let go of what is held; nothing may be shown afterwards."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class TensorBoard:
    """TensorBoard's log of a run. Use as a context manager, or ``close`` it.

    Args:
        folder: where to; made if missing.
        purge_step: TensorBoard drops what earlier writers logged at this step and later; for resumed runs.

    Attributes:
        folder: where to.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if purge_step is not None:
            _wait_for_a_later_name(folder)
        self.folder, self._purge_step = folder, purge_step
        self._writer: Any = SummaryWriter(str(folder), purge_step=purge_step)  # type: ignore[no-untyped-call]

    @property
    def resumes(self) -> bool:
        """Whether an earlier writer's first steps stay."""
        return bool(self._purge_step)

    def part(self, name: str, *, own_steps: bool = False) -> "TensorBoard":
        """A board below this one, which TensorBoard lists as a run of its own; the caller closes it.

        Args:
            name: of its folder.
            own_steps: whether its steps count something else than those of this board, so that none are dropped.
        """
        return TensorBoard(self.folder / name, purge_step=None if own_steps else self._purge_step)

    def fresh_part(self, name: str) -> "TensorBoard":
        """A board below this one that takes the place of what was written there before."""
        self.clear(name)
        return TensorBoard(self.folder / name)

    def clear(self, name: str) -> None:
        """Delete the runs below a folder."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        self._writer.add_scalar(tag, value, step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of several curves, by tag."""
        for tag, value in values.items():
            self.scalar(tag, value, step)

    def histogram(self, tag: str, values: Sequence[float], step: int) -> None:
        """Show how values are distributed at a step."""
        import numpy as np

        rounded = np.asarray(values, np.float32).astype(np.float64)  # what differs in its last bits has no bins between
        self._writer.add_histogram(tag, rounded, step, bins="auto")

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Show a text."""
        self._writer.add_text(tag, markdown, step)

    def figure(self, tag: str, figure: "Figure", step: int) -> None:
        """Show a picture."""
        from evonas.report.pictures import to_array

        # not add_figure, which goes through pyplot's global state
        self._writer.add_image(tag, to_array(figure), step, dataformats="HWC")

    def image(self, tag: str, png: bytes, step: int) -> None:
        """Show a PNG file."""
        from matplotlib.image import imread

        pixels = imread(BytesIO(png), format="png")
        self._writer.add_image(tag, pixels, step, dataformats="HWC" if pixels.ndim == 3 else "HW")

    def charts(self, layout: Layout) -> None:
        """Say which curves share a chart of the tab CUSTOM SCALARS: by section and title, the tags of its lines.

        A ``*`` in a tag stands for anything.
        """
        self._writer.add_custom_scalars(
            {
                section: {title: ["Multiline", [_pattern(tag) for tag in tags]] for title, tags in charts.items()}
                for section, charts in layout.items()
            }
        )

    def hparams(
        self,
        hparams: Mapping[str, HParam],
        metrics: Mapping[str, float],
        *,
        step: int = 0,
        curves: Sequence[str] = (),
        columns: Columns | None = None,
    ) -> None:
        """Say, once, how the run was configured and how it ended.

        Args:
            hparams: how it was configured.
            metrics: how it ended. Each becomes a point of its curve, which is where TensorBoard reads it.
            step: of these points.
            curves: metrics that are the last values of curves which are written anyway; they get no further point.
            columns: what runs beside this one have, if that is more: TensorBoard takes its columns from any of them.
        """
        from torch.utils.tensorboard.summary import hparams as hparams_summaries

        columns = columns or Columns({}, ())
        wider = {**columns.hparams, **hparams}, {**dict.fromkeys(columns.metrics, 0.0), **metrics}
        experiment, _, _ = hparams_summaries(*wider)  # type: ignore[no-untyped-call]
        _, start, end = hparams_summaries(dict(hparams), dict(metrics))  # type: ignore[no-untyped-call]
        # not add_hparams, which opens a second run in a folder named after the clock
        for summary in (experiment, start, end):
            self._writer.file_writer.add_summary(summary)
        self.scalars({tag: value for tag, value in metrics.items() if tag not in curves}, step)

    def flush(self) -> None:
        """Write what is still in memory."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and let go of the files; nothing may be shown afterwards."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Keep TensorBoard's threads from printing an ``OSError``; whoever writes to a board next hears of it."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        of_tensorboard = type(arguments.thread).__module__.startswith("tensorboard.")
        if not (of_tensorboard and issubclass(arguments.exc_type, OSError)):
            before(arguments)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _pattern(tag: str) -> str:
    """TensorBoard matches regular expressions from a tag's beginning."""
    return f"{re.escape(tag)}$".replace(r"\*", ".*")


def _wait_for_a_later_name(folder: Path) -> None:
    """Event files are read in the order of their names, which begin with the second; a second at the most."""
    seconds = (file.name.split(".")[3] for file in folder.glob("events.out.tfevents.*"))
    latest = max((int(second) for second in seconds if second.isdecimal()), default=0)
    now = time.time()
    if int(now) == latest:
        time.sleep(latest + 1 - now)
