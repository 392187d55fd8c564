"""``evonas runs``: what runs there are, and how they stand."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from evonas.cli.app import JsonOption


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to look, with all that is below.")] = Path(
        "runs"
    ),
    as_json: JsonOption = False,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE.html", help="Also write the list as a page for a browser.")
    ] = None,
) -> None:
    """The runs below a folder: how each stands, its best layer, evaluations and core-hours.

    Example: [bold]evonas runs[/bold]

    An interrupted, killed or stopped run goes on with --resume. What is done are trainings and measurements; core-hours
    are their time, times the threads of each.
    """
    from evonas.cli import terminal
    from evonas.interface.overview import KEPT, find_runs
    from evonas.report.table import Table

    found = find_runs(folder)
    if page is not None:
        from evonas.interface.run_page import write_index_page

        write_index_page(folder, found, page)
    if as_json:
        print(json.dumps([run.as_json() for run in found], indent=2))
        return
    rows = (
        {
            "run": str(run.folder),
            "state": run.state or "?",
            "kind": run.kind or None,
            "best": run.score,
            "best layer": run.problem or run.formula or None,
            "done": run.evaluations,
            "core hours": run.core_hours,
            "changed": _when(run.changed),
        }
        for run in found
    )
    out = terminal.console()
    if found:
        out.print(terminal.Printed(Table.of(rows, {"core hours": "{:.3g}"}, code=("best layer",))))
    else:
        out.print(f"no runs in {folder}; start one with: evonas search evonorm_s")
    if page is not None:
        out.print(f"wrote {page}", soft_wrap=True)
    if (folder / KEPT).is_dir():
        out.print(f"for kept results: evonas runs {folder / KEPT}")


def _when(changed: float) -> str | None:
    """How long ago something was, or its date."""
    if not changed:
        return None
    minutes = int(max(time.time() - changed, 0.0) / 60)
    if minutes < 60:
        return f"{minutes}m ago"
    return f"{minutes // 60}h ago" if minutes < 48 * 60 else time.strftime("%Y-%m-%d", time.localtime(changed))
