"""Draw the rooms of the package from its code: a box for each, with its size, and who imports whom.

    python scripts/draw_architecture.py docs/architecture.png

Rows are the layers of the import contract in pyproject.toml, top to bottom. Of arrows that others imply only the others
are drawn: where cli imports search and search imports graph, cli's own imports of graph are left out.
"""

import argparse
import ast
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import networkx as nx
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).parents[1]
PACKAGE = "evonas"
WING = "studies"  # its packages are named in its box
BOX_WIDTH, BOX_HEIGHT, ROW, INCH = 3.4, 1.25, 1.75, 0.8
LINE_WIDTH = 38


@dataclass(frozen=True, slots=True)
class Room:
    """A package or a module at the top of the package.

    Attributes:
        name: without that of the package.
        lines: of code, comments and docstrings.
        purpose: the first line of its docstring, and its own packages with their sizes.
        imports: other rooms.
    """

    name: str
    lines: int
    purpose: str
    imports: frozenset[str]


def rooms_of(package: Path, layers: Sequence[Sequence[str]]) -> dict[str, Room]:
    """The rooms that the layers name."""
    names = [name for layer in layers for name in layer]
    return {name: _room(package, name, names) for name in names}


def _room(package: Path, name: str, names: Sequence[str]) -> Room:
    folder, module = package / name, package / f"{name}.py"
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [module]
    main = ast.parse((folder / "__init__.py" if folder.is_dir() else module).read_text(encoding="utf-8"))
    purpose = (ast.get_docstring(main) or "").partition("\n")[0]
    inner = [part for part in sorted(folder.glob("*/")) if name == WING and (part / "__init__.py").is_file()]
    purpose += "".join(f"\n{part.name} {_lines(sorted(part.rglob('*.py'))):,}" for part in inner)
    found = {imported for file in files for imported in imports_of(file)} & set(names)
    return Room(name, _lines(files), purpose, frozenset(found - {name}))


def _lines(files: Sequence[Path]) -> int:
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def imports_of(file: Path) -> set[str]:
    """The parts of the package that a file imports, by the first name below the package."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    froms = [
        f"{node.module}.{alias.name}" if node.module == PACKAGE else node.module or ""
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    return {name.split(".")[1] for name in (*plain, *froms) if name.startswith(f"{PACKAGE}.")}


def layers_of(pyproject: Path) -> list[list[str]]:
    """The layers of the import contract, from the top."""
    contracts = tomllib.loads(pyproject.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip().removeprefix(f"{PACKAGE}.") for name in layer.split("|")] for layer in layers]


def draw(rooms: Mapping[str, Room], layers: Sequence[Sequence[str]]) -> Figure:
    """The picture."""
    arrows = nx.transitive_reduction(
        nx.DiGraph([(room.name, other) for room in rooms.values() for other in room.imports])
    )
    widest = max(map(len, layers))
    places = {
        name: ((column - (len(layer) - 1) / 2) * (BOX_WIDTH + 0.6), -row * ROW)
        for row, layer in enumerate(layers)
        for column, name in enumerate(layer)
    }
    figure = Figure(figsize=(INCH * widest * (BOX_WIDTH + 0.7), INCH * len(layers) * ROW), layout="constrained")
    axes = figure.add_subplot()
    for name, room in rooms.items():
        x, y = places[name]
        left, low = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
        style = {"boxstyle": "round,pad=0.02,rounding_size=0.12", "facecolor": "#eef3fa", "edgecolor": "#3a5f8f"}
        axes.add_patch(FancyBboxPatch((left, low), BOX_WIDTH, BOX_HEIGHT, zorder=2, **style))
        axes.text(left + 0.12, y + 0.38, name, fontsize=12, fontweight="bold", va="center", zorder=3)
        end = {"fontsize": 8, "ha": "right", "va": "center", "zorder": 3}
        axes.text(left + BOX_WIDTH - 0.12, y + 0.38, f"{room.lines:,} lines", **end)
        purpose, *parts = room.purpose.split("\n")
        text = fill(purpose, LINE_WIDTH) + ("\n" + fill(", ".join(parts), LINE_WIDTH) if parts else "")
        axes.text(left + 0.12, y + 0.2, text, fontsize=7.5, va="top", zorder=3)
    for above, below in arrows.edges:
        (x, y), (other_x, other_y) = places[above], places[below]
        axes.annotate(
            "",
            (other_x, other_y + BOX_HEIGHT / 2),
            (x, y - BOX_HEIGHT / 2),
            arrowprops={"arrowstyle": "-|>", "color": "#777777", "linewidth": 1.0},
            zorder=1,
        )
    reach = widest * (BOX_WIDTH + 0.6) / 2
    axes.set(xlim=(-reach, reach), ylim=(-(len(layers) - 0.45) * ROW, 0.55 * ROW))
    axes.set_axis_off()
    return figure


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="where to write, e.g. docs/architecture.png")
    picture = parser.parse_args().picture
    layers = layers_of(ROOT / "pyproject.toml")
    rooms = rooms_of(ROOT / PACKAGE, layers)
    draw(rooms, layers).savefig(picture, dpi=110)
    print(f"wrote {picture}: {len(rooms)} rooms, {sum(room.lines for room in rooms.values()):,} lines")


if __name__ == "__main__":
    main()
