"""Draw the layers that kept searches found: graph, formula, and what was measured of them.

    python scripts/draw_layers.py docs/layers.png

All figures are read from runs/kept: the held-out results, and the independent checks that its READMEs report.
"""

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from evonas.graph.catalogue import CATALOGUE
from evonas.report.pictures import draw_genome, to_array, to_png

KEPT = Path(__file__).parents[1] / "runs" / "kept"
INK, FAINT, BETTER, WORSE = "#1f2933", "#5b6770", "#0f8577", "#c13b2e"
NUMBER = r"([+-]\d+\.\d+)"


@dataclass(frozen=True, slots=True)
class Found:
    """A layer of the catalogue, the kept search that found it, and what the picture says of it."""

    name: str
    run: str
    title: str
    words: str
    against: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Points of accuracy above another layer, with a 95 % interval over seeds."""

    label: str
    mean: float
    low: float
    high: float


FOUND = (
    Found(
        "evonas-s1",
        "cifar-s-warm",
        "evonas-s1: no batch statistics",
        "EvoNorm-S0, published, has $x\\,v_1$ where this one has $x + v_1$",
        ("evonorm-s0", "gn-relu", "bn-relu"),
    ),
    Found(
        "evonas-b1",
        "cifar-b",
        "evonas-b1: with batch statistics",
        "a ReLU after batch normalization, shifted by the channel's own deviation",
        ("bn-relu", "evonorm-b0"),
    ),
)
CHECKS = {  # how the READMEs word what others measured
    ("evonas-s1", "evonorm-s0"): rf"points above EvoNorm-S0 \[{NUMBER}, {NUMBER}\]",
    ("evonas-b1", "bn-relu"): rf"\| BN-ReLU \| 0\.\d+ \| \*\*{NUMBER} \[{NUMBER}, {NUMBER}\]\*\* \|",
    ("evonas-b1", "evonorm-b0"): rf"\| EvoNorm-B0 \| 0\.\d+ \| {NUMBER} \[{NUMBER}, {NUMBER}\] \|",
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    to_png(draw(), parser.parse_args().path)


def rows_of(found: Found) -> list[Row]:
    """What was measured of a layer: on the held-out networks, and by others where a README reports it."""
    data = json.loads((KEPT / found.run / "held-out" / "results.json").read_text())
    readme = " ".join((KEPT / found.run / "README.md").read_text().split())
    (layer,) = (each for each in data["layers"] if each["key"] == CATALOGUE[found.name].key)
    rows = []
    for other in found.against:
        over = layer["differences"][other]["over_seeds"]
        rows.append(Row(f"than {other}", *(100 * over[key] for key in ("mean", "low", "high"))))
        if (found.name, other) in CHECKS:
            rows.append(Row(f"than {other}, elsewhere", *_checked(readme, found.name, other)))
    return rows


def _checked(readme: str, name: str, other: str) -> tuple[float, float, float]:
    """Mean and bounds of an independent check, as a README reports them."""
    match = re.search(CHECKS[name, other], readme)
    assert match is not None, (name, other)
    numbers = [float(number) for number in match.groups()]
    if len(numbers) == 2:  # the mean stands before the words
        before = re.search(r"is (\d+\.\d+) $", readme[: match.start()])
        assert before is not None, (name, other)
        numbers = [float(before[1]), *numbers]
    mean, low, high = numbers
    return mean, low, high


def draw() -> Figure:
    """A line for each layer: graph and formula left, differences right."""
    figure = Figure(figsize=(13.3, 7.6), dpi=120, facecolor="white")
    for number, found in enumerate(FOUND):
        bottom = 0.5 * (1 - number)
        picture = figure.add_axes((0.01, bottom + 0.03, 0.54, 0.375))
        drawn = draw_genome(CATALOGUE[found.name])
        picture.imshow(to_array(drawn), interpolation="lanczos")
        picture.set_anchor("W")
        picture.set_axis_off()
        figure.text(0.02, bottom + 0.462, found.title, fontsize=20, fontweight="bold", color=INK, va="center")
        figure.text(0.02, bottom + 0.418, found.words, fontsize=14, color=FAINT, va="center")
        _draw_rows(figure.add_axes((0.77, bottom + 0.11, 0.215, 0.285)), rows_of(found))
        label = "points of accuracy better, or worse"
        figure.text(0.985, bottom + 0.43, label, fontsize=15, color=INK, ha="right", va="center")
    note = "bars: 95 % intervals over seeds, three held-out networks; elsewhere: an independent check on other networks"
    figure.text(0.985, 0.014, note, fontsize=12, color=FAINT, ha="right")
    return figure


def _draw_rows(axes: Axes, rows: list[Row]) -> None:
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.axvline(0, color=FAINT, linewidth=1.2)
    for place, row in enumerate(rows):
        colour = BETTER if row.low > 0 else WORSE if row.high < 0 else FAINT
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=4, solid_capstyle="round")
        axes.plot([row.mean], [place], "o", color=colour, markersize=11, markeredgecolor="white")
        axes.text(8.4, place, f"{row.mean:+.2f}", fontsize=16, color=colour, va="center", ha="right", fontweight="bold")
    axes.set(xlim=(-2.8, 8.4), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=15, color=INK)
    axes.set_xticks([-2, 0, 2, 4], ["-2", "0", "+2", "+4"])
    axes.tick_params(length=0, labelsize=14)
    axes.tick_params(axis="x", colors=FAINT)


if __name__ == "__main__":
    main()
