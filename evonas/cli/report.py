"""``evonas report``: searches, studies, evaluations and certificates as a page that computes their layers."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="The folders of searches; or of studies, evaluations and certificates."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.html", help="Where to write the page.")
    ] = Path("report.html"),
) -> None:
    """Runs as one HTML file: a double click opens it, without server and network.

    Example: [bold]evonas report runs/first -o report.html[/bold]

    Of searches it shows progress, the Pareto front, what was rejected and a table of all layers, side by side where
    several are given; a search may be running, and is shown as it stood when the page was written. Of studies,
    evaluations, rerankings and certificates it shows the report, differences with their intervals, curves and all runs.
    Every layer opens with its formula, graph and a response curve with sliders, which the browser computes.
    """
    from evonas.cli import terminal
    from evonas.interface.run_page import write_page

    write_page(runs, output)
    size = output.stat().st_size / 1e6
    terminal.console().print(f"wrote {output} ({size:.1f} MB)", soft_wrap=True)
