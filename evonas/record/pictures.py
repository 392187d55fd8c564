"""Pictures of layers and of searches, as matplotlib figures that no global state knows of.

A layer is drawn as its graph, left to right, in the manner of Sugiyama et al. 1981: nodes get columns, long edges
get a waypoint in every column they pass, columns are ordered so that few edges cross, then heights are chosen so
that few edges bend. Edges of one source share their waypoints, as wires do in a circuit diagram: they carry the
same value. Boxes and waypoints stand in columns and edges bend between columns only, so no edge can run through a box.
"""

import os
import random
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from math import ceil, inf
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from scipy.optimize import linprog

from evonas.graph.genome import Genome
from evonas.graph.primitive import INDEX_SETS, PRIMITIVES

DPI = 120

# ---------------------------------------------------------------------------------------------------------------------
# layout of a graph, in inches, y upwards

BOX_WIDTH, BOX_HEIGHT = 0.78, 0.44
COLUMN_GAP = 0.50
ROW_GAP = 0.20  # free height between neighbours in a column
PORT = 0.10  # two operands arrive this far above and below the middle
RESTARTS = 24  # random orders that the search for few crossings begins from

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node stands: its centre."""

    x: float
    y: float

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top."""
        return (
            self.x - BOX_WIDTH / 2,
            self.y - BOX_HEIGHT / 2,
            self.x + BOX_WIDTH / 2,
            self.y + BOX_HEIGHT / 2,
        )


@dataclass(frozen=True, slots=True)
class Route:
    """Where an edge runs: points two by two; it bends within a pair and is level between pairs.

    Attributes:
        source: number of the node it leaves.
        target: number of the node it enters.
        slot: which operand of the target it is.
        points: begins at the right side of the source, ends at the left side of the target.
    """

    source: int
    target: int
    slot: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by node number and one route per edge, of the genome's ``graph``."""

    boxes: Mapping[int, Box]
    routes: tuple[Route, ...]


# a node (its number, its own column), or a waypoint of all edges of that node in a later column
_Stop = tuple[int, int]
_Order = list[list[_Stop]]  # per column, from top to bottom


@dataclass(frozen=True, slots=True)
class _Hop:
    """A piece of edges between neighbouring columns; ``rank``: -1 if it must arrive above the middle, 1 below."""

    left: _Stop
    right: _Stop
    rank: int = 0


def layout(genome: Genome) -> Layout:
    """Place the active nodes; the same genome always gets the same places."""
    columns = _columns(genome)
    hops = _hops(genome, columns)
    order = _ordered(columns, hops)
    heights = _heights(order, hops, columns)
    boxes = {name: Box(_column_x(column), heights[name, column]) for name, column in columns.items()}
    return Layout(boxes, tuple(_routes(genome, columns, heights)))


def _column_x(column: int) -> float:
    return column * (BOX_WIDTH + COLUMN_GAP)


def _columns(genome: Genome) -> dict[int, int]:
    """Longest path from a source; then what has more uses than operands moves right, to its uses."""
    graph = genome.graph
    before = {v: sorted(set(graph.predecessors(v))) for v in sorted(graph)}
    after = {v: sorted(set(graph.successors(v))) for v in before}
    columns: dict[int, int] = {}
    for v in before:  # numbers are a topological order
        columns[v] = max((columns[u] + 1 for u in before[v]), default=0)
    for v in reversed(before):
        # this shortens more edges than it lengthens; x stays, since readers look for it at the start
        if len(after[v]) > len(before[v]) and graph.nodes[v]["op"] != "x":
            columns[v] = min(columns[w] for w in after[v]) - 1
    return columns


def _hops(genome: Genome, columns: Mapping[int, int]) -> list[_Hop]:
    hops: dict[_Hop, None] = {}  # ordered set: edges of one source share hops
    for source, target, slot in sorted(genome.graph.edges(keys=True)):
        stops = [(source, column) for column in range(columns[source], columns[target])]
        hops.update(dict.fromkeys(_Hop(a, b) for a, b in pairwise(stops)))
        fixed = _order_matters(genome, target)
        hops[_Hop(stops[-1], (target, columns[target]), (2 * slot - 1) if fixed else 0)] = None
    return list(hops)


