"""A layer's graph as an SVG picture, for notebooks, and the colours that all pictures of layers share."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from evonas.graph.genome import Genome
from evonas.graph.placement import BOX_HEIGHT, BOX_WIDTH, Position, layout, order_matters
from evonas.graph.primitive import primitive_of

PIXELS = 84  # per inch
MARGIN = 0.1
INK, FAINT = "#1c2530", "#6b7683"


@dataclass(frozen=True, slots=True)
class Style:
    """Colours of a box and of the edges that leave it."""

    fill: str
    line: str


STYLES = {
    "input": Style("#d6e6f8", "#2f6db3"),
    "parameter": Style("#fdecc4", "#b9820a"),
    "constant": Style("#ffffff", "#8a94a0"),
    "elementwise": Style("#eceff3", "#5a6675"),
    "moment": Style("#d5efdd", "#2a8a50"),
    "output": Style("#fbdcd9", "#c13b2e"),
}


def kind_of(genome: Genome, name: int) -> str:
    """Which of ``STYLES`` a node of the genome's graph has."""
    op = genome.graph.nodes[name]["op"]
    if name == genome.graph.graph["output"]:
        return "output"
    kind = primitive_of(op).kind
    return {"x": "input", "zero": "constant"}.get(op, "parameter") if kind == "initial" else kind


def svg(genome: Genome) -> str:
    """The graph of a layer's active nodes, from left to right."""
    places = layout(genome)
    left, bottom, right, top = places.extent
    left, top = left - MARGIN, top + MARGIN
    width, height = right + MARGIN - left, top - bottom + MARGIN

    def pixels(place: Position) -> Position:
        return round((place[0] - left) * PIXELS, 1), round((top - place[1]) * PIXELS, 1)

    routes = [
        _route(STYLES[kind_of(genome, route.source)].line, [pixels(point) for point in route.points])
        for route in places.routes
    ]
    boxes = [_box(genome, name, pixels((box.x, box.y))) for name, box in places.boxes.items()]
    ordered = [route for route in places.routes if order_matters(genome, route.target)]
    numbers = [_number(route.slot + 1, pixels(route.points[-1])) for route in ordered]
    size = f'width="{width * PIXELS:.0f}" height="{height * PIXELS:.0f}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" text-anchor="middle">'
    return "".join((opening, *routes, *boxes, *numbers, "</svg>"))


def _route(colour: str, points: Sequence[Position]) -> str:
    """An edge: level between pairs of points, bent within them."""
    path = f"M{points[0][0]},{points[0][1]}"
    for (x0, y0), (x1, y1) in zip(points[::2], points[1::2], strict=True):
        middle = round((x0 + x1) / 2, 1)
        path += f"L{x0},{y0}C{middle},{y0} {middle},{y1} {x1},{y1}"
    x, y = points[-1]
    head = f'<path d="M{x},{y}l-7,-3.5v7z" fill="{colour}"/>'
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{head}'


def _number(operand: int, end: Position) -> str:
    """Which operand an edge is, where that matters."""
    x, y = end
    return f'<text x="{x + 6:.1f}" y="{y + 3:.1f}" font-size="9" fill="{FAINT}">{operand}</text>'


def _box(genome: Genome, name: int, centre: Position) -> str:
    (x, y), style = centre, STYLES[kind_of(genome, name)]
    node, width, height = genome.graph.nodes[name], BOX_WIDTH * PIXELS, BOX_HEIGHT * PIXELS
    shape = f'<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" width="{width:.1f}" height="{height:.1f}" rx="7"'
    shape += f' fill="{style.fill}" stroke="{style.line}" stroke-width="1.5"/>'
    label = "0" if node["op"] == "zero" else node["op"]
    lines = [(label, -2, 13, INK), (node["axes"], 12, 11, style.line)] if node["axes"] else [(label, 5, 13, INK)]
    return shape + "".join(
        f'<text x="{x}" y="{y + down}" font-size="{size}" fill="{colour}">{html.escape(text)}</text>'
        for text, down, size, colour in lines
    )
