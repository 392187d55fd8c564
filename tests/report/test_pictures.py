"""Oracles: networkx's node and edge counts of a layer, plane geometry on where boxes and curves lie, the text extents
that matplotlib measures, the running maximum written out, and the pixels that Pillow reads back from a file.
"""

import random
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.text import Text
from PIL import Image

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.placement import BOX_HEIGHT, BOX_WIDTH, Box, Layout, Route, layout
from evonas.graph.space import SearchSpace
from evonas.report.pictures import (
    IntervalRow,
    draw_curves,
    draw_front,
    draw_fronts,
    draw_genome,
    draw_images,
    draw_intervals,
    draw_progress,
    draw_response,
    to_array,
    to_png,
)


def _random_genomes(count: int) -> dict[str, Genome]:
    """Ten draws for each one kept, the largest: most random layers are small."""
    rng = random.Random(7)
    draws = [[SearchSpace().sample(rng) for _ in range(10)] for _ in range(count)]
    return {f"random-{i}": max(some, key=lambda g: len(g.active_positions)) for i, some in enumerate(draws)}


AWKWARD = {
    "same operand twice": Genome.from_text("mul(x, x)"),
    "divided by itself": Genome.from_text("a = div(x, x); div(a, a)"),
    "no input": Genome.from_text("max(zero, v1)"),
    "parameters deeper than the input": Genome.from_text("a = exp(v1); b = exp(a); c = exp(b); div(x, c)"),
    "long chain": Genome.from_text("a = neg(x); b = exp(a); c = abs(b); d = tanh(c); e = log(d); f = sqrt(e); neg(f)"),
    "everything reads x": Genome.from_text(
        "a = mul(x, x); b = div(x, a); c = max(b, x); d = div(c, x); e = add(x, d); f = div(x, e); mul(f, x)"
    ),
    "definitions": Genome.from_text(
        "a = mul(x, x); b = add(a, a); c = mul(b, a); d = add(c, c); e = mul(d, d); f = div(e, e); g = mul(f, f); "
        "h = div(g, x); i = mul(h, h); div(x, i)"
    ),
    "wide": Genome.from_text(
        "a = std[ghw](x); b = mean[bhw](a); c = max(a, b); d = max(b, c); e = max(c, d); f = max(d, e); max(e, f)"
    ),
}
GENOMES = {**CATALOGUE, **_random_genomes(30), **AWKWARD}


@pytest.fixture(scope="module")
def layouts() -> dict[str, Layout]:
    return {name: layout(genome) for name, genome in GENOMES.items()}


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return {name: draw_genome(genome, title=name, subtitle="a layer") for name, genome in GENOMES.items()}


def _curve(route: Route) -> list[tuple[float, float]]:
    """Points on the drawn curve: cubic Bezier pieces with level ends."""
    points = []
    for (x0, y0), (x1, y1) in zip(route.points[::2], route.points[1::2], strict=True):
        for t in np.linspace(0, 1, 20):
            bend = 3 * t**2 - 2 * t**3
            middle = (x0 + x1) / 2
            x = (1 - t) ** 3 * x0 + 3 * t * (1 - t) * middle + t**3 * x1
            points.append((float(x), float(y0 + bend * (y1 - y0))))
    return [
        (float(x), float(y))
        for (x0, y0), (x1, y1) in pairwise(points)
        for x, y in zip(np.linspace(x0, x1, 5), np.linspace(y0, y1, 5), strict=True)
    ]


def _strictly_inside(point: tuple[float, float], box: Box) -> bool:
    left, bottom, right, top = box.bounds
    return left + 1e-9 < point[0] < right - 1e-9 and bottom + 1e-9 < point[1] < top - 1e-9


def _texts(figure: Figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text() and text.get_visible()]


def _offsets(axes: Axes) -> list[tuple[float, float]]:
    offsets = [np.asarray(c.get_offsets()) for c in axes.collections if type(c).__name__ == "PathCollection"]
    return [tuple(point) for each in offsets for point in each.tolist()]


def test_there_is_a_box_per_active_node_and_a_route_per_edge(layouts: dict[str, Layout]) -> None:
    for name, genome in GENOMES.items():
        routes = sorted((route.source, route.target, route.slot) for route in layouts[name].routes)
        assert set(layouts[name].boxes) == set(genome.graph.nodes), name
        assert routes == sorted(genome.graph.edges(keys=True)), name