def _order_matters(genome: Genome, name: int) -> bool:
    primitive = PRIMITIVES[genome.graph.nodes[name]["op"]]
    return primitive.arity > 1 and not primitive.commutative


def _ordered(columns: Mapping[int, int], hops: Sequence[_Hop]) -> _Order:
    """Orders with as few crossings as a repeated median search finds."""
    stops = dict.fromkeys(chain(((n, c) for n, c in columns.items()), *((hop.left, hop.right) for hop in hops)))
    start: _Order = [[s for s in stops if s[1] == column] for column in range(max(columns.values()) + 1)]
    between = [[hop for hop in hops if hop.left[1] == column] for column in range(len(start) - 1)]
    rng = random.Random(0)
    best, fewest = start, inf
    for _ in range(RESTARTS):
        order = _untangled([rng.sample(column, len(column)) for column in start], between)
        crossings = sum(_crossings(order[c], order[c + 1], between[c]) for c in range(len(between)))
        if crossings < fewest:
            best, fewest = order, crossings
        if fewest == 0:
            break
    return best


def _untangled(order: _Order, between: Sequence[Sequence[_Hop]]) -> _Order:
    for _ in range(4):
        for column in range(1, len(order)):
            order[column] = _by_neighbours(order[column], order[column - 1], between[column - 1], forward=True)
        for column in range(len(order) - 2, -1, -1):
            order[column] = _by_neighbours(order[column], order[column + 1], between[column], forward=False)
        while _swap_neighbours(order, between):
            pass
    return order


def _by_neighbours(column: list[_Stop], other: list[_Stop], hops: Sequence[_Hop], *, forward: bool) -> list[_Stop]:
    place = {stop: index for index, stop in enumerate(other)}
    wanted: dict[_Stop, list[float]] = {stop: [] for stop in column}
    for hop in hops:
        if forward:
            wanted[hop.right].append(place[hop.left])
        else:
            wanted[hop.left].append(place[hop.right] + hop.rank / 4)
    middle = {s: (sum(w) / len(w) if w else column.index(s)) for s, w in wanted.items()}
    return sorted(column, key=middle.__getitem__)


def _swap_neighbours(order: _Order, between: Sequence[Sequence[_Hop]]) -> bool:
    """Swap neighbours wherever that removes crossings; whether it ever did."""

    def around(column: int) -> int:
        left = _crossings(order[column - 1], order[column], between[column - 1]) if column else 0
        right = _crossings(order[column], order[column + 1], between[column]) if column < len(between) else 0
        return left + right

    improved = False
    for column, stops in enumerate(order):
        for i in range(len(stops) - 1):
            was = around(column)
            stops[i], stops[i + 1] = stops[i + 1], stops[i]
            if around(column) < was:
                improved = True
            else:
                stops[i], stops[i + 1] = stops[i + 1], stops[i]
    return improved


def _crossings(left: Sequence[_Stop], right: Sequence[_Stop], hops: Sequence[_Hop]) -> int:
    at = {stop: index for index, stop in enumerate(left)}
    to = {stop: index for index, stop in enumerate(right)}
    ends = [(at[hop.left], to[hop.right] + hop.rank / 4) for hop in hops]
    return sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(ends, 2))


def _heights(order: _Order, hops: Sequence[_Hop], columns: Mapping[int, int]) -> dict[_Stop, float]:
    """Least weighted bend at the given order and clearance, a linear program (Gansner et al. 1993, section 4.2)."""
    index = {stop: i for i, stop in enumerate(chain.from_iterable(order))}
    rows: list[dict[int, float]] = []
    limits: list[float] = []
    for upper, lower in chain.from_iterable(pairwise(column) for column in order):
        rows.append({index[lower]: 1.0, index[upper]: -1.0})
        limits.append(-_clearance(upper, lower, columns))
    for number, hop in enumerate(hops, len(index)):  # one variable per hop, at least the size of its bend
        for sign in (1.0, -1.0):
            rows.append({index[hop.left]: sign, index[hop.right]: -sign, number: -1.0})
            limits.append(0.0)
    cost = [0.0] * len(index) + [_stiffness(hop, columns) for hop in hops]
    matrix = np.zeros((len(rows), len(cost)))
    for row, entries in enumerate(rows):
        matrix[row, list(entries)] = list(entries.values())
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * len(index) + [(0, None)] * len(hops)
    bounds[0] = (0, 0)  # only differences matter
    solution = linprog(cost, A_ub=matrix, b_ub=limits, bounds=bounds, method="highs").x
    return {stop: float(solution[i]) for stop, i in index.items()}


