"""``evonas verify`` and ``backup``: whether a run is whole, and copies of it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from evonas.cli.app import JsonOption, RunArgument


def verify(
    run: RunArgument,
    replay: Annotated[
        bool, typer.Option("--replay", help="Also draw the latest 1000 candidates again, and compare.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check that a search is recorded whole: pages, rows, order, keys, and what else lies in its folder.

    Example: [bold]evonas verify runs/first --replay[/bold]

    The run may be running. The exit status is 0 if everything is as it should be, and 1 if something is not. What is
    whole of a damaged run is saved by [bold]evonas backup runs/first runs/saved --salvage[/bold]
    """
    from evonas.interface.verification import verify as verified
    from evonas.report.console import say
    from evonas.runs.folder import RunFolder

    found = verified(RunFolder(run), replay=replay)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        counts = ", ".join(f"{'?' if count is None else count} {kind}" for kind, count in found.counts.items())
        say(f"{run}: {counts}")
        for fault in found.faults:
            say(f"fault: {fault}")
        for remark in found.remarks:
            say(f"note: {remark}")
        if found.redrawn is not None and found.is_whole:
            say(f"{found.redrawn} candidates drawn again, equal to those recorded")
        say("whole" if found.is_whole else f"not whole; to save what is: evonas backup {run} FOLDER --salvage")
    if not found.is_whole:
        raise typer.Exit(1)


def backup(
    run: RunArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Is made, and holds a run of its own then.")],
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Of a damaged archive: the longest beginning that is whole.")
    ] = False,
) -> None:
    """Copy a search, also while it runs; the copy is the run as it was at one moment, and can be gone on with.

    Example: [bold]evonas backup runs/first /media/usb/first[/bold]

    What is whole of a damaged run: [bold]evonas backup runs/first runs/saved --salvage[/bold]
    """
    from evonas.interface.verification import copy_run
    from evonas.report.console import say
    from evonas.runs.folder import RunFolder

    for line in copy_run(RunFolder(run), folder, damaged=salvage):
        say(line)
    say(f"go on with it: evonas search --run {folder} --resume")
