"""The page of searches side by side, and that of reports: files that compute their layers in the reader's browser."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

from evonas import __version__
from evonas.errors import InputError
from evonas.files import write_named
from evonas.graph.primitive import PRIMITIVES
from evonas.interface.overview import RunSummary
from evonas.interface.result_record import ResultRecord, find_report, read_result
from evonas.interface.run_record import RunRecord, read_run
from evonas.reading import require_plain
from evonas.report.page.page import charting_library, html_page, static
from evonas.runs.folder import RunFolder
from evonas.runs.store import RESULTS
from evonas.search.objectives import OBJECTIVES

GROUP = 201  # inputs of the group that moments are taken over in the page
SCRIPTS = (
    *("dom.js", "interpreter.js", "graph.js", "table.js", "charts.js", "response.js", "layer.js", "opened.js"),
    *("plots.js", "explorer.js", "blocks.js", "result.js"),
)
SHOWN = "the folder of a search, an evaluation, a reranking, a certificate or a study"


def write_page(folders: Sequence[Path], file: Path) -> None:
    """Write the page of some searches, which may be running, or of some reports of studies and the like.

    Args:
        folders: of searches, or of runs that have written a report; not of both.
        file: ends in .html.

    Raises:
        InputError: a folder holds neither or cannot be read, both kinds are given, the file cannot be written, or
            plotly is not installed.
    """
    _require_html(file, "--output")
    library = charting_library()
    searches = [folder for folder in folders if RunFolder(folder).exists]
    reports = {folder: _report_of(folder) for folder in folders if folder not in searches}
    if searches and reports:
        found = f"is a search, and {next(iter(reports))} is none"
        raise InputError(str(searches[0]), found, remedy="write a page of the searches, and one of the others")
    if searches:
        page = run_page([read_run(folder) for folder in folders], library)
    else:
        page = result_page([read_result(folder, reports[folder]) for folder in folders], library)
    write_named(file, page)


def _report_of(folder: Path) -> Path:
    """The report in a folder that holds no search."""
    require_plain(str(folder), "RUN")
    if (found := find_report(folder)) is not None:
        return found
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder", accepted=SHOWN)
    if (folder / RESULTS).exists():
        remedy = "let it come to its end, or go on with the same command and --resume"
        raise InputError(str(folder), "has no report yet", remedy=remedy)
    raise InputError(str(folder), "holds no run", accepted=SHOWN)


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
    """The text of a page of searches.

    Args:
        runs: what it shows.
        library: the text of plotly.js.
    """
    objectives = {name: [objective.weight, objective.meaning] for name, objective in OBJECTIVES.items()}
    data = {**_computing(), "runs": [run.as_json() for run in runs], "objectives": objectives}
    return _page([run.config.name for run in runs], data, library, "page.js")


def result_page(results: Sequence[ResultRecord], library: str) -> str:
    """The text of a page of reports.

    Args:
        results: what it shows.
        library: the text of plotly.js.
    """
    data = {**_computing(), "results": [result.as_json() for result in results]}
    return _page([result.folder.resolve().name for result in results], data, library, "results.js")


def card_page(cards: Sequence[Mapping[str, Any]], library: str) -> str:
    """The text of a page of cards of layers.

    Args:
        cards: what ``evonas.interface.card.page`` makes of them.
        library: the text of plotly.js.
    """
    return _page([str(card["name"]) for card in cards], {**_computing(), "cards": list(cards)}, library, "cards.js")


def _page(names: Sequence[str], data: dict[str, Any], library: str, script: str) -> str:
    title = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return html_page(f"evonas: {title}", data, [library, *map(static, (*SCRIPTS, script))], static("page.css"))


def _computing() -> dict[str, Any]:
    """What the scripts that compute layers need, and when and by what the page is written."""
    group = NormalDist()
    return {
        **_written(),
        "quantiles": [group.inv_cdf((place + 0.5) / GROUP) for place in range(GROUP)],
        "meanings": {name: primitive.meaning for name, primitive in PRIMITIVES.items()},
    }


def _written() -> dict[str, str]:
    """When and by what a page is written."""
    return {"version": __version__, "written": time.strftime("%Y-%m-%d %H:%M", time.localtime())}


def _require_html(file: Path, option: str) -> None:
    if file.suffix not in (".html", ".htm"):
        raise InputError(option, str(file), accepted="a file that ends in .html")
