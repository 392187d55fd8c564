"""The heat map. Oracles: the colours of chosen cells, and one picture for equal input."""

import numpy as np

from evonas.report.pictures import HeatCell, draw_heatmap, to_array
from evonas.report.pictures.charts import BASELINE

CELLS = {
    ("best", "a"): HeatCell("0.9", 5.0, "+5.0"),
    ("best", "b"): HeatCell("0.1", -5.0, "-5.0"),
    ("base", "a"): HeatCell("0.85", 0.0),
    ("base", "b"): HeatCell("diverged", None),
}


def draw() -> np.ndarray:
    return to_array(draw_heatmap(["best", "base"], ["a", "b"], CELLS, baselines=["base"], label="points", title="t"))


def test_better_is_green_worse_is_red_and_a_cell_without_number_is_neither() -> None:
    pixels = draw().astype(int)
    green = (pixels[..., 1] - pixels[..., 0] > 40).sum()
    red = (pixels[..., 0] - pixels[..., 1] > 60).sum()
    cell = (1.15 * 120) * (0.46 * 120)
    assert 0.6 * cell < green < 1.2 * cell
    assert 0.6 * cell < red < 1.2 * cell


def test_many_tasks_stand_in_rows_so_that_the_picture_fits_a_page() -> None:
    tasks = [f"preact_resnet, data set {number}" for number in range(12)]
    cells = {(layer, task): HeatCell(f"{layer} {task[-2:]}", 0.0) for layer in ("ours", "bn-relu") for task in tasks}
    figure = draw_heatmap(["ours", "bn-relu"], tasks, cells, baselines=["bn-relu"], label="points")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == tasks
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ours", "bn-relu"]
    assert [label.get_color() == BASELINE for label in axes.get_xticklabels()] == [False, True]
    assert {text.get_text(): text.get_position()[1] for text in axes.texts}["ours 11"] == 11.5
    assert figure.get_size_inches()[0] < 10


def test_equal_input_gives_equal_pictures() -> None:
    assert np.array_equal(draw(), draw())
