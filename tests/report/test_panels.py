"""Oracles: the points that were given, and what matplotlib says that it draws."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from evonas.report.pictures import draw_panels


def test_series_beyond_the_colours_have_another_line() -> None:
    series = {str(number): [(1.0, number + 1.0, 0.0), (2.0, number + 2.0, 0.5)] for number in range(12)}
    (axes,) = draw_panels({"": series}, xlabel="x", ylabel="y").axes
    lines = axes.get_lines()[:12]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 12
    assert [list(line.get_ydata()) for line in lines] == [[n + 1.0, n + 2.0] for n in range(12)]
    (legend,) = axes.figure.legends
    drawn = [(line.get_color(), line.get_linestyle()) for line in legend.get_lines()]
    assert drawn == [(line.get_color(), line.get_linestyle()) for line in lines]


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
