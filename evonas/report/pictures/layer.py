"""The picture of a layer: its graph, its formula above."""

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Outline
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from evonas.errors import shown
from evonas.graph.drawing import STYLES, kind_of
from evonas.graph.genome import Genome
from evonas.graph.placement import BOX_HEIGHT, BOX_WIDTH, Layout, Position, layout, order_matters
from evonas.graph.primitive import INDEX_SETS, primitive_of
from evonas.limits import MOST_DRAWN
from evonas.report.pictures.figure import DPI, FAINT, INK, canvas_of, new_figure

MARGIN = 0.25
HEADER_GAP = 0.17
LEGEND_STEP, LEGEND_HEIGHT = 1.12, 0.34
FORMULA_SIZES = (17, 15, 13, 11)
FORMULA_WIDTH = 9.0  # inches a formula may take even if the graph is narrower

_INNERMOST_PAIR = re.compile(r"\\left([(|])((?:(?!\\left|\\right).)*)\\right([)|])")


def draw_genome(genome: Genome, *, title: str = "", subtitle: str = "") -> Figure:
    """The graph of a layer's active nodes, its formula above.

    Args:
        genome: the layer.
        title: first line.
        subtitle: second line, smaller.
    """
    figure = new_figure(1, 1)
    header = [
        _written(figure, shown(title), fontsize=14, fontweight="bold", color=INK),
        _written(figure, shown(subtitle), fontsize=10, color=FAINT),
    ]
    if not is_drawable(genome):
        return _only_said(figure, header, f"a graph of {len(genome.active_positions)} nodes, too large for a picture")
    places = layout(genome)
    left, bottom, right, top = places.extent
    header += _formula(figure, genome, max(right - left, FORMULA_WIDTH))
    header = [text for text in header if text.get_text()]
    kinds = [kind for kind in STYLES if any(kind_of(genome, name) == kind for name in places.boxes)]
    width = max(right - left, *(_size(text)[0] for text in header), LEGEND_STEP * len(kinds)) + 2 * MARGIN
    below = MARGIN + LEGEND_HEIGHT
    height = below + (top - bottom) + sum(_size(text)[1] + HEADER_GAP for text in header) + MARGIN + 0.15
    figure.set_size_inches(width, height)
    _place_header(header, height)
    axes = _canvas(figure)
    _draw_legend(axes, kinds, (width - LEGEND_STEP * len(kinds)) / 2 + 0.1, MARGIN)
    _draw_graph(axes, genome, places, ((width - right - left) / 2, below - bottom))
    return figure


def is_drawable(genome: Genome) -> bool:
    """Whether the graph of a layer is small enough for a picture."""
    return len(genome.active_positions) <= MOST_DRAWN


def _only_said(figure: Figure, header: Sequence[Text], what: str) -> Figure:
    """A picture of its header and a line."""
    lines = [text for text in header if text.get_text()] + [_written(figure, what, fontsize=10, color=INK)]
    height = sum(_size(text)[1] + HEADER_GAP for text in lines) + 2 * MARGIN
    figure.set_size_inches(max(_size(text)[0] for text in lines) + 2 * MARGIN, height)
    _place_header(lines, height)
    return figure


def _canvas(figure: Figure) -> Axes:
    """Invisible axes over the whole figure whose unit is the inch."""
    axes = figure.add_axes((0, 0, 1, 1))
    width, height = figure.get_size_inches()
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.set_axis_off()
    return axes


def _written(figure: Figure, text: str, *, math: bool = False, **style: Any) -> Text:
    return figure.text(0, 0, text, va="top", ha="center", parse_math=math, **style)


def _box_of(text: Text) -> Bbox:
    """Extent in pixels."""
    figure = text.figure
    assert isinstance(figure, Figure)
    return text.get_window_extent(canvas_of(figure).get_renderer())  # type: ignore[no-untyped-call]


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
    text = _written(figure, f"${latex}$", math=True, fontsize=size, math_fontfamily="cm", color=INK)
    try:
        _box_of(text)
    except ValueError:  # what mathtext raises on commands it does not know
        text.remove()
        return None
    return text


def _draw_graph(axes: Axes, genome: Genome, places: Layout, shift: Position) -> None:
    dx, dy = shift
    for route in places.routes:
        points = [(x + dx, y + dy) for x, y in route.points]
        axes.add_patch(_arrow(points, STYLES[kind_of(genome, route.source)].line))
        if order_matters(genome, route.target):
            x, y = points[-1]
            axes.text(x + 0.05, y, str(route.slot + 1), fontsize=7, color=FAINT, va="center_baseline", zorder=4)
    for name, box in places.boxes.items():
        _draw_box(axes, genome, name, (box.x + dx, box.y + dy))


def _arrow(points: Sequence[Position], color: str) -> FancyArrowPatch:
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


def _draw_box(axes: Axes, genome: Genome, name: int, centre: Position) -> None:
    x, y = centre
    style = STYLES[kind_of(genome, name)]
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
    elif primitive_of(node["op"]).arity == 0:
        axes.text(
            x,
            y,
            f"${primitive_of(node['op']).latex.template}$",
            fontsize=13,
            color=INK,
            math_fontfamily="cm",
            **middle,
        )
    else:
        axes.text(x, y, node["op"], fontsize=10, color=INK, **middle)


def _draw_legend(axes: Axes, kinds: Sequence[str], x: float, y: float) -> None:
    for column, kind in enumerate(kinds):
        style, left = STYLES[kind], x + column * LEGEND_STEP
        axes.add_patch(Rectangle((left, y), 0.15, 0.1, facecolor=style.fill, edgecolor=style.line, linewidth=0.9))
        axes.text(left + 0.21, y + 0.05, kind, fontsize=7.5, color=FAINT, va="center_baseline")
