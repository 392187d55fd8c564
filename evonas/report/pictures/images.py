"""Rows of small grey images, each row with its name: what a generator makes of the same noise in several ways."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from evonas.report.pictures.figure import INK, new_figure, plain

SIDE, NAMES, TOP, GAP = 0.5, 2.6, 0.5, 0.06  # inches: of an image, for names, above, between


def draw_images(rows: Mapping[str, Tensor], title: str = "") -> Figure:
    """Draw them.

    Args:
        rows: by name, images [n, 1, h, w] in [0, 1].
        title: a line above.
    """
    count = max(map(len, rows.values()))
    width, height = NAMES + count * (SIDE + GAP), TOP + len(rows) * (SIDE + GAP)
    figure = new_figure(width, height)
    for number, (name, images) in enumerate(rows.items()):
        bottom = height - TOP - (number + 1) * (SIDE + GAP)
        figure.text(0.15 / width, (bottom + SIDE / 2) / height, plain(name), fontsize=9, color=INK, va="center")
        for column, image in enumerate(images):
            left = NAMES + column * (SIDE + GAP)
            axes = figure.add_axes((left / width, bottom / height, SIDE / width, SIDE / height))
            axes.imshow(image[0].numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
            axes.set_axis_off()
    figure.text(0.15 / width, 1 - 0.15 / height, plain(title), fontsize=11, color=INK, va="top")
    return figure
