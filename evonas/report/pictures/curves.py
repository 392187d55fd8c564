"""Pictures of several searches side by side: the best score by what it cost."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from evonas.report.pictures.charts import styled
from evonas.report.pictures.figure import INK, directed, new_figure, plain

COLOURS = ("#c13b2e", "#2f6db3", "#0f8577", "#7a4cb0", "#c98a1b", "#5b6770", "#b4519b", "#3b8ec2", "#8a8f3c")

TOGETHER, A_ROW = 4, 3  # procedures in one panel, panels in a row

BestSoFar = Sequence[tuple[float, float]]
Line = tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_curves(
    curves: Mapping[str, Sequence[BestSoFar]],
    *,
    levels: Mapping[str, float],
    end: float,
    xlabel: str,
    ylabel: str,
    title: str = "",
) -> Figure:
    """Best value so far by cost, a colour for each procedure: a line for each of its seeds, a broad one for their mean.

    The mean begins at the cost from which every seed has a value; where one found nothing there is no mean. Of more
    than four procedures each has a panel of its own, with the means of the others in grey.

    Args:
        curves: per procedure and seed, the points (cost, best value from there on); none if nothing was found.
        levels: values to compare with, by name.
        end: cost up to which every line is drawn.
        xlabel: what the cost is.
        ylabel: what the value is; larger is better.
        title: a line above.
    """
    apart = len(curves) > TOGETHER
    lines = {name: [_until(end, points) for points in seeds if points] for name, seeds in curves.items()}
    means = {name: _mean(lines[name]) for name, seeds in curves.items() if len(lines[name]) == len(seeds) > 1}
    figure, panels = _panels(len(curves) if apart else 1, title)
    for number, (colour, name) in enumerate(zip(cycle(COLOURS), curves, strict=False)):
        axes = panels[number if apart else 0]
        several = len(lines[name]) > 1
        if apart:
            axes.set_title(plain(textwrap.fill(name, 44)), loc="left", fontsize=9, color=colour)
            for other in means.keys() - {name}:
                axes.plot(*means[other], drawstyle="steps-post", color="#d3d9e0", linewidth=1.2, zorder=1)
        for place, line in enumerate(lines[name]):
            width, alpha = (0.8, 0.35) if several else (1.4, 1.0)
            label = plain(name) if place == 0 else None
            axes.plot(*line, drawstyle="steps-post", color=colour, linewidth=width, alpha=alpha, label=label)
        if name in means:
            axes.plot(*means[name], drawstyle="steps-post", color=colour, linewidth=2.6)
    for number, axes in enumerate(panels):
        first = number % A_ROW == 0
        for level, value in levels.items():
            _draw_level(axes, level, value, named=not apart)
        axes.set(xlabel=xlabel, ylabel=textwrap.fill(directed(ylabel, 1), 30 if apart else 80) if first else "")
        axes.tick_params(labelleft=first)
    if not apart and panels[0].get_legend_handles_labels()[0]:
        legend = panels[0].legend(loc="upper left", frameon=False, fontsize=9, labelcolor=INK)
        for handle in legend.get_lines():
            handle.set(linewidth=2.6, alpha=1.0)
    return figure


def _panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    """Axes that share their scales, row by row; a single one is larger."""
    columns, rows = min(count, A_ROW), ceil(count / A_ROW)
    wide, high, step = (7.6, 3.9, 0.0) if count == 1 else (2.9, 2.0, 0.95)
    left, right, below, top = 0.95, 1.0 if count == 1 else 0.25, 0.6, 0.55 if count == 1 else 0.8
    width, height = left + columns * wide + (columns - 1) * 0.25 + right, top + rows * (high + step) - step + below
    figure = new_figure(width, height)
    panels: list[Axes] = []
    for number in range(count):
        row, column = divmod(number, A_ROW)
        corner = (left + column * (wide + 0.25), height - top - high - row * (high + step))
        place = (corner[0] / width, corner[1] / height, wide / width, high / height)
        first = panels[0] if panels else None
        axes = styled(figure.add_axes(place, sharex=first, sharey=first))
        axes.set_xscale("log")  # before lines are drawn, of which there may be none
        subs = (1.0, 2.0, 5.0) if count == 1 else (1.0,)
        for ticks, which in ((axes.xaxis.set_major_locator, subs), (axes.xaxis.set_minor_locator, range(2, 10))):
            ticks(LogLocator(subs=which))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        panels.append(axes)
    figure.text(0.15 / width, 1 - 0.12 / height, plain(title), fontsize=11, color=INK, va="top")
    return figure, panels


def _draw_level(axes: Axes, name: str, value: float, *, named: bool) -> None:
    axes.axhline(value, linewidth=0.9, linestyle=(0, (4, 3)), color=INK, alpha=0.6)
    if named:
        place: dict[str, Any] = {"xy": (1, value), "xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(plain(name), xycoords=axes.get_yaxis_transform(), fontsize=8.5, color=INK, **place)


def _until(end: float, points: BestSoFar) -> Line:
    xs, ys = zip(*points, strict=True)
    return np.array([*xs, end]), np.array([*ys, ys[-1]])


def _mean(lines: Sequence[Line]) -> Line:
    """The mean of step functions where all have begun."""
    costs = np.unique(np.concatenate([xs for xs, _ in lines]))
    costs = costs[costs >= max(xs[0] for xs, _ in lines)]
    values = [ys[np.searchsorted(xs, costs, side="right") - 1] for xs, ys in lines]
    return costs, np.mean(values, axis=0)
