"""The boards that a running search is shown on, each of which may fail without ending the search."""

from collections.abc import Callable

from evonas.config import SearchConfig
from evonas.report.trackers import TENSORBOARD, open_board
from evonas.runs.folder import RunFolder
from evonas.search.dashboard import SearchBoard
from evonas.search.optional import OptionalWatcher


def open_boards(settings: SearchConfig, run: RunFolder, told: int, say: Callable[[str], None]) -> list[OptionalWatcher]:
    """A watcher for each of ``execution.boards``.

    Args:
        settings: of the search.
        run: where the search is.
        told: how many candidates are recorded already.
        say: is given, once for each board, why it cannot be written any more.
    """

    def opened(name: str) -> OptionalWatcher:
        shown = str(run.board_folder) if name == TENSORBOARD else name
        return OptionalWatcher(
            lambda: SearchBoard(open_board(name, run.board_folder, told or None), settings),
            lambda why: say(f"note: {shown} {why}"),
        )

    return [opened(name) for name in dict.fromkeys(settings.execution.boards)]
