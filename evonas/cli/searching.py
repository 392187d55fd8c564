"""What ``evonas search`` does: a new run or an old one, driven to its end, and what is said of it."""

from pathlib import Path

import typer

from evonas import config
from evonas.cli import terminal
from evonas.cli.app import INTERRUPTED
from evonas.cli.settings import load_with_extensions, refuse_changes
from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.report.board import Board
from evonas.runs.folder import RunFolder, locked
from evonas.search import best, named, ranking
from evonas.search.archive import Archive
from evonas.search.cached import CachedExecutor, with_cache
from evonas.search.dashboard import SearchBoard
from evonas.search.driver import Clock, Ending, drive, driving_seconds
from evonas.search.execution import Executor, make_executor
from evonas.search.making import require_searchable
from evonas.search.start import create_run


def launch(file: Path | None, run: Path | None, changes: list[str], initial: list[str], *, resume: bool) -> None:
    """Start a search or go on with one, and print its ranking.

    Args:
        file: of the search; None where a run is resumed.
        run: its folder; None takes ``runs/<name of the search>``.
        changes: keys of the file that are set otherwise, as ``a.b=c``.
        initial: layers and runs to start from.
        resume: whether to go on with a run.

    Raises:
        InputError: the search cannot be run; nothing has been written.
    """
    settings, folder = _resumed(file, run, changes, initial) if resume else _fresh(file, run, changes, initial)
    try:
        require_searchable(settings)  # refuse what cannot run before anything is written
        executor = with_cache(make_executor(settings), settings)
    except InputError as error:
        raise error.at(str(file or folder.config_file)) from None
    if not resume:
        create_run(folder.path, settings)
    with locked(folder), Archive.open(folder.archive_file) as archive:
        ending = _drive(settings, folder, archive, executor)
    _finish(folder, ending)


def _drive(settings: config.SearchConfig, folder: RunFolder, archive: Archive, executor: Executor) -> Ending:
    console = terminal.console(stderr=True)
    if settings.execution.workers > settings.evolution.look_ahead:
        idle = settings.execution.workers - settings.evolution.look_ahead
        console.print(f"note: {idle} workers will be idle, evolution.look_ahead is {settings.evolution.look_ahead}")
    console.print(f"run {folder.path}; watch it with: tensorboard --logdir {folder.path.parent}", highlight=False)
    clock = Clock(settings.budget, used=driving_seconds(archive))
    board = SearchBoard(Board(folder.board_folder, purge_step=archive.told() or None), settings)
    try:
        with executor, terminal.SearchProgress(clock, console) as progress:
            return drive(settings, archive, executor, [progress, board], clock)
    finally:
        if isinstance(executor, CachedExecutor):
            archive.event("cache", f"{executor.hits} evaluations reused from {settings.execution.cache}")
        board.close()


def _finish(folder: RunFolder, ending: Ending) -> None:
    modules = best.save_best(folder)
    console = terminal.console()
    terminal.print_ranking(ranking.ranking(folder, 10), ranking.baselines(folder), title=str(folder.path))
    for path in modules[:1]:
        console.print(f"best layer as a module: {path}", highlight=False, soft_wrap=True)
    console.print(f"TensorBoard: tensorboard --logdir {folder.path.parent}", highlight=False, soft_wrap=True)
    with Archive.open(folder.archive_file, read_only=True) as archive:
        if reused := archive.reused():
            console.print(f"{reused} of {archive.told()} evaluations reused from earlier runs", highlight=False)
    console.print(f"stopped: {ending.value}", highlight=False)
    if ending is Ending.INTERRUPTED:
        console.print(f"go on with: evonas search --run {folder.path} --resume", highlight=False, soft_wrap=True)
        raise typer.Exit(INTERRUPTED)


def _fresh(
    file: Path | None, run: Path | None, changes: list[str], initial: list[str]
) -> tuple[config.SearchConfig, RunFolder]:
    if file is None:
        raise InputError("FILE.toml", "not given", accepted="a search, e.g. search_spaces/evonorm_s.toml")
    settings = _starting_from(initial, load_with_extensions(file, changes))
    folder = RunFolder(run or Path("runs") / settings.name)
    folder.refuse_existing()
    return settings, folder


def _resumed(
    file: Path | None, run: Path | None, changes: list[str], initial: list[str]
) -> tuple[config.SearchConfig, RunFolder]:
    """The configuration to go on with: what alters no search may change."""
    if run is None and file is None:
        raise InputError("--resume", "which run?", remedy="add --run FOLDER")
    folder = RunFolder(run or Path("runs") / config.load_search(file or Path()).name).require()
    settings = _starting_from(initial, load_with_extensions(file or folder.config_file, changes))
    remedy = "resume without FILE.toml, or start a new run"
    refuse_changes(settings, folder, ("budget", "execution", "rerank"), str(file or folder.config_file), remedy)
    return settings, folder


def _starting_from(initial: list[str], settings: config.SearchConfig) -> config.SearchConfig:
    """The configuration with more initial layers, as texts: a resumed run does not need what they were taken from."""
    if not initial:
        return settings
    space, texts = SearchSpace.from_config(settings.space), list(settings.evolution.initial)
    for name in initial:
        try:
            found = [layer.genome.to_text() for layer in named.find_layers(name)]
        except InputError as error:
            raise error.at("--start-from") from None
        for text in found:
            try:
                space.padded(Genome.from_text(text))
            except InputError as error:
                raise error.at(f"--start-from {name}: {text}") from None
        texts += found
    evolution = settings.evolution.model_copy(update={"initial": tuple(dict.fromkeys(texts))})
    return settings.model_copy(update={"evolution": evolution})
