"""Pictures of a search: the Pareto front, and scores by candidate."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from math import ceil
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression

from evonas.graph.placement import Position
from evonas.report.pictures.figure import FAINT, INK, directed, new_figure, plain

DOT, FRONT, BASELINE, RUG = "#b4bdc8", "#c13b2e", "#2f6db3", "#d98a82"
PANEL = 2.9  # inches, the side of one pair of objectives
MEAN = "mean score"  # of accuracies, or of likelihoods
PANELS_A_ROW = 2
NAMES_A_ROW = 3  # of baselines, below each panel

# baselines often lie together: shapes and hues tell them apart where names beside the dots would cover each other
SHAPES, HUES = "Ds^vPXphd<>", (BASELINE, "#7a4cb0", "#0f8577")

_LEGEND: dict[str, Any] = {
    "fontsize": 9,
    "frameon": False,
    "labelcolor": INK,
    "borderaxespad": 0.3,
    "handlelength": 1.4,
    "handletextpad": 0.4,
}


Scores = Mapping[str, float]


def draw_front(
    points: Sequence[tuple[str, Scores]],
    front: Collection[str],
    *,
    baselines: Mapping[str, Scores],
    objectives: Sequence[str],
    extras: Scores = MappingProxyType({}),
) -> Figure:
    """Evaluated layers by their objectives, better is up and right: a panel per pair; by rank if there is only one.

    Each extra is shown against the mean objective: all pairs would be too many to be read.

    Args:
        points: name, objectives and extras of every evaluated layer.
        front: names of the layers no other one dominates.
        baselines: layers to compare with, by the name to label them with.
        objectives: which objectives to show; larger is better.
        extras: which others; 1 where larger is better, -1 where smaller is.
    """
    found = _Front(points, front, baselines, objectives, extras)
    return found.draw(found.pairs) if found.pairs else found.draw_ranks()


def draw_fronts(
    points: Sequence[tuple[str, Scores]],
    front: Collection[str],
    *,
    baselines: Mapping[str, Scores],
    objectives: Sequence[str],
    extras: Scores = MappingProxyType({}),
) -> dict[str, Figure]:
    """The panels of ``draw_front`` as pictures of their own, by name, each small enough for a card of TensorBoard."""
    found = _Front(points, front, baselines, objectives, extras)
    names = {f"{first} and {second}": [(first, second)] for first, second in found.pairs}
    return {name: found.draw(pair) for name, pair in names.items()} or {objectives[0]: found.draw_ranks()}


class _Front:
    """What fronts are drawn of; see ``draw_front``."""

    def __init__(
        self,
        points: Sequence[tuple[str, Scores]],
        front: Collection[str],
        baselines: Mapping[str, Scores],
        objectives: Sequence[str],
        extras: Scores,
    ) -> None:
        self._inside = [_with_mean(scores, objectives) for name, scores in points if name in front]
        self._outside = [_with_mean(scores, objectives) for name, scores in points if name not in front]
        self._baselines = {name: _with_mean(scores, objectives) for name, scores in baselines.items()}
        self._objectives, self._extras = objectives, extras
        several = len(objectives) > 1 or bool(extras)
        self.pairs = [*combinations(objectives, 2), *((extra, MEAN) for extra in extras)] if several else []

    def draw(self, pairs: Sequence[tuple[str, str]]) -> Figure:
        """A panel per pair."""
        figure, panels = _panels(len(pairs), names=len(self._baselines))
        for axes, (first, second) in zip(panels, pairs, strict=True):
            self._draw_panel(axes, first, second)
        _draw_key(figure, panels[0], empty=not (self._inside or self._outside))
        _draw_names(figure, list(self._baselines))
        return figure

    def _draw_panel(self, axes: Axes, first: str, second: str) -> None:
        _scatter(axes, _pick(self._outside, first, second), color=DOT, s=16, alpha=0.75, zorder=2, label="evaluated")
        weight = self._extras.get(first, 1)
        best = sorted(_pick(self._inside, first, second), key=lambda point: (weight * point[0], point[1]))
        several = len(self._objectives) + len(self._extras)
        if several == 2 and best:  # with more, a front is no staircase in any one panel
            axes.plot(*_xy(best), drawstyle="steps-pre", color=FRONT, linewidth=1, alpha=0.6, zorder=3)
        _scatter(axes, best, color=FRONT, s=34, edgecolors="white", linewidths=0.6, zorder=4, label="Pareto front")
        for number, scores in enumerate(self._baselines.values()):
            axes.scatter(scores[first], scores[second], **_mark(number))
        axes.set(xlabel=directed(first, weight), ylabel=directed(second, 1))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_inverted(weight < 0)

    def draw_ranks(self) -> Figure:
        """The one objective by rank."""
        (objective,) = self._objectives
        values = [(False, scores[objective]) for scores in self._outside]
        values += [(True, scores[objective]) for scores in self._inside]
        return _draw_ranks(values, {name: scores[objective] for name, scores in self._baselines.items()}, objective)


def _with_mean(scores: Mapping[str, float], objectives: Sequence[str]) -> dict[str, float]:
    return {**scores, MEAN: sum(scores[name] for name in objectives) / len(objectives)}


def _mark(number: int) -> dict[str, Any]:
    shape, hue = SHAPES[number % len(SHAPES)], HUES[number % len(HUES)]
    return {"marker": shape, "color": hue, "s": 52, "edgecolors": "white", "linewidths": 0.6, "zorder": 5}


def _columns(figure: Figure) -> int:
    return min(len(figure.axes), PANELS_A_ROW)


def _draw_names(figure: Figure, names: Sequence[str]) -> None:
    """Which baseline has which mark, below the panels."""
    axes = figure.axes[0]
    handles = [axes.scatter([], [], label=plain(name), **_mark(number)) for number, name in enumerate(names)]
    if handles:
        place: dict[str, Any] = {
            "loc": "lower left",
            "bbox_to_anchor": (0.02, 0.01),
            "ncols": NAMES_A_ROW * _columns(figure),
        }
        figure.legend(handles=handles, columnspacing=1.0, **place, **_LEGEND)


def _panels(count: int, *, names: int) -> tuple[Figure, list[Axes]]:
    """Square axes row by row, with room for names below."""
    columns = min(count, PANELS_A_ROW)
    rows_of_names = ceil(names / (NAMES_A_ROW * columns))
    rows = ceil(count / columns)
    step_x, step_y, top, below = PANEL + 0.85, PANEL + 0.6, 0.4, 0.05 + 0.22 * rows_of_names
    figure = new_figure(columns * step_x + 0.1, rows * step_y + top + below)
    width, height = figure.get_size_inches()
    panels = []
    for index in range(count):
        row, column = divmod(index, columns)
        left, bottom = 0.78 + column * step_x, height - top - PANEL - row * step_y
        panels.append(styled(figure.add_axes((left / width, bottom / height, PANEL / width, PANEL / height))))
    return figure, panels


def styled(axes: Axes) -> Axes:
    """The house style of axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.grid(color="#eceff3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(0.07)
    return axes


def _pick(scores: Sequence[Mapping[str, float]], first: str, second: str) -> list[Position]:
    return [(each[first], each[second]) for each in scores]


def _xy(points: Sequence[Position]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _scatter(axes: Axes, points: Sequence[Position], *, label: str, **style: Any) -> None:
    if points:
        axes.scatter(*_xy(points), label=f"{label} ({len(points)})", **style)


def _draw_key(figure: Figure, axes: Axes, *, empty: bool) -> None:
    """A legend above the first panel, and what to say if there is nothing to see."""
    if empty:
        axes.text(0.5, 0.6, "nothing evaluated yet", color=FAINT, ha="center", transform=axes.transAxes)
        if not axes.lines:  # no baseline either: the numbers on the axes mean nothing
            axes.yaxis.set_ticks([])
        if not axes.collections:
            axes.xaxis.set_ticks([])
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        corner = axes.get_position()
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (corner.x0, corner.y1)}
        figure.legend(handles, labels, ncols=len(handles), columnspacing=1.3, **place, **_LEGEND)


def _draw_ranks(values: Sequence[tuple[bool, float]], baselines: Mapping[str, float], objective: str) -> Figure:
    ranked = list(enumerate(sorted(values, key=lambda item: -item[1]), 1))
    figure, axes = _wide(objective)
    rest = [(float(rank), value) for rank, (best, value) in ranked if not best]
    _scatter(axes, rest, color=DOT, s=16, zorder=2, label="evaluated")
    best = [(float(rank), value) for rank, (best, value) in ranked if best]
    _scatter(axes, best, color=FRONT, s=40, edgecolors="white", linewidths=0.6, zorder=4, label="best")
    axes.set_xlabel("rank")
    _draw_levels(axes, baselines)
    _draw_key(figure, axes, empty=not values)
    return figure


def draw_progress(history: Sequence[float | None], *, baselines: Mapping[str, float], label: str) -> Figure:
    """Candidates' values by index, larger is better; the best so far is a line, rejected ones are ticks below.

    Args:
        history: one value per candidate, None for a rejected one.
        baselines: levels to compare with, by the name to label them with.
        label: what the values are.
    """
    figure, axes = _wide(label)
    values = [(float(index), value) for index, value in enumerate(history) if value is not None]
    _scatter(axes, values, color=DOT, s=16, zorder=2, label="evaluated")
    if values:
        best = np.maximum.accumulate([value for _, value in values])
        xs = [*(x for x, _ in values), float(len(history) - 1)]
        ys = [*best, best[-1]]
        axes.plot(xs, ys, drawstyle="steps-post", color=FRONT, linewidth=1.8, zorder=3, label="best so far")
    rejected = [index for index, value in enumerate(history) if value is None]
    if rejected:
        rug: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "color": RUG, "linewidth": 0.9}
        axes.vlines(rejected, 0, 0.03, label=f"rejected ({len(rejected)})", **rug)
    axes.set_xlabel("candidate")
    _draw_levels(axes, baselines)
    _draw_key(figure, axes, empty=not values)
    return figure