def _is_node(stop: _Stop, columns: Mapping[int, int]) -> bool:
    return columns[stop[0]] == stop[1]


def _clearance(upper: _Stop, lower: _Stop, columns: Mapping[int, int]) -> float:
    nodes = _is_node(upper, columns) + _is_node(lower, columns)
    return nodes * BOX_HEIGHT / 2 + ROW_GAP


def _stiffness(hop: _Hop, columns: Mapping[int, int]) -> float:
    waypoints = 2 - _is_node(hop.left, columns) - _is_node(hop.right, columns)
    return (1.0, 2.0, 8.0)[waypoints]


def _routes(genome: Genome, columns: Mapping[int, int], heights: Mapping[_Stop, float]) -> Iterator[Route]:
    for source, target, slot in sorted(genome.graph.edges(keys=True)):
        offset = _port(genome, target, slot, columns, heights)
        points: list[Point] = []
        for column in range(columns[source], columns[target]):
            last = column + 1 == columns[target]
            end = heights[target, column + 1] + offset if last else heights[source, column + 1]
            right = _column_x(column) + BOX_WIDTH / 2
            points += [(right, heights[source, column]), (right + COLUMN_GAP, end)]
        yield Route(source, target, slot, tuple(points))


def _port(genome: Genome, target: int, slot: int, columns: Mapping[int, int], heights: Mapping[_Stop, float]) -> float:
    """How far above the middle an operand arrives: the first if order matters, else what comes from above."""
    operands = sorted((s, source) for source, _, s in genome.graph.in_edges(target, keys=True))
    if len(operands) == 1:
        return 0.0
    if not _order_matters(genome, target):
        operands.sort(key=lambda operand: -heights[operand[1], columns[target] - 1])
    place = [s for s, _ in operands].index(slot)
    return PORT * (1 - 2 * place)


# ---------------------------------------------------------------------------------------------------------------------
# a layer

INK, FAINT = "#1f2933", "#7b8794"
MARGIN = 0.25
HEADER_GAP = 0.17
LEGEND_STEP, LEGEND_HEIGHT = 1.12, 0.34
FORMULA_SIZES = (17, 15, 13, 11)
FORMULA_WIDTH = 9.0  # inches a formula may take even if the graph is narrower

_INNERMOST_PAIR = re.compile(r"\\left([(|])((?:(?!\\left|\\right).)*)\\right([)|])")


@dataclass(frozen=True, slots=True)
class _Style:
    fill: str
    line: str


_STYLES = {
    "input": _Style("#d6e6f8", "#2f6db3"),
    "parameter": _Style("#fdecc4", "#b9820a"),
    "constant": _Style("#ffffff", "#8a94a0"),
    "elementwise": _Style("#eceff3", "#5a6675"),
    "moment": _Style("#d5efdd", "#2a8a50"),
    "output": _Style("#fbdcd9", "#c13b2e"),
}


def draw_genome(genome: Genome, *, title: str = "", subtitle: str = "") -> Figure:
    """The graph of a layer's active nodes, its formula above.

    Args:
        genome: the layer.
        title: first line.
        subtitle: second line, smaller.
    """
    places = layout(genome)
    figure = _figure(1, 1)
    header = [
        _written(figure, title, fontsize=14, fontweight="bold", color=INK),
        _written(figure, subtitle, fontsize=10, color=FAINT),
    ]
    left, bottom, right, top = _extent(places)
    header += _formula(figure, genome, max(right - left, FORMULA_WIDTH))
    header = [text for text in header if text.get_text()]
    kinds = [kind for kind in _STYLES if any(_kind(genome, name) == kind for name in places.boxes)]
    width = max(right - left, *(_size(text)[0] for text in header), LEGEND_STEP * len(kinds)) + 2 * MARGIN
    below = MARGIN + LEGEND_HEIGHT
    height = below + (top - bottom) + sum(_size(text)[1] + HEADER_GAP for text in header) + MARGIN + 0.15
    figure.set_size_inches(width, height)
    _place_header(header, height)
    axes = _canvas(figure)
    _draw_legend(axes, kinds, (width - LEGEND_STEP * len(kinds)) / 2 + 0.1, MARGIN)
    _draw_graph(axes, genome, places, ((width - right - left) / 2, below - bottom))
    return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _canvas(figure: Figure) -> Axes:
    """Invisible axes over the whole figure whose unit is the inch."""
    axes = figure.add_axes((0, 0, 1, 1))
    width, height = figure.get_size_inches()
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return axes