def test_no_two_boxes_overlap(layouts: dict[str, Layout]) -> None:
    for name, places in layouts.items():
        for a, b in combinations(places.boxes.values(), 2):
            apart_x = abs(a.x - b.x) >= BOX_WIDTH
            apart_y = abs(a.y - b.y) >= BOX_HEIGHT
            assert apart_x or apart_y, name


def test_edges_go_forward_from_the_right_of_a_box_to_the_left_of_another(layouts: dict[str, Layout]) -> None:
    for name, places in layouts.items():
        for route in places.routes:
            source, target = places.boxes[route.source], places.boxes[route.target]
            xs = [x for x, _ in route.points]
            assert xs == sorted(set(xs)), name
            assert route.points[0] == pytest.approx((source.bounds[2], source.y)), name
            assert xs[-1] == pytest.approx(target.bounds[0]), name
            assert abs(route.points[-1][1] - target.y) < BOX_HEIGHT / 2, name


def test_no_edge_runs_through_a_box(layouts: dict[str, Layout]) -> None:
    for name, places in layouts.items():
        for route in places.routes:
            for point in _curve(route):
                assert not any(_strictly_inside(point, box) for box in places.boxes.values()), name


def test_operands_arrive_at_different_heights_and_a_numerator_above_its_denominator(layouts: dict[str, Layout]) -> None:
    for name, genome in GENOMES.items():
        ends = {(route.target, route.slot): route.points[-1][1] for route in layouts[name].routes}
        assert len({(target, y) for (target, _), y in ends.items()}) == len(ends), name
        for target, attributes in genome.graph.nodes(data=True):
            if attributes["op"] == "div":
                assert ends[target, 0] > ends[target, 1], name


def test_the_input_stands_first_and_the_output_alone_last(layouts: dict[str, Layout]) -> None:
    for name, genome in GENOMES.items():
        xs = {node: box.x for node, box in layouts[name].boxes.items()}
        last = [node for node, x in xs.items() if x == max(xs.values())]
        assert last == [genome.graph.graph["output"]], name
        if 0 in xs:
            assert xs[0] == min(xs.values()), name


def test_the_catalogue_is_drawn_without_crossing_edges(layouts: dict[str, Layout]) -> None:
    for name in CATALOGUE:
        curves = {route: dict(_curve(route)) for route in layouts[name].routes}
        for a, b in combinations(curves, 2):
            if a.source != b.source and a.target != b.target:
                shared = sorted(set(curves[a]) & set(curves[b]))
                signs = {np.sign(curves[a][x] - curves[b][x]) for x in shared}
                assert len(signs) <= 1, f"{name}: {a.source}->{a.target} and {b.source}->{b.target}"


def test_the_same_layer_is_always_laid_out_alike() -> None:
    for genome in GENOMES.values():
        assert layout(genome) == layout(Genome(genome.nodes))


def test_the_figure_has_the_boxes_and_arrows_of_the_graph(figures: dict[str, Figure]) -> None:
    for name, genome in GENOMES.items():
        kinds = Counter(type(patch) for patch in figures[name].axes[0].patches)
        assert kinds[FancyBboxPatch] == genome.graph.number_of_nodes(), name
        assert kinds[FancyArrowPatch] == genome.graph.number_of_edges(), name


