"""A table as a picture: a number per row and column, its colour how far it is from a baseline."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from evonas.report.pictures.charts import BASELINE
from evonas.report.pictures.figure import FAINT, INK, new_figure, plain
from evonas.report.pictures.intervals import LETTER, shortened

WIDTH, HEIGHT = 0.98, 0.44  # inches, of a cell
MOST_COLUMNS = 6  # with more, layers and tasks change places if that makes the picture narrower
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

    Names of columns are broken into lines, so that the picture fits a page.

    Args:
        rows: names of layers.
        columns: names of tasks.
        cells: by row and column.
        baselines: rows to draw in the colour of baselines.
        label: what number and colour say.
        title: a line above.
    """
    if len(columns) > MOST_COLUMNS and len(rows) < len(columns):
        turned = {(column, row): cell for (row, column), cell in cells.items()}
        return _draw_cells(columns, rows, turned, baselines, label, title)
    return _draw_cells(rows, columns, cells, baselines, label, title)


def _draw_cells(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], HeatCell],
    baselines: Sequence[str],
    label: str,
    title: str,
) -> Figure:
    shown = [shortened(name) for name in rows]
    heads = [textwrap.fill(name.replace("_", "_ "), 14, break_long_words=False).replace("_ ", "_") for name in columns]
    margin = 0.3 + LETTER * max(map(len, shown), default=0)
    width = max(margin + WIDTH * len(columns) + 0.2, 6.4)
    notes = [textwrap.fill(title, int(width / 0.095)), textwrap.fill(label, int(width / 0.075))]
    top = 0.4 + 0.2 * (notes[0].count("\n") + 1) + 0.17 * max((head.count("\n") + 1 for head in heads), default=1)
    bottom = 0.25 + 0.16 * (notes[1].count("\n") + 1)
    height = top + HEIGHT * len(rows) + bottom
    figure = new_figure(width, height)
    place = (margin / width, bottom / height, WIDTH * len(columns) / width, HEIGHT * len(rows) / height)
    axes = figure.add_axes(place)
    largest = max((abs(cell.points) for cell in cells.values() if cell.points is not None), default=0.0) or 1.0
    for (row, column), cell in cells.items():
        _draw(axes, rows.index(row), columns.index(column), cell, Normalize(-largest, largest))
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([number + 0.5 for number in range(len(rows))], list(map(plain, shown)))
    axes.set_xticks([number + 0.5 for number in range(len(columns))], list(map(plain, heads)))
    axes.tick_params(length=0, labelsize=9.5)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    ticks = [*zip(axes.get_yticklabels(), rows, strict=True), *zip(axes.get_xticklabels(), columns, strict=True)]
    for tick, name in ticks:
        tick.set_color(BASELINE if name in baselines else INK)
    for text, height_of, size, anchor in ((notes[0], height - 0.16, 11, "top"), (notes[1], 0.14, 9, "bottom")):
        figure.text(0.16 / width, height_of / height, plain(text), fontsize=size, color=INK, va=anchor)
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
