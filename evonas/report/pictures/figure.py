"""Figures without a display, and how they become pixels and files."""

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evonas.errors import shown
from evonas.files import write_whole

DPI = 120
INK, FAINT = "#1f2933", "#7b8794"


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of so many inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def plain(text: str) -> str:
    """A name that others chose, as it is written in a picture: a dollar sign in it begins no formula."""
    return shown(text).replace("$", r"\$")


def canvas_of(figure: Figure) -> FigureCanvasAgg:
    """The figure's canvas in memory."""
    return figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)


def directed(label: str, weight: float) -> str:
    """What an axis shows, and which way is better: up if ``weight`` is positive, down if negative; 0 says nothing."""
    return f"{label} ({'higher' if weight > 0 else 'lower'} is better)" if weight else label


def to_array(figure: Figure) -> NDArray[np.uint8]:
    """The figure as [height, width, 3] bytes."""
    canvas = canvas_of(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba(), dtype=np.uint8)  # type: ignore[no-untyped-call]
    return pixels[..., :3].copy()


def small_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of [height, width, 3] bytes in 256 colours, a third of the size of one in all colours."""
    from PIL import Image  # comes with matplotlib

    stream = BytesIO()
    Image.fromarray(pixels).quantize(256).save(stream, format="png", optimize=True)
    return stream.getvalue()


def to_png(figure: Figure, path: Path) -> None:
    """Write the figure whole or not at all; missing folders are made."""
    canvas_of(figure)
    # no metadata: it names the version of matplotlib, and equal figures should give equal files
    write_whole(path, partial(figure.savefig, format="png", dpi=DPI, metadata={"Software": None}))


def stacked(figures: Sequence[Figure], path: Path) -> None:
    """Write figures below each other as one PNG file, whole or not at all; the narrower ones stand on the left."""
    from PIL import Image  # comes with matplotlib

    pixels = [to_array(figure) for figure in figures]
    width, height = max(each.shape[1] for each in pixels), sum(len(each) for each in pixels)
    whole, top = np.full((height, width, 3), 255, np.uint8), 0
    for each in pixels:
        whole[top : top + len(each), : each.shape[1]] = each
        top += len(each)
    write_whole(path, lambda unfinished: Image.fromarray(whole).save(unfinished, format="png", optimize=True))
