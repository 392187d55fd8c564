"""What ``evonas search`` does: a new run or an old one, driven to its end, and what is said of it."""

import typer

from evonas.cli import terminal
from evonas.cli.app import INTERRUPTED
from evonas.interface.progress import SearchProgress
from evonas.interface.runs import conduct
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.driver import Ending
from evonas.search.ranking import relatives, shrinkage_of
from evonas.search.start import Request

TOP = 10  # layers in the table at the end


def launch(request: Request, started: float) -> None:
    """Start a search or go on with one, and print its ranking.

    Args:
        request: what was typed.
        started: when the command began, on the monotonic clock.

    Raises:
        InputError: the search cannot be run; nothing has been written.
    """
    run = conduct(request, SearchProgress(terminal.console(stderr=True)), started)
    console = terminal.console()
    best, shrinkage = relatives(run.best)[:TOP], shrinkage_of(run.best)
    terminal.print_ranking(best, run.baselines, title=str(run.folder), shrinkage=shrinkage)
    for path in sorted((run.folder / "best").glob("rank1_*.py")):
        console.print(f"best layer as a module: {path}", highlight=False, soft_wrap=True)
    console.print(f"TensorBoard: tensorboard --logdir {run.folder}", highlight=False, soft_wrap=True)
    with Archive.open(RunFolder(run.folder).archive_file, read_only=True) as archive:
        if reused := archive.reused():
            console.print(f"{reused} of {archive.told()} evaluations reused from earlier runs", highlight=False)
    console.print(f"stopped: {run.ending}", highlight=False)
    for line in run.advice:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if run.ending == Ending.INTERRUPTED.value:
        raise typer.Exit(INTERRUPTED)
