"""Panels side by side that share their axes: means and deviations by a size, a colour for each series."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from evonas.report.pictures.charts import styled
from evonas.report.pictures.curves import COLOURS
from evonas.report.pictures.figure import FAINT, INK, new_figure

Points = Sequence[tuple[float, float, float]]  # x, mean, deviation
Panels = Mapping[str, Mapping[str, Points]]

_MOST_LINES = ("-", "--", ":")
A_ROW = 3  # panels
LARGE = 10_000
WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP, GAP = 3.3, 2.9, 0.75, 2.2, 0.65, 0.75, 0.45  # inches


def panels_of(lines: Iterable[tuple[str, str, Points]]) -> dict[str, dict[str, list[tuple[float, float, float]]]]:
    """Points with the titles of their panels and the names of their series, by these, in order of appearance."""
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for panel, series, points in lines:
        found.setdefault(panel, {}).setdefault(series, []).extend(points)
    return found


def draw_panels(
    panels: Panels,
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    logx: int = 10,
    logy: bool = False,
    ticks: bool = False,
    levels: Mapping[str, float] | None = None,
    predicted: Panels | None = None,
) -> Figure:
    """Draw them.

    Args:
        panels: by the panel's title and the series' name, points in order.
        xlabel: what the size is.
        ylabel: what the mean is of.
        title: a line above.
        logx: base of the logarithmic size axis; 0 for a linear one.
        logy: whether the other axis is logarithmic.
        ticks: whether each size is a tick, for those that double.
        levels: values to compare with, by name; a line across each panel.
        predicted: more points of the same panels and series, drawn hollow.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    styles = {name: _style(number) for number, name in enumerate(names)}
    columns, rows = min(A_ROW, max(1, len(panels))), max(1, ceil(len(panels) / A_ROW))
    wide = WIDTH if len(panels) > 1 else 1.7 * WIDTH
    high = HEIGHT if len(panels) > 1 else 1.3 * HEIGHT
    width = LEFT + columns * wide + (columns - 1) * GAP + RIGHT
    height = TOP + rows * high + (rows - 1) * (GAP + BOTTOM) + BOTTOM
    figure = new_figure(width, height)
    first: Axes | None = None
    for number, (name, series) in enumerate(panels.items()):
        row, column = divmod(number, A_ROW)
        left = LEFT + column * (wide + GAP)
        bottom = height - TOP - (row + 1) * high - row * (GAP + BOTTOM)
        place = (left / width, bottom / height, wide / width, high / height)
        axes = styled(figure.add_axes(place, sharex=first, sharey=first))
        first = first or axes
        if logx:
            axes.set_xscale("log", base=logx)
        if logy:
            axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.set_title(name, loc="left", fontsize=10, color=INK)
        _draw(axes, series, styles, levels or {})
        for which, points in (predicted or {}).get(name, {}).items():
            xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
            axes.plot(xs, ys, "D", markersize=7, markerfacecolor="none", color=styles[which]["color"])
        axes.set_xlabel(xlabel)
        if column == 0:
            axes.set_ylabel(f"{ylabel} \u2192")
        else:
            axes.tick_params(labelleft=False)
        if ticks:
            sizes = sorted({x for points in series.values() for x, _, _ in points})
            axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
            axes.set_xticks([], minor=True)
    if first is not None:
        if logx == 10:
            _name_few_decades(first.xaxis, first.get_xlim())
        elif not logx:
            _name_few_numbers(first.xaxis, first.get_xlim())
        if logy:
            _name_few_decades(first.yaxis, first.get_ylim())
        handles = [first.plot([], [], marker="o", markersize=4, label=name, **styles[name])[0] for name in names]
        corner = ((width - RIGHT + 0.15) / width, 1 - TOP / height)
        figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=corner, frameon=False, fontsize=9, labelcolor=INK
        )
    figure.text(0.25 / width, 1 - 0.2 / height, title, fontsize=11, color=INK, va="top")
    return figure


def _style(number: int) -> dict[str, Any]:
    """A colour for each of the first series, then the same again in other lines."""
    again, colour = divmod(number, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": _MOST_LINES[again % len(_MOST_LINES)]}


def _name_few_decades(axis: Axis, limits: tuple[float, float]) -> None:
    """Within two decades a logarithmic axis also names 2 and 5: else it might name nothing at all."""
    low, high = limits
    if high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(_short() if high >= LARGE else FuncFormatter(lambda value, _: f"{value:g}"))


def _name_few_numbers(axis: Axis, limits: tuple[float, float]) -> None:
    """Few of the large numbers are named: else they would run into each other."""
    if limits[1] >= LARGE:
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(_short())


def _short() -> EngFormatter:
    """40k for 40,000."""
    return EngFormatter(sep="")


def _draw(
    axes: Axes, series: Mapping[str, Points], styles: Mapping[str, Mapping[str, Any]], levels: Mapping[str, float]
) -> None:
    for name, points in series.items():
        if not points:
            continue
        xs, means, deviations = zip(*points, strict=True)
        below, above = ([m + sign * d for m, d in zip(means, deviations, strict=True)] for sign in (-1, 1))
        axes.fill_between(xs, below, above, color=styles[name]["color"], alpha=0.12, linewidth=0)
        axes.plot(xs, means, marker="o", markersize=4, linewidth=1.6, **styles[name])
    for name, value in levels.items():
        axes.axhline(value, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axes.text(0.01, value, name, transform=axes.get_yaxis_transform(), fontsize=8, color=FAINT, va="bottom")
