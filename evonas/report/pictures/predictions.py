"""A picture of predictions against what was measured."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from evonas.report.pictures.charts import DOT, FRONT
from evonas.report.pictures.figure import FAINT, INK, new_figure

LATEST = 100  # the latest points stand out
SHARES = (1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


def draw_predictions(points: Sequence[tuple[float, float]], *, subtitle: str = "") -> Figure:
    """Layers by what was predicted and what was measured of them; the best are up and right.

    Args:
        points: -ln of the share of layers that are better, predicted and measured, in the order of candidates.
        subtitle: stands below the title.
    """
    figure = new_figure(4.6, 4.4)
    axes = figure.add_axes((0.17, 0.14, 0.79, 0.70))
    places = np.array(points, dtype=float).reshape(-1, 2)
    end = 1.05 * max(1.0, float(places.max(initial=0.0)))
    axes.plot([0, end], [0, end], color=FAINT, linewidth=0.8, linestyle=":")
    for part, colour, label in (
        (places[:-LATEST], DOT, "earlier"),
        (places[-LATEST:], FRONT, f"the latest {min(LATEST, len(places))}"),
    ):
        if len(part):
            axes.scatter(part[:, 0], part[:, 1], s=14, color=colour, linewidths=0, alpha=0.8, label=label)
    shares = [share for share in SHARES if -np.log(share) <= end]
    marks, names = [-np.log(share) for share in shares], [f"{100 * share:g} %" for share in shares]
    for axis, what in ((axes.xaxis, "predicted"), (axes.yaxis, "measured")):
        axis.set_ticks(marks, names)
        axis.set_label_text(f"share of layers that are better, {what}", color=INK, fontsize=9)
    axes.set(xlim=(0, end), ylim=(0, end))
    axes.tick_params(colors=FAINT, labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(places) > LATEST:
        axes.legend(fontsize=8, frameon=False, labelcolor=INK, loc="upper left")
    figure.text(0.03, 0.95, "What the guide predicted", color=INK, fontsize=11, weight="bold", va="center")
    figure.text(0.03, 0.895, subtitle, color=FAINT, fontsize=8.5, va="center")
    return figure
