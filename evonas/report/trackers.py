"""Boards of experiment trackers beside TensorBoard: Trackio, Weights & Biases and MLflow.

They get the curves and pictures of a search. Its parts become prefixes of names; texts, histograms and the runs of
single candidates, which TensorBoard shows, are left out. Whatever goes wrong is an ``OSError`` here: who shows a search
goes on without the board then.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from evonas.errors import described
from evonas.extras import import_package, require_package
from evonas.report.board import Board, Columns, HParam, Layout, TensorBoard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROJECT = "evonas"  # or experiment, under which trackers list runs
WHERE = "execution.boards"
TENSORBOARD = "tensorboard"


@dataclass(frozen=True, slots=True)
class Tracker:
    """An open run of a tracker.

    Attributes:
        name: of the tracker.
        log: takes values by name, and their step.
        picture: takes a name, an image of height x width x 3 numbers, and its step.
        finish: sends what is left.
    """

    name: str
    log: Callable[[dict[str, float], int], Any]
    picture: Callable[[str, Any, int], Any]
    finish: Callable[[], Any]


def _trackio(run: str, _folder: Path) -> Tracker:
    trackio = import_package("trackio", WHERE)
    opened = trackio.init(project=PROJECT, name=run, resume="allow")
    return Tracker(
        "trackio",
        opened.log,
        lambda tag, image, step: opened.log({tag: trackio.Image(image)}, step),
        trackio.finish,  # else it would be finished, and say so, once more when the process ends
    )


def _wandb(run: str, folder: Path) -> Tracker:
    wandb = import_package("wandb", WHERE)
    settings = wandb.Settings(silent=True)
    opened = wandb.init(project=PROJECT, id=run, name=run, resume="allow", dir=str(folder), settings=settings)
    return Tracker(
        "wandb",
        opened.log,
        lambda tag, image, step: opened.log({tag: wandb.Image(image)}, step),
        opened.finish,
    )


def _mlflow(run: str, _folder: Path) -> Tracker:
    mlflow = import_package("mlflow", WHERE)
    experiment = mlflow.set_experiment(PROJECT).experiment_id
    client = mlflow.MlflowClient()
    found = client.search_runs([experiment], f"attributes.run_name = '{run}'", max_results=1)
    number = (found[0] if found else client.create_run(experiment, run_name=run)).info.run_id
    return Tracker(
        "mlflow",
        lambda values, step: mlflow.log_metrics(values, step, run_id=number),
        lambda tag, image, _step: client.log_image(number, image, f"{tag}.png"),  # in the place of the one before
        lambda: client.set_terminated(number),
    )


TRACKERS: Mapping[str, Callable[[str, Path], Tracker]] = {"trackio": _trackio, "wandb": _wandb, "mlflow": _mlflow}


def require_boards(names: Sequence[str]) -> None:
    """Make sure that the packages of some boards are installed.

    Raises:
        InputError: one is not.
    """
    for name in names:
        if name in TRACKERS:
            require_package(name, f"{WHERE}: {name}")


def open_board(name: str, folder: Path, purge_step: int | None) -> Board:
    """The board of a search.

    Args:
        name: ``tensorboard`` or a tracker's.
        folder: where TensorBoard's files are; a tracker's run is called by its last part and a digest of the whole.
        purge_step: the first step that is written; None if the search begins.

    Raises:
        OSError: it cannot be opened.
    """
    if name == TENSORBOARD:
        return TensorBoard(folder, purge_step=purge_step)
    run = f"{folder.name}-{sha256(str(folder.resolve()).encode()).hexdigest()[:8]}"
    with _guarded(name):
        return TrackerBoard(TRACKERS[name](run, folder.parent), resumes=bool(purge_step))


class TrackerBoard:
    """The board of a tracker, or a part of it. See ``Board``.

    Args:
        tracker: where to; None for a part of which nothing is shown.
        resumes: see ``Board``.
        prefix: of all names.
    """

    def __init__(self, tracker: Tracker | None, *, resumes: bool = False, prefix: str = "") -> None:
        self._tracker, self.resumes, self._prefix = tracker, resumes, prefix

    def part(self, name: str, *, own_steps: bool = False) -> "TrackerBoard":
        """A board whose names begin with that of the part; nothing is shown of one whose steps are its own."""
        tracker = None if own_steps else self._tracker
        return TrackerBoard(tracker, resumes=self.resumes, prefix=f"{self._prefix}{name}/")

    def fresh_part(self, name: str) -> "TrackerBoard":
        """A board of which nothing is shown: trackers take back nothing."""
        return TrackerBoard(None, prefix=f"{self._prefix}{name}/")

    def clear(self, name: str) -> None:
        """Nothing is shown of what could be taken away."""

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        self.scalars({tag: value}, step)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each of several curves, by tag."""
        if self._tracker is not None:
            with _guarded(self._tracker.name):
                self._tracker.log({f"{self._prefix}{tag}": float(value) for tag, value in values.items()}, step)

    def histogram(self, tag: str, values: Sequence[float], step: int) -> None:
        """Not shown."""

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Not shown."""

    def figure(self, tag: str, figure: "Figure", step: int) -> None:
        """Show a picture."""
        from evonas.report.pictures import to_array

        if self._tracker is not None:
            with _guarded(self._tracker.name):
                self._tracker.picture(f"{self._prefix}{tag}", to_array(figure), step)

    def image(self, tag: str, png: bytes, step: int) -> None:
        """Not shown: searches have none."""

    def charts(self, layout: Layout) -> None:
        """Trackers let their users arrange charts."""

    def hparams(
        self,
        hparams: Mapping[str, HParam],
        metrics: Mapping[str, float],
        *,
        step: int = 0,
        curves: Sequence[str] = (),
        columns: Columns | None = None,
    ) -> None:
        """Not shown: a search has none but its candidates'."""

    def flush(self) -> None:
        """Trackers send what they have by themselves."""

    def close(self) -> None:
        """Send what is left; a part has nothing of its own."""
        if self._tracker is not None and not self._prefix:
            with _guarded(self._tracker.name):
                self._tracker.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    """Keep a tracker's greetings from standard output, and make an ``OSError`` of whatever it raises."""
    try:
        with redirect_stdout(io.StringIO()):
            yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{name}: {described(error)}") from error
