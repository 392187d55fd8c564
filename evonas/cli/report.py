"""``evonas report``: searches as a page that computes their layers."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="The folders of searches.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.html", help="Where to write the page.")
    ] = Path("report.html"),
) -> None:
    """Searches as one HTML file, alone or side by side: a double click opens it, without server and network.

    Example: [bold]evonas report runs/first -o report.html[/bold]

    It shows progress, the Pareto front, what was rejected and a table of all layers. Every layer has its formula,
    graph, ancestors and a response curve with sliders, which the browser computes. A search may be running; the page
    shows it as it stood when it was written.
    """
    from evonas.cli import terminal
    from evonas.interface.run_page import write_run_page

    write_run_page(runs, output)
    size = output.stat().st_size / 1e6
    terminal.console().print(f"wrote {output} ({size:.1f} MB)", soft_wrap=True)
