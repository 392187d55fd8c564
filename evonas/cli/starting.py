"""``evonas init``, ``list`` and ``schema``: what is there to start from, and a file to start with."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evonas.cli.app import JsonOption
from evonas.errors import InputError

if TYPE_CHECKING:
    from evonas.interface.shipped import Row

SHIPPED = {  # the columns that are printed of each kind; JSON has more
    "layers": ("name", "formula", "inputs", "source"),
    "searches": ("name", "what it is"),
    "studies": ("name", "kind", "what it is"),
    "architectures": ("name", "what it is"),
    "primitives": ("name", "written", "kind", "meaning"),
    "objectives": ("name", "better", "meaning"),
}
FILES = (
    "search",
    "certificate",
    "comparison",
    "components",
    "pretrained",
    "stability",
    "hypernet",
    "sparsity",
    "steering",
)


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE.toml]", help="Is written.")] = Path("search.toml"),
    data: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Your images; what fits them is filled in.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
) -> None:
    """Write a search file for your own images, with a comment on every key that you may want to change.

    Example: [bold]evonas init mine.toml --data mine.npz[/bold]

    The .npz file holds x_train, images of the shape [n, height, width] or [n, height, width, 3] in bytes, and y_train,
    their classes from 0.
    """
    from evonas.interface.starter import PLACEHOLDER, write_search_file
    from evonas.report.console import say

    facts = write_search_file(file, data, force=force)
    say(f"wrote {file}")
    if facts is None:
        say(f"put your images into {PLACEHOLDER}, or write where they are at [data] path; the file says how")
    else:
        say(f"{data}: {facts}")
    say(f"then: evonas search {shlex.quote(str(file))}")


def list_shipped(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar=f"[{'|'.join(SHIPPED)}]", help="What to list; default: all.", autocompletion=lambda: [*SHIPPED]
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Name what comes with evonas: layers, search files, study files, architectures, primitives and objectives.

    Example: [bold]evonas list layers[/bold]
    """
    from evonas.interface import shipped

    if kind is not None and kind not in SHIPPED:
        raise InputError("evonas list", repr(kind), accepted=", ".join(SHIPPED))
    found = {name: make() for name, make in shipped.SHIPPED.items() if kind in (None, name)}
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for name, rows in found.items():
        if kind is None:
            print(f"{name}:")
        _print_rows(rows, SHIPPED[name])
        if kind is None:
            print()


list_shipped.__name__ = "list"  # what is typed; in Python the name is taken


def schema(
    kind: Annotated[
        str,
        typer.Argument(metavar=f"[{'|'.join(FILES)}]", help="Of which files.", autocompletion=lambda: [*FILES]),
    ] = "search",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Write it there.")] = None,
) -> None:
    """Print the JSON schema of search or study files, by which an editor completes and checks them.

    Example: [bold]evonas schema search -o search-schema.json[/bold]

    The first line of the search file then names the schema: [bold]#:schema ./search-schema.json[/bold]
    """
    from evonas.files import write_named
    from evonas.interface.files import schema_of
    from evonas.report.console import say

    text = json.dumps(schema_of(kind), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        print(text, end="")
        return
    write_named(output, text)
    say(f"wrote {output}")


def _print_rows(rows: "list[Row]", columns: Sequence[str]) -> None:
    """Columns that wrap on a terminal; a line for each row elsewhere, so that it can be searched."""
    from rich.table import Table
    from rich.text import Text

    from evonas.report.console import PlainConsole

    if not sys.stdout.isatty():
        widths = {column: max(len(row[column]) for row in rows) for column in columns[:-1]}
        for row in rows:
            print("  ".join(f"{row[column]:<{widths.get(column, 0)}}" for column in columns).rstrip())
        return
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(row[column]) for column in columns))
    PlainConsole(sys.stdout).print(table)
