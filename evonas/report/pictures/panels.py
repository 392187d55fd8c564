"""Panels side by side that share their axes: means and deviations by a size, a colour for each series."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from evonas.report.pictures.charts import styled
from evonas.report.pictures.curves import COLOURS
from evonas.report.pictures.figure import FAINT, INK, directed, new_figure, plain

Points = Sequence[tuple[float, float, float]]  # x, mean, deviation
Panels = Mapping[str, Mapping[str, Points]]

_LINE_STYLES = ("-", "--", ":")
MARKERS = "osD^vPX<>"
MOST_LINES = 8  # in a panel
GREY = "#d3d9e0"
A_ROW = 3  # panels
LARGE = 10_000
WIDTH, HEIGHT, LEFT, RIGHT, BOTTOM, TOP, GAP = 3.0, 2.7, 0.9, 2.2, 0.65, 0.75, 0.45  # inches


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
    better: float = 0,
    title: str = "",
    logx: int = 10,
    logy: bool = False,
    ticks: bool = False,
    places: Sequence[str] = (),
    levels: Mapping[str, float] | None = None,
    predicted: Panels | None = None,
    missing: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
) -> Figure:
    """Draw them.

    Where a panel would have more than eight lines, each series gets a panel of its own, with the others in grey.

    Args:
        panels: by the panel's title and the series' name, points in order.
        xlabel: what the size is.
        ylabel: what the mean is of.
        better: which way is better: up if positive, down if negative; 0 says nothing.
        title: a line above.
        logx: base of the logarithmic size axis; 0 for a linear one.
        logy: whether the other axis is logarithmic.
        ticks: whether each size is a tick, for those that double.
        places: names of the sizes 0, 1, ..., which are no numbers then.
        levels: values to compare with, by name; a line across each panel.
        predicted: more points of the same panels and series, drawn hollow.
        missing: sizes at which a series has no mean to show, by panel and series; crosses at the panel's upper edge.
    """
    apart = max(map(len, panels.values()), default=0) > MOST_LINES
    if apart:
        pieces = [(panel, name) for panel, series in panels.items() for name in series]
        titles = [name if len(panels) == 1 else f"{panel}: {name}" for panel, name in pieces]
    else:
        pieces, titles = [(panel, "") for panel in panels], list(panels)
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    styles = {name: _style(number, len(names)) for number, name in enumerate(names)}
    figure, all_axes = _grid(len(pieces), title, legend=not apart)
    for number, ((panel, alone), heading, axes) in enumerate(zip(pieces, titles, all_axes, strict=True)):
        axes.set_xscale("log", base=logx) if logx else None
        axes.set_yscale("log") if logy else None
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.set_title(plain(heading), loc="left", fontsize=10, color=styles[alone]["color"] if alone else INK)
        for which, points in panels[panel].items():
            if alone and which != alone and points:
                xs, means, _ = zip(*points, strict=True)
                axes.plot(xs, means, color=GREY, linewidth=0.9, zorder=1)
        shown = {alone: panels[panel][alone]} if alone else panels[panel]
        _draw(axes, shown, styles, levels or {})
        for which, points in (predicted or {}).get(panel, {}).items():
            sizes, values = [x for x, _, _ in points], [y for _, y, _ in points]
            axes.plot(sizes, values, "D", markersize=7, markerfacecolor="none", color=styles[which]["color"])
        _draw_missing(axes, {n: xs for n, xs in (missing or {}).get(panel, {}).items() if n in shown}, styles)
        axes.set_xlabel(xlabel)
        if number % A_ROW == 0:
            axes.set_ylabel(textwrap.fill(directed(ylabel, better), 40))
        else:
            axes.tick_params(labelleft=False)
        sizes = sorted({x for points in panels[panel].values() for x, _, _ in points})
        if ticks:
            axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
            axes.set_xticks([], minor=True)
        if places:
            axes.set_xticks(range(len(places)), list(map(plain, places)))
            axes.set_xlim(-0.5, len(places) - 0.5)
    if all_axes:
        first = all_axes[0]
        if not (ticks or places):
            if logx:
                _name_few_decades(first.xaxis, first.get_xlim())
            else:
                _name_few_numbers(first.xaxis, first.get_xlim())
        if logy:
            _name_few_decades(first.yaxis, first.get_ylim())
        if not apart:
            _draw_legend(figure, first, {name: styles[name] for name in names})
    return figure


def _grid(count: int, title: str, *, legend: bool) -> tuple[Figure, list[Axes]]:
    """Axes row by row that share their scales, with a title above and room for a legend at the right."""
    columns, rows = min(A_ROW, max(1, count)), max(1, ceil(count / A_ROW))
    wide, high = (WIDTH, HEIGHT) if count > 1 else (1.7 * WIDTH, 1.3 * HEIGHT)
    width = LEFT + columns * wide + (columns - 1) * GAP + (RIGHT if legend else 0.2)
    lines = textwrap.wrap(title, int(width / 0.09))
    top = TOP + 0.2 * max(0, len(lines) - 1)
    height = top + rows * high + (rows - 1) * (GAP + BOTTOM) + BOTTOM
    figure = new_figure(width, height)
    figure.text(0.2 / width, 1 - 0.15 / height, plain("\n".join(lines)), fontsize=11, color=INK, va="top")
    axes: list[Axes] = []
    for number in range(count):
        row, column = divmod(number, A_ROW)
        left = LEFT + column * (wide + GAP)
        bottom = height - top - (row + 1) * high - row * (GAP + BOTTOM)
        place = (left / width, bottom / height, wide / width, high / height)
        first = axes[0] if axes else None
        axes.append(styled(figure.add_axes(place, sharex=first, sharey=first)))
    return figure, axes


def _draw_legend(figure: Figure, axes: Axes, styles: Mapping[str, Mapping[str, Any]]) -> None:
    handles = [axes.plot([], [], markersize=4, label=plain(name), **style)[0] for name, style in styles.items()]
    corner = axes.get_position()
    right = max(each.get_position().x1 for each in figure.axes)
    place = (right + 0.15 / figure.get_size_inches()[0], corner.y1)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, frameon=False, fontsize=9, labelcolor=INK)


def _draw_missing(axes: Axes, missing: Mapping[str, Sequence[float]], styles: Mapping[str, Mapping[str, Any]]) -> None:
    """Crosses at the upper edge, one row for each series so that none hides another."""
    for row, (name, xs) in enumerate(missing.items()):
        heights = [0.97 - 0.05 * row] * len(xs)
        style: dict[str, Any] = {"color": styles[name]["color"], "linestyle": "none", "markersize": 6, "clip_on": False}
        axes.plot(xs, heights, "x", transform=axes.get_xaxis_transform(), **style)


def _style(number: int, count: int) -> dict[str, Any]:
    """A colour for each of the first series, then the same again in other lines.

    Lines are the thinner the later they are drawn, so that one which runs over another does not hide it.
    """
    again, colour = divmod(number, len(COLOURS))
    broad = 2.6 - 1.4 * number / max(1, count - 1) if count > 1 else 1.6
    marker = MARKERS[number % len(MARKERS)]
    return {
        "color": COLOURS[colour],
        "linestyle": _LINE_STYLES[again % len(_LINE_STYLES)],
        "linewidth": broad,
        "marker": marker,
    }


def _name_few_decades(axis: Axis, limits: tuple[float, float]) -> None:
    """Within two decades a logarithmic axis also names 2 and 5, and within less than one 3 and 7 too."""
    low, high = limits
    if high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0) if high < 8 * low else (1.0, 2.0, 5.0)))
        axis.set_major_formatter(_short() if high >= LARGE else FuncFormatter(lambda value, _: f"{value:g}"))
    elif low > 1e-4 and high < LARGE:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


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
        axes.plot(xs, means, markersize=4, **styles[name])
    for name, value in levels.items():
        axes.axhline(value, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axes.text(0.01, value, name, transform=axes.get_yaxis_transform(), fontsize=8, color=FAINT, va="bottom")