@pytest.mark.parametrize("name", [*CATALOGUE, *AWKWARD, *[f"random-{i}" for i in range(5)]])
def test_nothing_written_leaves_the_picture_and_the_header_stays_above_the_graph(
    name: str, figures: dict[str, Figure]
) -> None:
    figure = figures[name]
    renderer = FigureCanvasAgg(figure).get_renderer()
    extents = {text: text.get_window_extent(renderer) for text in _texts(figure)}
    for box in extents.values():
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
    graph = [patch.get_window_extent(renderer) for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    assert min(extents[text].y0 for text in figure.texts if text in extents) > max(box.y1 for box in graph)


def test_boxes_say_what_they_compute(figures: dict[str, Figure]) -> None:
    written = {text.get_text() for text in _texts(figures["evonorm-s0"])}
    assert {"evonorm-s0", "a layer", "mul", "sigmoid", "div", "std", "$h,w,c/g$", "$x$", "$v_1$", "1", "2"} <= written
    assert r"$\dfrac{x \, \sigma(x \, v_1)}{s_{h,w,c/g}(x)}$" in written


def test_a_layer_of_a_single_node_can_be_drawn() -> None:
    texts = [text.get_text() for text in draw_genome(Genome.from_formula("6")).axes[0].texts]
    assert texts.count("$6$") == 1


def test_a_formula_mathtext_cannot_read_is_written_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def formula(_: Genome, *, latex: bool = False) -> str:
        return r"\nosuchcommand{x}" if latex else "mystery(x) of everything, " * 20

    monkeypatch.setattr(Genome, "formula", formula)
    figure = draw_genome(CATALOGUE["bn-relu"])
    (written,) = [text.get_text() for text in figure.texts if text.get_text()]
    assert written.startswith("mystery(x)")
    assert "\n" in written


def test_a_formula_too_wide_for_one_line_is_broken_between_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    long = " + ".join(["x"] * 30)
    definitions = f"a = {long},\\; b = {long}"
    monkeypatch.setattr(Genome, "formula", lambda *_, **__: f"a + b\\;\\mathrm{{where}}\\; {definitions}")
    written = [text.get_text() for text in draw_genome(CATALOGUE["bn-relu"]).texts if text.get_text()]
    assert written == ["$a + b$", f"$a = {long}$", f"$b = {long}$"]


POINTS = [(f"layer-{i}", {"a": 0.1 * i, "b": 0.9 - 0.1 * i, "c": 0.5, "d": 0.3}) for i in range(8)]
POINTS += [("poor", {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0})]
BASELINES = {name: {"a": 0.3, "b": 0.3 + i / 100, "c": 0.2, "d": 0.1} for i, name in enumerate(CATALOGUE)}
FRONT = {name for name, _ in POINTS} - {"poor"}


@pytest.mark.parametrize(("objectives", "panels"), [("a", 1), ("ab", 1), ("abc", 3), ("abcd", 6)])
def test_a_front_has_a_panel_per_pair_of_objectives(objectives: str, panels: int) -> None:
    figure = draw_front(POINTS, FRONT, baselines=BASELINES, objectives=list(objectives))
    assert len(figure.axes) == panels


def test_the_panels_of_a_front_are_pictures_of_their_own_that_a_card_can_hold() -> None:
    """TensorBoard draws a picture of any size 280 pixels wide; letters of 9 points then have 7 of them at the least."""
    figures = draw_fronts(POINTS, FRONT, baselines={"bn-relu": BASELINES["bn-relu"]}, objectives=["a", "b", "c"])
    assert list(figures) == ["a and b", "a and c", "b and c"]
    figures |= draw_fronts(POINTS, FRONT, baselines={}, objectives=["a"])
    progress = draw_progress([0.5], baselines={}, label="score")
    for figure in (*figures.values(), progress):
        assert len(figure.axes) == 1
        assert 9 / 72 * 280 / figure.get_size_inches()[0] > 7


def test_a_front_shows_every_layer_and_every_baseline_once() -> None:
    figure = draw_front(POINTS, FRONT, baselines=BASELINES, objectives=["a", "b"])
    expected = [(scores["a"], scores["b"]) for scores in (*dict(POINTS).values(), *BASELINES.values())]
    assert sorted(_offsets(figure.axes[0])) == sorted(expected)
    labels = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert set(BASELINES) | {"evaluated (1)", "Pareto front (8)"} == labels


def test_extras_are_shown_against_the_mean_and_smaller_is_to_the_right_where_it_is_better() -> None:
    points = [(f"layer-{i}", {"a": 0.2 * i, "b": 0.4, "latency": 1.0 + i, "margin": 2.0**i}) for i in range(4)]
    baselines = {"bn-relu": {"a": 0.3, "b": 0.3, "latency": 1.0, "margin": 4.0}}
    extras = {"latency": -1.0, "margin": 1.0}
    figure = draw_front(points, ["layer-3"], baselines=baselines, objectives=["a", "b"], extras=extras)
    pair, latency, margin = figure.axes
    assert [axes.xaxis_inverted() for axes in figure.axes] == [False, True, False]
    assert [axes.get_xlabel() for axes in (latency, margin)] == [
        "latency (lower is better)",
        "margin (higher is better)",
    ]
    assert latency.get_ylabel() == "mean score (higher is better)"
    means = [(0.2 * i + 0.4) / 2 for i in range(4)]
    assert sorted(_offsets(latency)) == sorted([(1.0, 0.3), *((1.0 + i, mean) for i, mean in enumerate(means))])
    assert not any(axes.lines for axes in (pair, latency, margin))  # four objectives: no staircase


def test_the_staircase_of_a_minimized_objective_bounds_what_the_front_dominates() -> None:
    points = [
        ("slow", {"a": 0.9, "latency": 3.0}),
        ("middle", {"a": 0.5, "latency": 2.0}),
        ("fast", {"a": 0.1, "latency": 1.0}),
    ]
    figure = draw_front(points, dict(points), baselines={}, objectives=["a"], extras={"latency": -1.0})
    (stairs,) = figure.axes[0].lines
    assert stairs.get_drawstyle() == "steps-pre"  # from one point to the next, the height is the next one's
    assert np.asarray(stairs.get_xydata()).tolist() == [[3.0, 0.9], [2.0, 0.5], [1.0, 0.1]]


def test_one_objective_is_shown_by_rank() -> None:
    figure = draw_front(POINTS, {"layer-7"}, baselines={"bn-relu": {"a": 0.65}}, objectives=["a"])
    values = sorted((scores["a"] for _, scores in POINTS), reverse=True)
    assert sorted(_offsets(figure.axes[0])) == list(enumerate(values, 1))
    assert "bn-relu  0.65" in {text.get_text() for text in _texts(figure)}


def test_progress_shows_values_their_running_best_and_a_tick_per_rejection() -> None:
    history = [None, 0.3, 0.2, None, 0.5, 0.4, None]
    (axes,) = draw_progress(history, baselines={}, label="accuracy").axes
    (best,) = axes.lines
    assert _offsets(axes) == [(1, 0.3), (2, 0.2), (4, 0.5), (5, 0.4)]
    assert np.asarray(best.get_xydata()).tolist() == [[1, 0.3], [2, 0.3], [4, 0.5], [5, 0.5], [6, 0.5]]
    (rug,) = [c for c in axes.collections if str(c.get_label()).startswith("rejected")]
    assert [path.vertices[0, 0] for path in rug.get_paths()] == [0, 3, 6]


def test_labels_of_close_baselines_keep_apart_and_in_order() -> None:
    levels = {f"baseline-{i}": 0.5 + i * 1e-4 for i in range(12)}
    figure = draw_progress([0.1, 0.9], baselines=levels, label="accuracy")
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [t.get_window_extent(renderer) for t in _texts(figure) if t.get_text().startswith("baseline-")]
    assert len(boxes) == len(levels)
    assert all(lower.y1 < upper.y0 for lower, upper in pairwise(boxes))


@pytest.mark.parametrize("objectives", ["a", "ab", "abc"])
def test_empty_searches_can_be_drawn(objectives: str) -> None:
    front = draw_front([], [], baselines={}, objectives=list(objectives))
    assert "nothing evaluated yet" in {text.get_text() for text in _texts(front)}
    for history in ([], [None, None]):
        progress = draw_progress(history, baselines={}, label="accuracy")
        assert "nothing evaluated yet" in {text.get_text() for text in _texts(progress)}


def test_intervals_have_a_panel_per_baseline_with_a_row_per_layer() -> None:
    names = ["first", "bn-relu", "x" * 90]
    rows = [IntervalRow(1.5, 0.5, 2.5, (0.75, 2.25)), None, IntervalRow(None, note="4 of 4 trials failed")]
    panels = [("bn-relu", rows), ("gn-relu", rows)]
    figure = draw_intervals(names, panels, highlighted=["first"], baselines=["bn-relu"], label="points", title="run")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"worse \u2190 minus {name} \u2192 better" for name in ("bn-relu", "gn-relu")
    ]
    for axes in figure.axes:
        assert [line.get_xydata().tolist() for line in axes.lines[1:]] == [[[0.5, 0], [2.5, 0]], [[0, 1]]]
        assert _offsets(axes) == [(0.75, 0.24), (2.25, 0.24), (1.5, 0)]
        assert [text.get_text() for text in axes.texts] == ["4 of 4 trials failed"]
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.get_size_inches() * figure.dpi
    for text in _texts(figure):
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0, text
        assert box.x1 <= width, text
        assert 0 <= box.y0 < box.y1 <= height, text


