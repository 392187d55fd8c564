"""The picture of a layer's response: what it makes of one element of a map whose moments are held, and its slope."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evonas.graph.genome import Genome
from evonas.graph.response import Response, response
from evonas.report.pictures.charts import styled
from evonas.report.pictures.figure import FAINT, INK, new_figure

SPAN, POINTS = 4.0, 401
WIDTH, HEIGHT = 8.0, 3.4
# maps of which responses are drawn: name, mean and standard deviation, and how: lines may lie on each other
MAPS = (
    ("mean 0, deviation 1", 0.0, 1.0, {"color": "#c13b2e", "linewidth": 2.6}),
    ("mean 0, deviation 2", 0.0, 2.0, {"color": "#2f6db3", "linewidth": 1.6}),
    ("mean 1, deviation 1", 1.0, 1.0, {"color": "#1f2933", "linewidth": 1.2, "linestyle": (0, (4, 3))}),
)


def draw_response(genome: Genome, *, title: str = "") -> Figure:
    """Output and slope of a layer by one element, for three maps; v0 is 0 and v1 is 1.

    Args:
        genome: the layer.
        title: a line above.
    """
    x = np.linspace(-SPAN, SPAN, POINTS)
    figure = new_figure(WIDTH, HEIGHT)
    figure.text(0.02, 0.96, title, fontsize=11, color=INK, va="top")
    panels = [styled(figure.add_axes((left, 0.17, 0.4, 0.66))) for left in (0.08, 0.57)]
    curves = [(name, style, response(genome, x, mean=mean, std=std)) for name, mean, std, style in MAPS]
    alike = all(np.allclose(curve.y, curves[0][2].y) for _, _, curve in curves)
    for name, style, curve in curves[: 1 if alike else None]:
        _draw(panels[0], curve, curve.y, style, "any map" if alike else name)
        _draw(panels[1], curve, curve.slope, style, "")
    for axes, label in zip(panels, ("output", "slope"), strict=True):
        axes.axhline(0, color=FAINT, linewidth=0.6)
        axes.axvline(0, color=FAINT, linewidth=0.6)
        axes.set(xlabel="element x", ylabel=label, xlim=(-SPAN, SPAN))
    panels[0].legend(fontsize=8, frameon=False, labelcolor=INK)
    return figure


def _draw(axes: Axes, curve: Response, values: NDArray[np.float64], style: Mapping[str, Any], name: str) -> None:
    shown = np.where(np.abs(values) < 50.0, values, np.nan)  # a pole would flatten all else
    axes.plot(curve.x, shown, label=name or None, **style)
