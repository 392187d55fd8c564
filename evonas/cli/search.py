"""``evonas search``: launches a search, and goes on with one."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from evonas import config
from evonas.cli import terminal
from evonas.cli.app import INTERRUPTED, DeviceOption, WorkersOption, app, load_with_extensions, refuse_changes
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


@app.command()
def search(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.toml", help="The search; optional with --resume.")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/<name of the search>.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Set a key of the file; may be repeated."),
    ] = None,
    start_from: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER|RUN", help="First candidates: a layer, or a run's Pareto front; may be repeated."),
    ] = None,
    workers: WorkersOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="10m|500", help="Time (s, m, h) or evaluations.")] = None,
    device: DeviceOption = None,
    cache: Annotated[
        str | None, typer.Option(metavar="FILE", help="Share evaluations with other runs; execution.cache.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped or killed.")] = False,
) -> None:
    """Search for layers; stop with Ctrl-C and go on with --resume.

    Example: [bold]evonas search search_spaces/evonorm_s.toml --run runs/first --budget 10m --workers 2[/bold]

    From the best layers of an earlier run: [bold]--start-from runs/first --start-from evonorm-s0[/bold]

    With other data: [bold]--set data.name=npz --set data.path=cifar10.npz --set data.size=16[/bold]
    """
    changes = list(overrides or [])
    for key, value in (("seed", seed), ("execution.workers", workers)):
        changes += [f"{key}={value}"] if value is not None else []
    for key, text in (("execution.device", device), ("execution.cache", cache)):
        changes += [f"{key}={json.dumps(text)}"] if text is not None else []
    changes += _budget(budget) if budget is not None else []
    initial = list(start_from or [])
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


def _budget(text: str) -> list[str]:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None or float(match[1]) <= 0 or (not match[2] and "." in match[1]):
        raise InputError("--budget", repr(text), accepted="a time such as 90s, 10m, 2h, or a number of evaluations")
    if not match[2]:
        return [f"budget.evaluations={match[1]}", "budget.minutes=0"]
    minutes = float(match[1]) * {"s": 1 / 60, "m": 1, "h": 60}[match[2]]
    return [f"budget.minutes={minutes!r}", "budget.evaluations=0"]
