"""Where curves, texts and pictures of a run are shown: TensorBoard."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from matplotlib.figure import Figure
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as hparams_summaries

from evonas.report.pictures import to_array

HParam = bool | int | float | str


class Board:
    """TensorBoard's log of a run. Use as a context manager, or ``close`` it.

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
