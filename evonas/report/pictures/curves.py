"""Pictures of several searches side by side: the best score by what it cost."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from evonas.report.pictures.charts import styled
from evonas.report.pictures.figure import INK, new_figure

COLOURS = ("#c13b2e", "#2f6db3", "#0f8577", "#7a4cb0", "#c98a1b", "#5b6770", "#b4519b", "#3b8ec2", "#8a8f3c")

BestSoFar = Sequence[tuple[float, float]]
Line = tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_curves(
    curves: Mapping[str, Sequence[BestSoFar]], *, levels: Mapping[str, float], end: float, xlabel: str, ylabel: str
) -> Figure:
    """Best value so far by cost, a colour for each procedure: a line for each of its seeds, a broad one for their mean.

    The mean begins at the cost from which every seed has a value; where one found nothing there is no mean.

    Args:
        curves: per procedure and seed, the points (cost, best value from there on); none if nothing was found.
        levels: values to compare with, by name.
        end: cost up to which every line is drawn.
        xlabel: what the cost is.
        ylabel: what the value is.
    """
    figure = new_figure(9.6, 4.8)
    axes = styled(figure.add_axes((0.085, 0.125, 0.66, 0.83)))
    axes.set_xscale("log")  # before lines are drawn, of which there may be none
    for ticks, subs in ((axes.xaxis.set_major_locator, (1.0, 2.0, 5.0)), (axes.xaxis.set_minor_locator, range(2, 10))):
        ticks(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    for colour, (name, seeds) in zip(cycle(COLOURS), curves.items(), strict=False):
        lines = [_until(end, points) for points in seeds if points]
        several = len(lines) > 1
        for number, line in enumerate(lines):
            width, alpha = (0.9, 0.4) if several else (1.4, 1.0)
            label = name if number == 0 else None
            axes.plot(*line, drawstyle="steps-post", color=colour, linewidth=width, alpha=alpha, label=label)
        if several and len(lines) == len(seeds):
            axes.plot(*_mean(lines), drawstyle="steps-post", color=colour, linewidth=2.4)
    for name, value in levels.items():
        style: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (4, 3)), "color": INK, "alpha": 0.6}
        axes.axhline(value, **style)
        axes.annotate(
            name, (1, value), (4, 0), axes.get_yaxis_transform(), "offset points", fontsize=8.5, color=INK, va="center"
        )
    axes.set(xlabel=xlabel, ylabel=f"{ylabel} \u2192")
    if axes.get_legend_handles_labels()[0]:
        legend = axes.legend(loc="upper left", bbox_to_anchor=(1.13, 1.0), frameon=False, fontsize=9, labelcolor=INK)
        for handle in legend.get_lines():
            handle.set(linewidth=1.8, alpha=1.0)
    return figure


def _until(end: float, points: BestSoFar) -> Line:
    xs, ys = zip(*points, strict=True)
    return np.array([*xs, end]), np.array([*ys, ys[-1]])


def _mean(lines: Sequence[Line]) -> Line:
    """The mean of step functions where all have begun."""
    costs = np.unique(np.concatenate([xs for xs, _ in lines]))
    costs = costs[costs >= max(xs[0] for xs, _ in lines)]
    values = [ys[np.searchsorted(xs, costs, side="right") - 1] for xs, ys in lines]
    return costs, np.mean(values, axis=0)
