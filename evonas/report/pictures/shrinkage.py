"""A picture of a race: scores when layers were found, against what is believed after measuring them again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from evonas.report.pictures.charts import DOT, FRONT, styled
from evonas.report.pictures.figure import FAINT, INK, new_figure


@dataclass(frozen=True, slots=True)
class Believed:
    """A layer of a race.

    Attributes:
        found: its score when it was found.
        mean: what is believed of it.
        sd: standard deviation of the belief.
        again: how often it was measured again.
    """

    found: float
    mean: float
    sd: float
    again: int


def draw_shrinkage(layers: Sequence[Believed]) -> Figure:
    """Posterior means against scores when found; layers below the diagonal were lucky when they were found."""
    figure = new_figure(4.8, 3.5)  # TensorBoard shows it at half its size
    axes = styled(figure.add_axes((0.155, 0.135, 0.8, 0.765)))
    once = [layer for layer in layers if not layer.again]
    again = [layer for layer in layers if layer.again]
    if once:
        points = [layer.found for layer in once], [layer.mean for layer in once]
        axes.scatter(*points, color=DOT, s=14, zorder=2, label=f"measured once ({len(once)})")
    if again:
        found, mean = [layer.found for layer in again], [layer.mean for layer in again]
        bars: dict[str, Any] = {"ecolor": FRONT, "elinewidth": 0.8, "markersize": 4.5, "zorder": 3}
        label = f"measured again ({len(again)}), ± sd"
        axes.errorbar(found, mean, [layer.sd for layer in again], fmt="o", color=FRONT, label=label, **bars)
    if layers:
        ends = [min(layer.found for layer in layers), max(layer.found for layer in layers)]
        axes.plot(ends, ends, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, label="as found")
        axes.legend(fontsize=9, frameon=False, labelcolor=INK, loc="upper left")
    axes.set(xlabel="score when found", ylabel="posterior mean")
    return figure