def test_curves_are_steps_with_a_colour_and_a_name_per_procedure_and_lines_for_seeds_and_their_mean() -> None:
    curves = {
        "ours-random": [[], [(4.0, 0.25), (20.0, 0.5)]],  # under its first seed it found nothing
        "ours": [[(1.0, 0.5)], [(2.0, 0.25), (3.0, 0.75), (9.0, 1.0)]],
    }
    figure = draw_curves(curves, levels={"EvoNorm-S0": 0.625}, end=50.0, xlabel="cost", ylabel="best")
    (axes,) = figure.axes
    *lines, level = axes.lines
    assert [np.asarray(line.get_xydata()).tolist() for line in lines] == [
        [[4.0, 0.25], [20.0, 0.5], [50.0, 0.5]],
        [[1.0, 0.5], [50.0, 0.5]],
        [[2.0, 0.25], [3.0, 0.75], [9.0, 1.0], [50.0, 1.0]],
        [[2.0, 0.375], [3.0, 0.625], [9.0, 0.75], [50.0, 0.75]],  # the mean over seeds, once both have a value
    ]
    assert {line.get_drawstyle() for line in lines} == {"steps-post"}  # a value holds from its own cost on
    colours = [line.get_color() for line in lines]
    assert colours[0] != colours[1] == colours[2] == colours[3]
    assert lines[3].get_linewidth() > lines[1].get_linewidth()
    assert set(np.asarray(level.get_ydata()).tolist()) == {0.625}
    legend = axes.get_legend()
    assert legend is not None
    assert [(t.get_text(), h.get_color()) for t, h in zip(legend.get_texts(), legend.get_lines(), strict=True)] == [
        ("ours-random", colours[0]),
        ("ours", colours[1]),
    ]
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "cost", "best (higher is better)")
    FigureCanvasAgg(figure).draw()  # puts the labels in their places
    for text in (axes.xaxis.label, axes.yaxis.label, *axes.texts, *legend.get_texts()):
        box = text.get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width, text
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height, text


