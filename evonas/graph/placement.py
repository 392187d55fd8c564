"""Where the boxes and edges of a layer's graph go, in inches, y upwards.

A layer is drawn as its graph, left to right, in the manner of Sugiyama et al. 1981: nodes get columns, long edges
get a waypoint in every column they pass, columns are ordered so that few edges cross, then heights are chosen so
that few edges bend. Edges of one source share their waypoints, as wires do in a circuit diagram: they carry the
same value. Boxes and waypoints stand in columns and edges bend between columns only, so no edge can run through a box.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from math import inf

import numpy as np

from evonas.graph.genome import Genome
from evonas.graph.primitive import primitive_of

BOX_WIDTH, BOX_HEIGHT = 0.78, 0.44
COLUMN_GAP = 0.50
ROW_GAP = 0.20  # free height between neighbours in a column
PORT = 0.10  # two operands arrive this far above and below the middle
RESTARTS = 24  # random orders that the search for few crossings begins from

Position = tuple[float, float]


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
    points: tuple[Position, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by node number and one route per edge, of the genome's ``graph``."""

    boxes: Mapping[int, Box]
    routes: tuple[Route, ...]

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of boxes and routes."""
        lefts, bottoms, rights, tops = zip(*(box.bounds for box in self.boxes.values()), strict=True)
        heights = [y for route in self.routes for _, y in route.points]
        return min(lefts), min([*bottoms, *heights]), max(rights), max([*tops, *heights])


# a node (its number, its own column), or a waypoint of all edges of that node in a later column
_Stop = tuple[int, int]
_Order = list[list[_Stop]]  # per column, from top to bottom


@dataclass(frozen=True, slots=True)
class _Hop:
    """A segment of edges between neighbouring columns; ``rank``: -1 if it must arrive above the middle, 1 below."""

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
        fixed = order_matters(genome, target)
        hops[_Hop(stops[-1], (target, columns[target]), (2 * slot - 1) if fixed else 0)] = None
    return list(hops)


def order_matters(genome: Genome, name: int) -> bool:
    """Whether a node's operands may not be swapped."""
    primitive = primitive_of(genome.graph.nodes[name]["op"])
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
    from scipy.optimize import linprog  # nothing else of a layer needs it

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
        points: list[Position] = []
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
    if not order_matters(genome, target):
        operands.sort(key=lambda operand: -heights[operand[1], columns[target] - 1])
    place = [s for s, _ in operands].index(slot)
    return PORT * (1 - 2 * place)