def _written(figure: Figure, text: str, **style: Any) -> Text:
    return figure.text(0, 0, text, va="top", ha="center", **style)


def _box_of(text: Text) -> Bbox:
    """Extent in pixels."""
    figure = text.figure
    assert isinstance(figure, Figure)
    return text.get_window_extent(_agg(figure).get_renderer())  # type: ignore[no-untyped-call]


def _agg(figure: Figure) -> FigureCanvasAgg:
    return figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)


def _size(text: Text) -> tuple[float, float]:
    """Width and height in inches."""
    box = _box_of(text)
    return box.width / DPI, box.height / DPI


def _place_header(header: Sequence[Text], height: float) -> None:
    y = height - MARGIN
    for text in header:
        text.set_position((0.5, y / height))
        y -= _size(text)[1] + HEADER_GAP


def _formula(figure: Figure, genome: Genome, width: float) -> list[Text]:
    """The formula as lines that fit; plain text where mathtext cannot read it or a line stays too wide."""
    latex = _delimited(genome.formula(latex=True).replace("\\frac", "\\dfrac"))
    whole, _, rest = latex.partition("\\;\\mathrm{where}\\; ")
    definitions = [f"\\mathrm{{where}}\\;\\; {rest}"] if rest else []
    for lines in ([latex], [whole, *definitions], [whole, *rest.split(",\\; ")]):
        for size in FORMULA_SIZES:
            texts = [_math(figure, line, size) for line in lines if line]
            if all(text is not None and _size(text)[0] <= width for text in texts):
                return [text for text in texts if text is not None]
            for text in texts:
                if text is not None:
                    text.remove()
    plain = textwrap.fill(genome.formula(), width=int(width * 11))
    return [_written(figure, plain, fontsize=10, family="monospace", color=INK)]


def _delimited(latex: str) -> str:
    """Leave automatic size to delimiters around fractions: mathtext shrinks the others below the text."""

    def settled(match: re.Match[str]) -> str:
        opening, body, closing = match.groups()
        return f"<{opening}{body}>{closing}" if "\\dfrac" in body else f"{opening}{body}{closing}"

    before = ""
    while latex != before:
        before, latex = latex, _INNERMOST_PAIR.sub(settled, latex)
    return latex.replace("<", "\\left").replace(">", "\\right")


def _math(figure: Figure, latex: str, size: float) -> Text | None:
    text = _written(figure, f"${latex}$", fontsize=size, math_fontfamily="cm", color=INK)
    try:
        _box_of(text)
    except ValueError:  # what mathtext raises on commands it does not know
        text.remove()
        return None
    return text


def _kind(genome: Genome, name: int) -> str:
    op = genome.graph.nodes[name]["op"]
    if name == genome.graph.graph["output"]:
        return "output"
    if PRIMITIVES[op].kind == "initial":
        return {"x": "input", "zero": "constant"}.get(op, "parameter")
    return PRIMITIVES[op].kind