def test_no_procedure_is_left_out_where_there_are_more_than_colours() -> None:
    curves = {f"arm {number}": [[(1.0, 0.5)]] for number in range(20)}
    figure = draw_curves(curves, levels={}, end=9.0, xlabel="cost", ylabel="best")
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(curves)
    assert all(len(axes.lines) == 1 for axes in figure.axes)


def test_of_many_procedures_each_has_a_panel_with_the_means_of_the_others_behind_it() -> None:
    curves = {f"arm {number}": [[(1.0, number / 10)], [(2.0, number / 10)]] for number in range(5)}
    figure = draw_curves(curves, levels={"goal": 0.3}, end=9.0, xlabel="cost", ylabel="best")
    for number, axes in enumerate(figure.axes):
        heights = sorted(float(np.asarray(line.get_ydata())[-1]) for line in axes.lines)
        assert heights == pytest.approx(sorted([0.0, 0.1, 0.2, 0.3, 0.4, number / 10, number / 10, 0.3]))


def test_searches_that_found_nothing_can_be_drawn(tmp_path: Path) -> None:
    figure = draw_curves({"a": [[]], "b": [[], []]}, levels={"goal": 0.5}, end=9.0, xlabel="cost", ylabel="best")
    assert len(figure.axes[0].lines) == 1
    to_png(figure, tmp_path / "curves.png")


def test_a_file_has_the_pixels_of_the_array(tmp_path: Path, figures: dict[str, Figure]) -> None:
    path = tmp_path / "new" / "layer.png"
    to_png(figures["evonorm-b0"], path)
    array = to_array(figures["evonorm-b0"])
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert array.dtype == np.uint8
    assert np.unique(array.reshape(-1, 3), axis=0).shape[0] > 100
    np.testing.assert_array_equal(array, pixels)


def test_a_file_is_written_whole_or_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "front.png"
    figure = draw_front(POINTS, FRONT, baselines={}, objectives=["a", "b"])
    to_png(figure, path)
    before = path.read_bytes()

    def fail(file: Path, **_: object) -> None:
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        to_png(figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_images_stand_in_rows_as_they_are() -> None:
    rows = {name: torch.rand(count, 1, 8, 8) for name, count in (("none", 3), ("ours, strength 1", 2))}
    axes = draw_images(rows, title="what").axes
    drawn = [np.asarray(one.images[0].get_array()) for one in axes]
    np.testing.assert_array_equal(np.stack(drawn), torch.cat(list(rows.values()))[:, 0].numpy())
    tops = [one.get_position().y0 for one in axes]
    assert tops[0] == tops[1] == tops[2] > tops[3] == tops[4]


def test_pyplot_knows_of_no_figure(figures: dict[str, Figure]) -> None:
    assert figures
    assert plt.get_fignums() == []


@pytest.mark.parametrize(("name", "maps"), [("evonorm-s0", 3), ("dyt", 1)])
def test_a_response_is_drawn_once_where_no_moment_matters(name: str, maps: int) -> None:
    figure = draw_response(CATALOGUE[name], title=name)
    output, slope = figure.axes
    curves = [line for line in output.lines if len(line.get_xdata()) > 2]
    assert len(curves) == maps
    legend = output.get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text() == ("any map" if maps == 1 else "mean 0, deviation 1")
    assert len([line for line in slope.lines if len(line.get_xdata()) > 2]) == maps
    at_zero = curves[0].get_ydata()[200]
    assert at_zero == pytest.approx(0.0, abs=1e-9)
