"""The page of one search or of several side by side: a file that computes its layers in the reader's browser."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

from evonas import __version__
from evonas.errors import InputError
from evonas.files import write_named
from evonas.graph.primitive import PRIMITIVES
from evonas.interface.overview import RunSummary
from evonas.interface.run_record import RunRecord, read_run
from evonas.report.page.page import charting_library, html_page, static
from evonas.search.objectives import OBJECTIVES

GROUP = 201  # inputs of the group that moments are taken over in the page
SCRIPTS = ("dom.js", "interpreter.js", "graph.js", "table.js", "charts.js", "response.js", "layer.js", "page.js")


def write_run_page(runs: Sequence[Path], file: Path) -> None:
    """Write the page of some searches; each may be running.

    Args:
        runs: their folders.
        file: ends in .html.

    Raises:
        InputError: a folder holds no search, the file cannot be written, or plotly is not installed.
    """
    _require_html(file, "--output")
    library = charting_library()
    write_named(file, run_page([read_run(run) for run in runs], library))


def write_index_page(folder: Path, runs: Sequence[RunSummary], file: Path) -> None:
    """Write the page that lists runs.

    Args:
        folder: where they were looked for.
        runs: what ``find_runs`` found there.
        file: ends in .html.

    Raises:
        InputError: the file cannot be written.
    """
    _require_html(file, "--html")
    data = {"folder": str(folder), "runs": [run.as_json() for run in runs], **_written()}
    scripts = [static(name) for name in ("dom.js", "table.js", "index.js")]
    write_named(file, html_page("evonas: runs", data, scripts, static("page.css")))


def run_page(runs: Sequence[RunRecord], library: str) -> str:
    """The text of the page.

    Args:
        runs: what it shows.
        library: the text of plotly.js.
    """
    group = NormalDist()
    data = {
        **_written(),
        "runs": [run.as_json() for run in runs],
        "quantiles": [group.inv_cdf((place + 0.5) / GROUP) for place in range(GROUP)],
        "objectives": {name: [objective.weight, objective.meaning] for name, objective in OBJECTIVES.items()},
        "meanings": {name: primitive.meaning for name, primitive in PRIMITIVES.items()},
    }
    title = ", ".join(run.config.name for run in runs[:3]) + (", ..." if len(runs) > 3 else "")
    return html_page(f"evonas: {title}", data, [library, *map(static, SCRIPTS)], static("page.css"))


def _written() -> dict[str, str]:
    """When and by what a page is written."""
    return {"version": __version__, "written": time.strftime("%Y-%m-%d %H:%M", time.localtime())}


def _require_html(file: Path, option: str) -> None:
    if file.suffix not in (".html", ".htm"):
        raise InputError(option, str(file), accepted="a file that ends in .html")
