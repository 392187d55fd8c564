"""Animate a search from its archive: the best layer as it changes, the scores so far and the Pareto front.

    python scripts/animate_search.py runs/kept/cifar-s-warm docs/evolution.gif

The ending of the file says what it becomes, .gif or .webp. Every layer that was the best so far has a frame, and some
frames between them show the candidates that were not better. Nothing is trained.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from evonas.graph.genome import Genome
from evonas.report.pictures import draw_genome, to_array
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.outcome import Candidate

ENDINGS = (".gif", ".webp")
WIDTH, HEIGHT, DPI = 9.0, 4.4, 100  # inches, dots for each
BETWEEN = 30  # frames of candidates that are not better
SHORT, LONG, LAST = 120, 1300, 4000  # milliseconds of a frame between, of one with a new best layer, of the last one
COLOURS = 96
INK, FAINT, DOT, FRONT, RUG, LEVEL = "#1f2933", "#5b6770", "#9fb4cc", "#2f6db3", "#d3a29d", "#0f8577"


@dataclass(frozen=True, slots=True)
class Told:
    """A candidate: its layer, and its mean score, None if it was rejected."""

    genome: Genome
    score: float | None

    @property
    def nodes(self) -> int:
        """Without the inputs."""
        return len(self.genome.nodes) - 4


@dataclass(frozen=True, slots=True)
class Story:
    """What is animated: the candidates in their order, and the scores of the baselines by name."""

    title: str
    told: Sequence[Told]
    baselines: dict[str, float]

    def best(self, count: int) -> int | None:
        """Which of the first candidates has the best score; None if none has one."""
        scored = [(told.score, -place) for place, told in enumerate(self.told[:count]) if told.score is not None]
        return -max(scored)[1] if scored else None

    def frames(self) -> list[int]:
        """How many candidates each frame shows: all that were the best so far, and some between."""
        last = len(self.told)
        bests = {place + 1 for place in range(last) if self.best(place + 1) == place}
        return sorted(bests | {round(last * (step + 1) / BETWEEN) for step in range(BETWEEN)} - {0})


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.file.suffix not in ENDINGS:
        parser.error(f"{arguments.file}: accepted: a file that ends in {' or '.join(ENDINGS)}")
    story = read(arguments.run)
    if story.best(len(story.told)) is None:
        parser.error(f"{arguments.run}: no layer has a score yet")
    save(story, arguments.file)
    print(f"wrote {arguments.file} ({arguments.file.stat().st_size / 1e3:.0f} kB)")


def read(run: Path) -> Story:
    """The candidates of a search and its baselines."""
    folder = RunFolder(run).require()
    with Archive.open(folder.archive_file, read_only=True) as archive:
        told = [Told(what.genome.active(), e.mean) for what, e in archive.in_order() if isinstance(what, Candidate)]
        baselines = {name: e.mean for name, e in archive.baselines().items() if e.mean is not None}
    return Story(run.resolve().name, told, baselines)


def save(story: Story, file: Path) -> None:
    """Write the animation; frames of a GIF share their colours, so that little of each is new."""
    drawing, counts = Drawing(story), story.frames()
    images = [drawing.frame(count) for count in counts]
    bests = [story.best(count) for count in counts]
    times = [LONG if place == 0 or best != bests[place - 1] else SHORT for place, best in enumerate(bests)]
    times[-1] = LAST
    more: dict[str, Any] = {"quality": 80}
    if file.suffix == ".gif":
        new = [image for image, time in zip(images, times, strict=True) if time != SHORT]
        sheet = Image.fromarray(np.concatenate([np.asarray(image) for image in new]))
        palette = sheet.quantize(COLOURS)
        colours = np.array(palette.getpalette()).reshape(-1, 3)
        colours[colours.sum(axis=1).argmax()] = 255  # the lightest one is the paper
        palette.putpalette(colours.flatten().tolist())
        images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
        more = {"optimize": False}
    images[0].save(file, save_all=True, append_images=images[1:], duration=times, loop=0, **more)


class Drawing:
    """Frames of a story, whose scales stay the same."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._layers: dict[int, np.ndarray[Any, Any]] = {}
        scores = sorted(told.score for told in story.told if told.score is not None)
        levels = [*scores[len(scores) // 20 :], *story.baselines.values()]  # a few poor layers would squeeze the rest
        margin = 0.06 * (max(levels) - min(levels) or 1.0)
        self._low, self._high = min(levels) - margin, max(levels) + margin

    def frame(self, count: int) -> Image.Image:
        """The picture after so many candidates."""
        figure = Figure((WIDTH, HEIGHT), dpi=DPI)
        best = self._story.best(count)
        self._progress(figure.add_axes((0.075, 0.585, 0.38, 0.32)), count)
        self._front(figure.add_axes((0.075, 0.115, 0.38, 0.32)), count)
        if best is not None:
            self._layer(figure.add_axes((0.48, 0.02, 0.51, 0.88)), best)
        title = f"{self._story.title}: after {count} candidate{'s' * (count > 1)}"
        figure.text(0.012, 0.95, title, fontsize=12, color=INK, weight="bold")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")

    def _progress(self, axes: Axes, count: int) -> None:
        told = self._story.told[:count]
        points = [(place, each.score) for place, each in enumerate(told) if each.score is not None]
        styled(axes, "candidate", "mean score")
        for name, level in self._story.baselines.items():
            axes.axhline(level, color=LEVEL, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.text(
                len(self._story.told), level, f"{name} ", color=LEVEL, fontsize=7, ha="right", va="bottom", zorder=5
            )
        rejected = [place for place, each in enumerate(told) if each.score is None]
        axes.vlines(rejected, 0, 0.05, transform=axes.get_xaxis_transform(), color=RUG, linewidth=0.6)
        if points:
            places, scores = zip(*points, strict=True)
            best = np.maximum.accumulate(scores)
            axes.scatter(places, scores, s=9, color=DOT)
            axes.plot([*places, count], [*best, best[-1]], drawstyle="steps-post", color=FRONT, linewidth=1.8)
        axes.set(xlim=(-1, len(self._story.told)), ylim=(self._low, self._high))

    def _front(self, axes: Axes, count: int) -> None:
        styled(axes, "nodes of the layer (fewer are better)", "mean score")
        points = [(each.nodes, each.score) for each in self._story.told[:count] if each.score is not None]
        if points:
            axes.scatter(*zip(*points, strict=True), s=9, color=DOT)
            front = front_of(points)
            edge = (max(size for size, _ in points), front[-1][1])
            axes.plot(*zip(*front, edge, strict=True), drawstyle="steps-post", color=FRONT, linewidth=1.6)
            axes.plot(*zip(*front, strict=True), "o", markersize=5, color=FRONT)
        every = [each.nodes for each in self._story.told if each.score is not None]
        axes.set(xlim=(min(every) - 0.6, max(every) + 0.6), ylim=(self._low, self._high))

    def _layer(self, axes: Axes, best: int) -> None:
        if best not in self._layers:
            told = self._story.told[best]
            title = f"best so far: candidate {best}, score {told.score:.4f}"
            self._layers[best] = to_array(draw_genome(told.genome, title=title))
        axes.imshow(self._layers[best], interpolation="antialiased")
        axes.set_axis_off()


def front_of(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The sizes and scores that no smaller layer reaches, smallest first."""
    front: list[tuple[int, float]] = []
    for size, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((size, score))
    return front


def styled(axes: Axes, across: str, upwards: str) -> None:
    """Axes as all pictures have them."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7, colors=FAINT)
    axes.set_xlabel(across, fontsize=8, color=FAINT)
    axes.set_ylabel(upwards, fontsize=8, color=FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


if __name__ == "__main__":
    main()