def _wide(label: str) -> tuple[Figure, Axes]:
    """Axes with room for labels at the right."""
    figure = new_figure(4.8, 3.5)  # TensorBoard shows it at half its size
    axes = styled(figure.add_axes((0.155, 0.135, 0.525, 0.765)))
    axes.set_ylabel(directed(label, 1))
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    return figure, axes


def _draw_levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Horizontal lines, labelled at the right; labels that would touch are moved apart."""
    for value in levels.values():
        axes.axhline(value, color=BASELINE, linewidth=0.9, alpha=0.55, linestyle=(0, (4, 3)), zorder=1)
    low, high = axes.get_ylim()
    heights = [(value - low) / (high - low) for value in levels.values()]
    for (name, value), height, spread in zip(levels.items(), heights, _spread(heights, 0.06), strict=True):
        axes.add_line(_leader(axes, height, spread))
        text = f"{name}  {value:.4g}"
        axes.text(1.03, spread, text, fontsize=8.5, color=BASELINE, va="center", transform=axes.transAxes)


def _leader(axes: Axes, start: float, end: float) -> Line2D:
    """From the end of a level to its label."""
    style: dict[str, Any] = {"color": BASELINE, "linewidth": 0.6, "alpha": 0.55, "clip_on": False}
    return Line2D([1, 1.025], [start, end], transform=axes.transAxes, **style)


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """Places in [0, 1] nearest to the values in least squares, ``gap`` apart and in the same order."""
    order = sorted(range(len(values)), key=values.__getitem__)
    flat = isotonic_regression([values[index] - rank * gap for rank, index in enumerate(order)]).x if order else ()
    highest = max(0.0, 1 - (len(values) - 1) * gap)
    inside = (min(max(place, 0.0), highest) for place in flat)
    places = {index: place + rank * gap for rank, (index, place) in enumerate(zip(order, inside, strict=True))}
    return [places[index] for index in range(len(values))]
