"""A table as a picture: a number per row and column, its colour how far it is from a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from evonas.report.pictures.charts import BASELINE
from evonas.report.pictures.figure import FAINT, INK, new_figure
from evonas.report.pictures.intervals import LETTER, shortened

WIDTH, HEIGHT, TOP, BOTTOM = 1.15, 0.46, 0.95, 0.55  # inches: of a cell, above and below the cells
WORSE_TO_BETTER = LinearSegmentedColormap.from_list("points", ["#c2553d", "#f5f6f8", "#2f7d6b"])


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One cell.

    Attributes:
        text: the number that stands in it, or why there is none.
        points: difference to the baseline, which gives the colour; None for a cell without one, which is hatched.
        small: a second line.
    """

    text: str
    points: float | None
    small: str = ""


def draw_heatmap(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], HeatCell],
    *,
    baselines: Sequence[str],
    label: str,
    title: str = "",
) -> Figure:
    """Rows from the top, best first; green is better than the baseline, red is worse.

    Args:
        rows: names of layers.
        columns: names of tasks.
        cells: by row and column.
        baselines: rows to draw in the colour of baselines.
        label: what number and colour say.
        title: a line above.
    """
    shown = [shortened(name) for name in rows]
    margin = 0.3 + LETTER * max(map(len, shown), default=0)
    cell_width = max(WIDTH, 0.2 + LETTER * max(map(len, columns), default=0))
    width = max(margin + cell_width * len(columns) + 0.2, 6.4, 0.32 + 0.075 * len(label))
    height = TOP + HEIGHT * len(rows) + BOTTOM
    figure = new_figure(width, height)
    place = (margin / width, BOTTOM / height, cell_width * len(columns) / width, HEIGHT * len(rows) / height)
    axes = figure.add_axes(place)
    largest = max((abs(cell.points) for cell in cells.values() if cell.points is not None), default=0.0) or 1.0
    for (row, column), cell in cells.items():
        _draw(axes, rows.index(row), columns.index(column), cell, Normalize(-largest, largest))
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([number + 0.5 for number in range(len(rows))], shown)
    axes.set_xticks([number + 0.5 for number in range(len(columns))], list(columns))
    axes.tick_params(length=0, labelsize=9.5)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    for tick, name in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set_color(BASELINE if name in baselines else INK)
    for text, height_of, size, anchor in ((title, height - 0.16, 11, "top"), (label, 0.14, 9, "bottom")):
        figure.text(0.16 / width, height_of / height, text, fontsize=size, color=INK, va=anchor)
    return figure


def _draw(axes: Axes, row: int, column: int, cell: HeatCell, scale: Normalize) -> None:
    known = cell.points is not None
    colour = WORSE_TO_BETTER(scale(cell.points or 0.0)) if known else "white"
    hatch = None if known else "////"
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="#d8dde3", linewidth=1, hatch=hatch))
    dark = known and abs(scale(cell.points or 0.0) - 0.5) > 0.38
    ink = "white" if dark else INK if known else FAINT
    background: dict[str, Any] = {} if known else {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1.5}}
    middle = row + (0.36 if cell.small else 0.5)
    axes.text(column + 0.5, middle, cell.text, ha="center", va="center", fontsize=9.5, color=ink, **background)
    if cell.small:
        axes.text(column + 0.5, row + 0.74, cell.small, ha="center", va="center", fontsize=7.5, color=ink)
