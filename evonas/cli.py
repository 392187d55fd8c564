"""The command line: the one place that wires the parts together."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from evonas import config, report, terminal
from evonas import rerank as reranking
from evonas.errors import InputError
from evonas.evaluate.execution import Executor, make_executor
from evonas.evaluate.reuse import Reusing, with_cache
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.record.archive import Archive
from evonas.record.board import open_board
from evonas.record.outcome import COMPILED
from evonas.record.pictures import draw_genome, to_png
from evonas.record.run import RunFolder, create_run, locked
from evonas.search.driver import Clock, Ending, drive, driving_seconds, make_search
from evonas.search.interrupt import SearchInterruptedError
from evonas.search.watch import SearchBoard

INTERRUPTED = 130  # what a shell reports for a process ended by Ctrl-C

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Evolve normalization-activation layers, and take them away as torch modules.\n\n"
    "Example: [bold]evonas search search_spaces/evonorm_s.toml --budget 5m --workers 2[/bold]",
)
LayerArgument = Annotated[
    str, typer.Argument(metavar="LAYER", help="A catalogue name, RUN#rank, a text form, or a .json file.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


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
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; the results do not depend on it.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.")] = None,
    budget: Annotated[str | None, typer.Option(metavar="10m|500", help="Time (s, m, h) or evaluations.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")] = None,
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
        make_search(settings)  # refuse what cannot run before anything is written
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
    board = SearchBoard(open_board(folder.board_folder, purge_step=archive.told() or None), settings)
    try:
        with executor, terminal.SearchProgress(clock, console) as progress:
            return drive(settings, archive, executor, [progress, board], clock)
    finally:
        if isinstance(executor, Reusing):
            archive.event("cache", f"{executor.hits} evaluations reused from {settings.execution.cache}")
        board.close()


def _finish(folder: RunFolder, ending: Ending) -> None:
    modules = report.save_best(folder)
    console = terminal.console()
    console.print(terminal.ranking_table(report.ranking(folder, 10), report.baselines(folder), title=str(folder.path)))
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


@app.command()
def rerank(
    run: RunArgument,
    top: Annotated[int | None, typer.Option(min=1, help="How many of the best layers; rerank.top.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds; rerank.seeds.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; rerank.steps.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Score on test images, for a final comparison.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Set a key of rerank or execution; may be repeated."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; the results do not depend on it.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a run's best layers again under fresh seeds, against the baselines, and keep the best.

    Example: [bold]evonas rerank runs/first --seeds 5 --steps 500 --workers 2[/bold]

    Stop with Ctrl-C; the same command goes on. More seeds or layers reuse what is trained already.
    """
    folder = RunFolder(run).require()
    given = {"rerank.top": top, "rerank.seeds": seeds, "rerank.steps": steps, "execution.workers": workers}
    changes = [*(overrides or []), *(f"{key}={value}" for key, value in given.items() if value is not None)]
    changes += ['data.score_on="test"'] if test else []
    changes += [f"execution.device={json.dumps(device)}"] if device is not None else []
    settings, console = config.load(folder.config_file, changes), terminal.console(stderr=True)
    _refuse_changes(settings, folder, ("rerank", "execution"), str(folder.config_file), "start a new run")
    with locked(folder), Archive.open(folder.archive_file) as archive:
        try:
            with terminal.TrialProgress(console) as progress:
                found = reranking.rerank(folder, settings, archive, progress)
        except SearchInterruptedError:
            console.print("interrupted; finished trials are recorded, the same command goes on", highlight=False)
            raise typer.Exit(INTERRUPTED) from None
        with open_board(folder.board_folder) as board:
            # a resumed search drops what stands at its own steps and later
            reranking.show_reranking(folder, found, board, max(archive.told() - 1, 0))
    modules = reranking.save_reranking(folder, found)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
        return
    console = terminal.console()
    for table in terminal.comparison_tables(found.comparison, title=f"{run}, reranked"):
        console.print(table)
    for path in (*modules, folder.best_folder / "rerank.png"):
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


