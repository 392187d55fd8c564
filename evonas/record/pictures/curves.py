"""Pictures of several searches side by side: the best score by what it cost."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from evonas.record.pictures.charts import styled
from evonas.record.pictures.figure import INK, new_figure

COLOURS = ("#c13b2e", "#2f6db3", "#0f8577", "#7a4cb0", "#c98a1b", "#5b6770", "#b4519b", "#3b8ec2", "#8a8f3c")

Curve = Sequence[tuple[float, float]]


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
    for ticks, subs in ((axes.xaxis.set_major_locator, (1.0, 2.0, 5.0)), (axes.xaxis.set_minor_locator, range(2, 10))):
        ticks(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    for colour, (name, seeds) in zip(cycle(COLOURS), curves.items(), strict=False):
        for number, points in enumerate(found for found in seeds if found):
            label = name if number == 0 else None
            xs, ys = [x for x, _ in points], [y for _, y in points]
            axes.plot([*xs, end], [*ys, ys[-1]], drawstyle="steps-post", color=colour, linewidth=1.4, label=label)
    for name, value in levels.items():
        style: dict[str, Any] = {"linewidth": 0.9, "linestyle": (0, (4, 3)), "color": INK, "alpha": 0.6}
        axes.axhline(value, **style)
        axes.annotate(
            name, (1, value), (4, 0), axes.get_yaxis_transform(), "offset points", fontsize=8.5, color=INK, va="center"
        )
    axes.set(xlabel=xlabel, ylabel=f"{ylabel} \u2192")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.13, 1.0), frameon=False, fontsize=9, labelcolor=INK)
    return figure
