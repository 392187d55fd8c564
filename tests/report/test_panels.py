"""Oracles: the points that were given, and what matplotlib says that it draws."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from evonas.report.pictures import draw_panels
from evonas.report.pictures.panels import GREY


def series_of(count: int) -> dict[str, list[tuple[float, float, float]]]:
    return {str(number): [(1.0, number + 1.0, 0.0), (2.0, number + 2.0, 0.5)] for number in range(count)}


def test_every_series_looks_different_and_is_named() -> None:
    (axes,) = draw_panels({"": series_of(8)}, xlabel="x", ylabel="y").axes
    lines = axes.get_lines()[:8]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 8
    assert [list(line.get_ydata()) for line in lines] == [[n + 1.0, n + 2.0] for n in range(8)]
    widths = [line.get_linewidth() for line in lines]
    assert widths == sorted(widths, reverse=True)  # what is drawn over another leaves its edges to be seen
    assert widths[0] > widths[-1]
    (legend,) = axes.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(series_of(8))
    drawn = [(line.get_color(), line.get_linestyle()) for line in legend.get_lines()]
    assert drawn == [(line.get_color(), line.get_linestyle()) for line in lines]


def test_no_panel_has_more_than_eight_series_in_colour() -> None:
    figure = draw_panels({"a": series_of(9), "b": series_of(2)}, xlabel="x", ylabel="y")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"a: {n}" for n in range(9)] + ["b: 0", "b: 1"]
    for number, axes in enumerate(figure.axes[:9]):
        *others, own = axes.get_lines()
        assert [list(line.get_ydata()) for line in others] == [[n + 1.0, n + 2.0] for n in range(9) if n != number]
        assert {line.get_color() for line in others} == {GREY}
        assert list(own.get_ydata()) == [number + 1.0, number + 2.0]
    assert not figure.legends  # the titles name the series


@pytest.mark.parametrize(
    ("better", "label"), [(1, "loss (higher is better)"), (-1, "loss (lower is better)"), (0, "loss")]
)
def test_an_axis_says_in_words_which_way_is_better(better: float, label: str) -> None:
    (axes,) = draw_panels({"": series_of(1)}, xlabel="x", ylabel="loss", better=better).axes
    assert axes.get_ylabel() == label


def test_sizes_without_a_mean_are_crosses_at_the_upper_edge_that_hide_none() -> None:
    missing = {"": {"0": [1.0, 2.0], "1": [2.0]}}
    (axes,) = draw_panels({"": series_of(2)}, xlabel="x", ylabel="y", missing=missing).axes
    crosses = [line for line in axes.get_lines() if line.get_marker() == "x"]
    assert [list(line.get_xdata()) for line in crosses] == [[1.0, 2.0], [2.0]]
    heights = [set(line.get_ydata()) for line in crosses]
    assert heights[0].isdisjoint(heights[1])
    assert all(0.8 < height < 1 for each in heights for height in each)  # of the axes' height


def test_places_that_are_no_numbers_have_names() -> None:
    points = [(0.0, 1.0, 0.0), (1.0, 2.0, 0.0)]
    (axes,) = draw_panels({"": {"a": points}}, xlabel="x", ylabel="y", logx=0, places=["48x2", "24x8"]).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["48x2", "24x8"]


@pytest.mark.parametrize(("highest", "named"), [(90.0, {"20", "50"}), (1e6, {"$\\mathdefault{10^{4}}$"})])
def test_a_logarithmic_axis_names_values_within_two_decades(highest: float, named: set[str]) -> None:
    series = {"a": [(13.0, 13.0, 0.0), (highest, highest, 0.0)]}
    figure = draw_panels({"": series}, xlabel="x", ylabel="y", logy=True)
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert named <= {label.get_text() for label in labels}


@pytest.mark.parametrize(("highest", "named"), [(65792.0, {"40k", "50k"}), (400.0, {"200", "300"})])
def test_a_linear_axis_names_thousands_by_prefix(highest: float, named: set[str]) -> None:
    figure = draw_panels({"": {"a": [(0.4 * highest, 1.0, 0.0), (highest, 2.0, 0.0)]}}, xlabel="x", ylabel="y", logx=0)
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert named <= set(labels)
    assert len(labels) <= 8
