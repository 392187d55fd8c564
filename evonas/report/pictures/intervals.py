"""Differences to baselines as points with their intervals: one row per layer, one panel per baseline."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evonas.report.pictures.charts import BASELINE, DOT, FRONT
from evonas.report.pictures.figure import FAINT, INK, new_figure, plain

ROW, PANEL, GAP, LETTER = 0.38, 2.9, 0.3, 0.087  # inches: a row, a panel, between panels, a letter of a name
TOP, BOTTOM = 1.0, 0.8
LONGEST = 44  # letters of a name that are shown


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One layer against one baseline, in points (1 point is 0.01).

    Attributes:
        mean: the difference; None if there is none, then ``note`` stands in its place.
        low: lower bound of its interval, None if it has no bounds.
        high: upper bound.
        seeds: the difference of each seed.
        note: what to say of a layer with missing trials.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    seeds: tuple[float, ...] = ()
    note: str = ""


def draw_intervals(
    names: Sequence[str],
    panels: Sequence[tuple[str, Sequence[IntervalRow | None]]],
    *,
    highlighted: Sequence[str],
    baselines: Sequence[str],
    label: str,
    title: str = "",
) -> Figure:
    """Layers from the top, best first; right of the line is better than the baseline.

    Args:
        names: of the layers.
        panels: name of a baseline, and a row per layer; None for the baseline itself.
        highlighted: names to draw in the colour of the best.
        baselines: names to draw in the colour of baselines.
        label: what the differences are of.
        title: a line above.
    """
    columns = max(len(panels), 1)
    shown = [shortened(name) for name in names]
    margin = 0.3 + LETTER * max(map(len, shown), default=0)
    width = max(margin + columns * (PANEL + GAP), 6.4)
    height = TOP + ROW * max(len(names), 1) + BOTTOM
    figure = new_figure(width, height)
    colours = [FRONT if name in highlighted else BASELINE if name in baselines else FAINT for name in names]
    for number, (baseline, rows) in enumerate(panels):
        left = (margin + number * (PANEL + GAP)) / width
        axes = figure.add_axes((left, BOTTOM / height, PANEL / width, 1 - (TOP + BOTTOM) / height))
        _style(axes, shown if number == 0 else [""] * len(names), colours)
        axes.set_title(
            f"worse \u2190 minus {plain(baseline)} \u2192 better", loc="left", fontsize=10, color=BASELINE, pad=6
        )
        for place, (colour, row) in enumerate(zip(colours, rows, strict=True)):
            _draw_row(axes, place, row, colour)
    notes = textwrap.fill(title, int(width / 0.095)), textwrap.fill(label, int(width / 0.075))
    for text, height_of, size, anchor in ((notes[0], height - 0.12, 11, "top"), (notes[1], 0.1, 9, "bottom")):
        figure.text(0.16 / width, height_of / height, plain(text), fontsize=size, color=INK, va=anchor)
    return figure


def shortened(name: str) -> str:
    """A name that is not too long for a picture."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "\u2026"


def _style(axes: Axes, names: Sequence[str], colours: Sequence[str]) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.tick_params(axis="x", colors=FAINT, labelsize=9)
    axes.tick_params(axis="y", length=0, labelsize=9.5)
    axes.grid(axis="x", color="#eceff3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.axvline(0, color=BASELINE, linewidth=1.1, zorder=1)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), list(map(plain, names)))
    for tick, colour in zip(axes.get_yticklabels(), colours, strict=True):
        tick.set_color(INK if colour == FAINT else colour)
    axes.margins(x=0.08)


def _draw_row(axes: Axes, place: int, row: IntervalRow | None, colour: str) -> None:
    if row is None:
        axes.plot([0], [place], marker="|", color=BASELINE, markersize=11, markeredgewidth=2.2, zorder=4)
        return
    if row.mean is not None:
        axes.scatter(row.seeds, [place + 0.24] * len(row.seeds), s=9, color=DOT, zorder=2)  # below the interval
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt", zorder=3)
        axes.scatter([row.mean], [place], s=34, color=colour, edgecolors="white", linewidths=0.7, zorder=4)
    if row.note:
        style: dict[str, Any] = {"fontsize": 8, "color": FAINT, "va": "center", "ha": "right"}
        axes.text(
            1.0,
            place - 0.28 if row.mean is not None else place,
            row.note,
            transform=axes.get_yaxis_transform(),
            **style,
        )
