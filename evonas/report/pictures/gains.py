"""Small multiples of gains: a panel for each axis, a line with a band for each network, and the line of no gain."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evonas.report.pictures.charts import styled
from evonas.report.pictures.curves import COLOURS
from evonas.report.pictures.figure import FAINT, INK, new_figure, plain
from evonas.report.pictures.panels import MARKERS

WIDTH, HEIGHT, LEFT, RIGHT, GAP = 2.9, 2.6, 0.8, 0.25, 0.3  # inches
TOP, BOTTOM = 1.25, 0.75
A_ROW = 4
BAND = 33  # places at which a band is drawn


@dataclass(frozen=True, slots=True)
class GainLine:
    """What a panel shows of one network.

    Attributes:
        points: size, mean gain, and the bounds of its interval.
        band: size, value of the fitted line, and the bounds of its interval; empty for a line that does not fit.
        failed: sizes at which a training failed, which have no point.
    """

    points: Sequence[tuple[float, float, float, float]]
    band: Sequence[tuple[float, float, float, float]] = ()
    failed: Sequence[float] = ()


def draw_gains(
    panels: Mapping[str, Mapping[str, GainLine]], *, bases: Mapping[str, float], ylabel: str, title: str, note: str
) -> Figure:
    """Draw them.

    Args:
        panels: by the panel's title, which names its axis, and the network.
        bases: by the panel's title, the size of the base point, which gets a faint line.
        ylabel: of what the gains are.
        title: above.
        note: a sentence below the title.
    """
    networks = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(networks)}
    columns = min(A_ROW, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    width = max(LEFT + columns * WIDTH + (columns - 1) * GAP + RIGHT, 6.5)
    title, note = textwrap.fill(title, int(width / 0.1)), textwrap.fill(note, int(width / 0.075))
    top = TOP + 0.2 * title.count("\n") + 0.17 * note.count("\n")
    height = top + rows * (HEIGHT + BOTTOM)
    figure = new_figure(width, height)
    first: Axes | None = None
    for number, (heading, lines) in enumerate(panels.items()):
        row, column = divmod(number, columns)
        left = LEFT + column * (WIDTH + GAP)
        bottom = height - top - row * (HEIGHT + BOTTOM) - HEIGHT
        place = (left / width, bottom / height, WIDTH / width, HEIGHT / height)
        axes = styled(figure.add_axes(place, sharey=first))
        first = first or axes
        _draw_panel(axes, lines, colours, heading, bases[heading])
        if column:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(ylabel)
    _write(figure, (width, height), title, note)
    for number, name in enumerate(networks):
        place_x = (LEFT + 1.9 * number) / width
        figure.text(
            place_x, 1 - (top - 0.28) / height, f"\u25cf {plain(name)}", color=colours[name], fontsize=10, va="center"
        )
    return figure


def _draw_panel(
    axes: Axes, lines: Mapping[str, GainLine], colours: Mapping[str, str], heading: str, base: float
) -> None:
    axes.set_xscale("log", base=2)
    axes.axhline(0, color=INK, linewidth=1.1, zorder=1)
    axes.axvline(base, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=1)
    sizes = sorted({point[0] for line in lines.values() for point in line.points} | {base})
    sizes = sorted({*sizes, *(size for line in lines.values() for size in line.failed)})
    for number, (name, line) in enumerate(lines.items()):
        shift = 2.0 ** (0.06 * (number - (len(lines) - 1) / 2))  # so that intervals at one size lie beside each other
        colour = colours[name]
        if line.band:
            xs, values, lows, highs = zip(*line.band, strict=True)
            axes.fill_between(xs, lows, highs, color=colour, alpha=0.13, linewidth=0)
            axes.plot(xs, values, color=colour, linewidth=1.4)
        for size, mean, low, high in line.points:
            axes.plot([size * shift] * 2, [low, high], color=colour, linewidth=1.6, solid_capstyle="butt")
            marker = MARKERS[list(colours).index(name) % len(MARKERS)]
            axes.plot([size * shift], [mean], marker, color=colour, markersize=5, markeredgecolor="white")
        for size in line.failed:
            axes.plot([size * shift], [0.03], "x", color=colour, transform=axes.get_xaxis_transform(), clip_on=False)
    axes.set_xticks(sizes, [f"{size:,g}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.margins(x=0.1)
    axes.set_xlabel(heading)


def _write(figure: Figure, size: tuple[float, float], title: str, note: str) -> None:
    width, height = size
    below = 0.42 + 0.2 * title.count("\n")
    figure.text(0.2 / width, 1 - 0.12 / height, plain(title), fontsize=11, color=INK, va="top")
    figure.text(0.2 / width, 1 - below / height, plain(note), fontsize=8.5, color=FAINT, va="top")