def _extent(places: Layout) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of boxes and routes."""
    lefts, bottoms, rights, tops = zip(*(box.bounds for box in places.boxes.values()), strict=True)
    ys = [y for route in places.routes for _, y in route.points]
    return min(lefts), min(*bottoms, *ys), max(rights), max(*tops, *ys)


def _draw_graph(axes: Axes, genome: Genome, places: Layout, shift: Point) -> None:
    dx, dy = shift
    for route in places.routes:
        points = [(x + dx, y + dy) for x, y in route.points]
        axes.add_patch(_arrow(points, _STYLES[_kind(genome, route.source)].line))
        if _order_matters(genome, route.target):
            x, y = points[-1]
            axes.text(x + 0.05, y, str(route.slot + 1), fontsize=7, color=FAINT, va="center_baseline", zorder=4)
    for name, box in places.boxes.items():
        _draw_box(axes, genome, name, (box.x + dx, box.y + dy))


def _arrow(points: Sequence[Point], color: str) -> FancyArrowPatch:
    vertices, codes = [points[0]], [Outline.MOVETO]
    for (x0, y0), (x1, y1) in zip(points[::2], points[1::2], strict=True):
        middle = (x0 + x1) / 2
        if vertices[-1] != (x0, y0):
            vertices.append((x0, y0))
            codes.append(Outline.LINETO)
        vertices += [(middle, y0), (middle, y1), (x1, y1)]
        codes += [Outline.CURVE4] * 3
    return FancyArrowPatch(
        path=Outline(vertices, codes),
        arrowstyle="-|>,head_length=4,head_width=2.2",
        mutation_scale=1,
        color=color,
        linewidth=1.3,
    )


def _draw_box(axes: Axes, genome: Genome, name: int, centre: Point) -> None:
    x, y = centre
    style = _STYLES[_kind(genome, name)]
    node = genome.graph.nodes[name]
    patch = FancyBboxPatch(
        (x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2),
        BOX_WIDTH,
        BOX_HEIGHT,
        boxstyle="round,pad=0,rounding_size=0.09",
        facecolor=style.fill,
        edgecolor=style.line,
        linewidth=1.4,
        zorder=3,
    )
    axes.add_patch(patch)
    middle: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4}
    if node["axes"]:
        axes.text(x, y + 0.085, node["op"], fontsize=10, color=INK, **middle)
        axes.text(
            x,
            y - 0.115,
            f"${INDEX_SETS[node['axes']].latex}$",
            fontsize=9,
            color=style.line,
            math_fontfamily="cm",
            **middle,
        )
    elif PRIMITIVES[node["op"]].kind == "initial":
        axes.text(
            x,
            y,
            f"${PRIMITIVES[node['op']].latex.template}$",
            fontsize=13,
            color=INK,
            math_fontfamily="cm",
            **middle,
        )
    else:
        axes.text(x, y, node["op"], fontsize=10, color=INK, **middle)


def _draw_legend(axes: Axes, kinds: Sequence[str], x: float, y: float) -> None:
    for column, kind in enumerate(kinds):
        style, left = _STYLES[kind], x + column * LEGEND_STEP
        axes.add_patch(Rectangle((left, y), 0.15, 0.1, facecolor=style.fill, edgecolor=style.line, linewidth=0.9))
        axes.text(left + 0.21, y + 0.05, kind, fontsize=7.5, color=FAINT, va="center_baseline")


# ---------------------------------------------------------------------------------------------------------------------
# a search

DOT, FRONT, BASELINE, RUG = "#b4bdc8", "#c13b2e", "#2f6db3", "#d98a82"
PANEL = 4.2  # inches, the side of one pair of objectives
PANELS_A_ROW = 3

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


def draw_front(
    points: Sequence[tuple[str, Mapping[str, float]]],
    front: Collection[str],
    *,
    baselines: Mapping[str, Mapping[str, float]],
    objectives: Sequence[str],
) -> Figure:
    """Evaluated layers by their objectives, larger is better: a panel per pair; by rank if there is only one.

    Args:
        points: name and objectives of every evaluated layer.
        front: names of the layers no other one dominates.
        baselines: layers to compare with, by the name to label them with.
        objectives: which objectives to show.
    """
    if len(objectives) == 1:
        (objective,) = objectives
        values = [(name in front, scores[objective]) for name, scores in points]
        return _draw_ranks(values, {name: scores[objective] for name, scores in baselines.items()}, objective)
    pairs = list(combinations(objectives, 2))
    figure, panels = _panels(len(pairs), right=1.4 if baselines else 0.2)
    inside = [scores for name, scores in points if name in front]
    outside = [scores for name, scores in points if name not in front]
    for axes, (first, second) in zip(panels, pairs, strict=True):
        _scatter(axes, _pick(outside, first, second), color=DOT, s=16, alpha=0.75, zorder=2, label="evaluated")
        best = sorted(_pick(inside, first, second))
        if len(objectives) == 2 and best:  # with more objectives a front is no staircase in any one panel
            axes.plot(*_xy(best), drawstyle="steps-pre", color=FRONT, linewidth=1, alpha=0.6, zorder=3)
        _scatter(axes, best, color=FRONT, s=34, edgecolors="white", linewidths=0.6, zorder=4, label="Pareto front")
        for number, scores in enumerate(baselines.values()):
            axes.scatter(scores[first], scores[second], **_mark(number))
        axes.set(xlabel=f"{first} \u2192", ylabel=f"{second} \u2192")
    _draw_key(figure, panels[0], empty=not points)
    _draw_names(figure, list(baselines))
    return figure


def _mark(number: int) -> dict[str, Any]:
    shape, hue = SHAPES[number % len(SHAPES)], HUES[number % len(HUES)]
    return {"marker": shape, "color": hue, "s": 52, "edgecolors": "white", "linewidths": 0.6, "zorder": 5}


def _draw_names(figure: Figure, names: Sequence[str]) -> None:
    """Which baseline has which mark, at the right of the first row of panels."""
    axes = figure.axes[min(len(figure.axes), PANELS_A_ROW) - 1]
    handles = [axes.scatter([], [], label=name, **_mark(number)) for number, name in enumerate(names)]
    if handles:
        corner = axes.get_position()
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (corner.x1, corner.y1)}
        figure.legend(handles=handles, title="baselines", alignment="left", title_fontsize=9, **place, **_LEGEND)


def _panels(count: int, *, right: float) -> tuple[Figure, list[Axes]]:
    """Square axes row by row, with a margin of ``right`` inches for names."""
    columns = min(count, PANELS_A_ROW)
    rows = ceil(count / columns)
    step_x, step_y, top = PANEL + 0.8, PANEL + 0.65, 0.45
    figure = _figure(columns * step_x + right, rows * step_y + top)
    width, height = figure.get_size_inches()
    panels = []
    for index in range(count):
        row, column = divmod(index, columns)
        left, bottom = 0.75 + column * step_x, height - top - PANEL - row * step_y
        panels.append(_styled(figure.add_axes((left / width, bottom / height, PANEL / width, PANEL / height))))
    return figure, panels


def _styled(axes: Axes) -> Axes:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.grid(color="#eceff3", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(0.07)
    return axes


def _pick(scores: Sequence[Mapping[str, float]], first: str, second: str) -> list[Point]:
    return [(each[first], each[second]) for each in scores]


def _xy(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _scatter(axes: Axes, points: Sequence[Point], *, label: str, **style: Any) -> None:
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
    figure = _figure(9.6, 4.4)
    axes = _styled(figure.add_axes((0.085, 0.125, 0.735, 0.785)))
    axes.set_ylabel(f"{label} \u2192")
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, axes


def _draw_levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Horizontal lines, labelled at the right; labels that would touch are moved apart."""
    for value in levels.values():
        axes.axhline(value, color=BASELINE, linewidth=0.9, alpha=0.55, linestyle=(0, (4, 3)), zorder=1)
    low, high = axes.get_ylim()
    heights = [(value - low) / (high - low) for value in levels.values()]
    for (name, value), height, spread in zip(levels.items(), heights, _spread(heights, 0.05), strict=True):
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
    blocks: list[tuple[float, int]] = []  # sum and size of values that had to become equal: isotonic regression
    for rank, index in enumerate(order):
        total, count = values[index] - rank * gap, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            earlier, size = blocks.pop()
            total, count = total + earlier, count + size
        blocks.append((total, count))
    flat = chain.from_iterable([total / count] * count for total, count in blocks)
    highest = max(0.0, 1 - (len(values) - 1) * gap)
    inside = (min(max(place, 0.0), highest) for place in flat)
    places = {index: place + rank * gap for rank, (index, place) in enumerate(zip(order, inside, strict=True))}
    return [places[index] for index in range(len(values))]


# ---------------------------------------------------------------------------------------------------------------------
# files


def to_array(figure: Figure) -> NDArray[np.uint8]:
    """The figure as [height, width, 3] bytes."""
    canvas = _agg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba(), dtype=np.uint8)  # type: ignore[no-untyped-call]
    return pixels[..., :3].copy()


def to_png(figure: Figure, path: Path) -> None:
    """Write the figure whole or not at all; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _agg(figure)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # no metadata: it names the version of matplotlib, and equal figures should give equal files
        figure.savefig(unfinished, format="png", dpi=DPI, metadata={"Software": None})
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