@app.command()
def top(
    run: RunArgument,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many layers.")] = 10,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Only layers that no other one dominates on all objectives.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The best layers of a run by mean accuracy, with the baselines trained under the same budget.

    Example: [bold]evonas top runs/first -n 5[/bold]

    The Pareto front over accuracies and other objectives: [bold]evonas top runs/first --pareto[/bold]
    """
    folder = RunFolder(run).require()
    ranked, known = report.ranking(folder), report.baselines(folder)
    entries = (report.undominated(ranked) if pareto else ranked)[:count]
    if as_json:
        _print_json([entry.as_json() for entry in (*entries, *known)])
        return
    console = terminal.console()
    console.print(terminal.ranking_table(entries, known, title=str(run)))
    with Archive.open(folder.archive_file, read_only=True) as archive:
        console.print(terminal.rejection_table(archive.rejection_counts()))
        for outcome, count in archive.compiling_counts().most_common():
            how = "layers trained compiled" if outcome == COMPILED else f"compilations failed: {outcome}"
            console.print(f"{count} {how}", highlight=False, soft_wrap=True)


@app.command()
def show(
    layer: LayerArgument,
    as_json: JsonOption = False,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw the graph.")] = None,
) -> None:
    """A layer's formula, text and graph.

    Example: [bold]evonas show evonorm-s0 --png s0.png[/bold]
    """
    found = report.find_layer(layer)
    if png is not None:
        _write_png(found, png)
    facts = report.describe(found.genome)
    if as_json:
        name = found.name or layer
        _print_json(
            [
                {
                    "name": name,
                    **facts,
                    "objectives": dict(found.objectives or {}),
                    "provenance": found.provenance,
                }
            ]
        )
        return
    console = terminal.console()
    rows = {"formula": facts["formula"], "text": facts["text"], "key": facts["key"], "from": found.provenance}
    rows["batch statistics"] = "yes" if found.genome.uses_batch_statistics else "no"
    for name, value in rows.items():
        if value:
            console.print(f"{name:<17}{value}", highlight=False, markup=False, soft_wrap=True)
    if png is not None:
        console.print(f"{'picture':<17}{png}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def export(
    layer: LayerArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.py", help="Where to write the module.")],
) -> None:
    """Write a layer as a Python module that needs torch alone.

    Example: [bold]evonas export runs/first#1 -o my_layer.py[/bold]
    """
    path = report.export_layer(report.find_layer(layer), output)
    terminal.console().print(f"wrote {path}", highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; errors in what the user gave are one line and exit status 2."""
    try:
        app()
    except InputError as error:
        print(f"evonas: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _fresh(
    file: Path | None, run: Path | None, changes: list[str], initial: list[str]
) -> tuple[config.SearchConfig, RunFolder]:
    if file is None:
        raise InputError("FILE.toml", "not given", accepted="a search, e.g. search_spaces/evonorm_s.toml")
    settings = _starting_from(initial, config.load(file, changes))
    folder = RunFolder(run or Path("runs") / settings.name)
    folder.refuse_existing()
    return settings, folder


def _resumed(
    file: Path | None, run: Path | None, changes: list[str], initial: list[str]
) -> tuple[config.SearchConfig, RunFolder]:
    """The configuration to go on with: what alters no search may change."""
    if run is None and file is None:
        raise InputError("--resume", "which run?", remedy="add --run FOLDER")
    folder = RunFolder(run or Path("runs") / config.load(file or Path()).name).require()
    settings = _starting_from(initial, config.load(file or folder.config_file, changes))
    remedy = "resume without FILE.toml, or start a new run"
    _refuse_changes(settings, folder, ("budget", "execution", "rerank"), str(file or folder.config_file), remedy)
    return settings, folder


def _refuse_changes(
    settings: config.SearchConfig, folder: RunFolder, free: tuple[str, ...], where: str, remedy: str
) -> None:
    """Make sure that only some sections differ from those of the run; which images score may differ in any case."""
    recorded = folder.config()
    scoring = {"data": recorded.data.model_copy(update={"score_on": settings.data.score_on})}
    recorded = recorded.model_copy(update=scoring)  # a search refuses test images by itself
    for name in type(settings).model_fields:
        if name not in free and getattr(settings, name) != getattr(recorded, name):
            raise InputError(
                f"{where}: {name}",
                "differs from what the run was started with",
                accepted=f"that of {folder.config_file}; only {', '.join(free[:-1])} and {free[-1]} may change",
                remedy=remedy,
            )


def _starting_from(initial: list[str], settings: config.SearchConfig) -> config.SearchConfig:
    """The configuration with more initial layers, as texts: a resumed run does not need what they were taken from."""
    if not initial:
        return settings
    space, texts = SearchSpace.from_config(settings.space), list(settings.evolution.initial)
    for name in initial:
        try:
            found = [layer.genome.to_text() for layer in report.find_layers(name)]
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


def _write_png(layer: report.Layer, path: Path) -> None:
    if path.suffix != ".png":
        raise InputError("--png", str(path), accepted="a file that ends in .png")
    to_png(draw_genome(layer.genome, title=layer.name, subtitle=layer.genome.key), path)


def _print_json(data: list[dict[str, Any]]) -> None:
    print(json.dumps(data, indent=2))


if __name__ == "__main__":
    main()
