"""Draw how a search works: six steps, with what went through each in a kept run.

    python scripts/draw_search.py docs/search.png

The counts are those of runs/kept/cifar-s: its candidates.csv, reranking and held-out results, and for what the screens
rejected, which no kept file holds, its README.
"""

import argparse
import csv
import json
import re
import tomllib
from dataclasses import dataclass
from math import log10
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon

from evonas.report.pictures import to_png

RUN = Path(__file__).parents[1] / "runs" / "kept" / "cifar-s"
INK, FAINT, FILL, LINE, FLOW = "#1f2933", "#5b6770", "#eef4fb", "#2f6db3", "#d6e6f8"
WIDTH, HEIGHT, GAP = 2.0, 1.9, 0.17


@dataclass(frozen=True, slots=True)
class Step:
    """A box: what is done, in words, and how many layers come out."""

    title: str
    words: str
    count: int
    what: str


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    to_png(draw(steps()), parser.parse_args().path)


def steps() -> list[Step]:
    """The steps of a search with the counts of the kept run."""
    (screened,) = re.findall(r"not the ([\d,]+) proposals that the screens rejected", (RUN / "README.md").read_text())
    with (RUN / "candidates.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["candidate"].isdecimal()]
    scored = [row for row in rows if not row["reason"]]
    stopped = [row for row in rows if row["reason"].startswith("behind")]
    again, held_out = (json.loads((RUN / name).read_text()) for name in ("rerank.json", "held-out/results.json"))
    reranked, tested = (sum(not each["baseline"] for each in data["layers"]) for data in (again, held_out))
    proposals = int(screened.replace(",", "")) + len(rows)
    window = tomllib.loads((RUN / "config.toml").read_text())["evolution"]["window"]
    return [
        Step("1  Propose", "draw a random\ngraph of primi-\ntives, or mutate\na parent", proposals, "graphs"),
        Step("2  Screen", "no training yet:\nis it finite, new,\nand does signal\npropagate?", len(rows), "new layers"),
        Step(
            "3  Train",
            f"in small networks;\n{len(stopped)} are behind\nand stopped early",
            len(scored),
            "trained in full",
        ),
        Step("4  Select", f"the best of the\nlatest {window} become\nparents", len(scored), "ranked"),
        Step("5  Train again", "fresh seeds, larger\nnetworks, next to\nknown layers", reranked, "reranked"),
        Step("6  Test", "networks and\nimages that chose\nnothing so far", tested, "tested"),
    ]


def draw(found: list[Step]) -> Figure:
    """Boxes from left to right over a band that is as broad as the logarithm of what goes through."""
    inches = (0.3 + len(found) * (WIDTH + GAP), 5.2)
    figure = Figure(figsize=inches, dpi=120, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, inches[0]), ylim=(0, inches[1]))
    axes.set_axis_off()
    lefts = [0.25 + number * (WIDTH + GAP) for number in range(len(found))]
    _draw_band(axes, found, lefts)
    for step, left in zip(found, lefts, strict=True):
        box = FancyBboxPatch((left, 2.65), WIDTH, HEIGHT, "round,pad=0,rounding_size=0.1", fc=FILL, ec=LINE, lw=1.6)
        axes.add_patch(box)
        axes.text(left + 0.12, 4.33, step.title, fontsize=16, fontweight="bold", color=INK, va="center")
        axes.text(left + 0.12, 4.0, step.words, fontsize=13.5, color=INK, va="top", linespacing=1.25)
    axes.text(inches[0] - 0.2, 4.85, "one hour on two cores (cifar-s)", fontsize=13, color=FAINT, ha="right")
    start, end = (lefts[3] + WIDTH / 2, 4.62), (lefts[0] + WIDTH / 2, 4.62)
    arrow: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 22, "color": LINE, "linewidth": 1.8}
    axes.add_patch(FancyArrowPatch(start, end, connectionstyle="arc3,rad=0.07", shrinkA=0, shrinkB=2, **arrow))
    return figure


def _draw_band(axes: Axes, found: list[Step], lefts: list[float]) -> None:
    middle, broad = 1.3, 0.2
    halves = [broad * (log10(step.count) + 1.4) for step in found]
    for number, (step, left) in enumerate(zip(found, lefts, strict=True)):
        after = halves[min(number + 1, len(found) - 1)]
        right = left + WIDTH + GAP
        half = halves[number]
        corners = [(left, middle - half), (right - GAP, middle - half), (right, middle - after)]
        corners += [(right, middle + after), (right - GAP, middle + half), (left, middle + half)]
        axes.add_patch(
            Polygon(corners if number + 1 < len(found) else [*corners[:2], *corners[4:]], fc=FLOW, ec="none")
        )
        axes.text(
            left + WIDTH / 2, middle + 0.1, f"{step.count:,}", fontsize=20, fontweight="bold", color=INK, **_CENTRE
        )
        axes.text(left + WIDTH / 2, middle - 0.22, step.what, fontsize=13, color=FAINT, **_CENTRE)


_CENTRE: dict[str, Any] = {"ha": "center", "va": "center"}


if __name__ == "__main__":
    main()
