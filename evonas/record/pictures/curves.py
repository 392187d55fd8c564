"""Pictures of several searches side by side: the best score by what it cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from evonas.record.pictures.charts import styled
from evonas.record.pictures.figure import INK, new_figure

COLOURS = ("#c13b2e", "#2f6db3", "#0f8577", "#7a4cb0", "#c98a1b", "#5b6770", "#b4519b", "#3b8ec2")

Curve = Sequence[tuple[float, float]]


def draw_by_size(
    series: Mapping[str, Sequence[tuple[float, float, float]]], *, xlabel: str, ylabel: str, title: str = ""
) -> Figure:
    """A mean and its deviation by a size that doubles, a colour for each series.

    Args:
        series: per name, the points (size, mean, deviation) in order.
        xlabel: what the size is.
        ylabel: what the mean is of.
        title: a line above.
    """
    figure = new_figure(8.4, 4.8)
    axes = styled(figure.add_axes((0.095, 0.125, 0.62, 0.77)))
    axes.set_xscale("log", base=2)
    for number, (name, points) in enumerate(series.items()):
        colour, (sizes, means, deviations) = COLOURS[number % len(COLOURS)], zip(*points, strict=True)
        below, above = ([m + sign * d for m, d in zip(means, deviations, strict=True)] for sign in (-1, 1))
        axes.fill_between(sizes, below, above, color=colour, alpha=0.12, linewidth=0)
        axes.plot(sizes, means, marker="o", markersize=4, color=colour, linewidth=1.6, label=name)
    ticks = sorted({size for points in series.values() for size, _, _ in points})
    axes.set_xticks(ticks, [f"{size:g}" for size in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel=xlabel, ylabel=f"{ylabel} \u2192")
    axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, fontsize=9, labelcolor=INK)
    figure.text(0.02, 0.965, title, fontsize=11, color=INK, va="top")
    return figure


def draw_curves(
    curves: Mapping[str, Sequence[Curve]], *, levels: Mapping[str, float], end: float, xlabel: str, ylabel: str
) -> Figure:
    """Best value so far by cost, a colour for each procedure, a line for each of its seeds.

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
    for colour, (name, seeds) in zip(COLOURS, curves.items(), strict=False):
        for number, points in enumerate(found for found in seeds if found):
            label = name if number == 0 else None
            xs, ys = [x for x, _ in points], [y for _, y in points]
            axes.plot([*xs, end], [*ys, ys[-1]], drawstyle="steps-post", color=colour, linewidth=1.4, label=label)
    for name, value in levels.items():
        style: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (4, 3)), "color": INK, "alpha": 0.6}
        axes.axhline(value, **style)
        axes.text(end, value, f" {name}", fontsize=8.5, color=INK, va="center")
    axes.set(xlabel=xlabel, ylabel=f"{ylabel} \u2192")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.13, 1.0), frameon=False, fontsize=9, labelcolor=INK)
    return figure
