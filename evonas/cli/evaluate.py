"""``evonas rerank`` and ``evonas evaluate``: layers trained side by side under several seeds."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from evonas.cli.app import (
    DeviceOption,
    ExecutorOption,
    ForceOption,
    JsonOption,
    RunArgument,
    Setting,
    TrustOption,
    WorkersOption,
    changes_of,
    shipped_names,
)
from evonas.cli.study_command import StudyOptions, with_study_options
from evonas.errors import InputError

if TYPE_CHECKING:
    from evonas.report.save import Report
    from evonas.runs.progress import JobProgress
    from evonas.runs.store import Store

DEFAULT_SEEDS = 3


def rerank(
    run: RunArgument,
    top: Annotated[int | None, typer.Option(min=1, help="How many of the best layers; rerank.top.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds; rerank.seeds.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; rerank.steps.")] = None,
    margin_over: Annotated[
        str | None, typer.Option(help="Rank by the smallest gain over this baseline on any task; rerank.margin_over.")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Score on test images, for a final comparison.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="a.b=c", help="Set a key of rerank or execution; may be repeated."),
    ] = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    device: DeviceOption = None,
    force: ForceOption = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """A run's best layers trained again under fresh seeds, beside the baselines; the best of them are kept.

    Example: [bold]evonas rerank runs/first --seeds 5 --steps 500 --workers 2[/bold]

    Stop with Ctrl-C; the same command goes on. More seeds or layers reuse what is trained already.
    """
    from evonas.cli import terminal
    from evonas.cli.job_bar import JobBar
    from evonas.compare import rerank as reranking
    from evonas.config import section
    from evonas.report.board import TensorBoard
    from evonas.report.save import show_report
    from evonas.runs.folder import RunFolder, locked
    from evonas.runs.log import log_settings
    from evonas.runs.store import RESULTS, Store
    from evonas.search.archive import Archive
    from evonas.search.start import load_with_extensions, refuse_changes

    folder = RunFolder(run).require()
    given: dict[str, Setting] = {
        "rerank.top": top,
        "rerank.seeds": seeds,
        "rerank.steps": steps,
        "rerank.margin_over": margin_over,
    }
    given |= {"execution.workers": workers, "execution.executor": executor, "execution.device": device}
    changes = changes_of(overrides, given | _scored(test=test))
    settings = load_with_extensions(folder.config_file, changes, trusted=trust)
    console = terminal.console(stderr=True)
    refuse_changes(settings, folder, ("rerank", "execution"), str(folder.config_file), "start a new run")
    with (
        terminal.resumable("finished trials are recorded, the same command goes on"),
        locked(folder),
        Store.open(folder.path / RESULTS) as store,
    ):
        log_settings(section.dump(settings))
        with JobBar(console, "trials") as progress:
            found = reranking.rerank(folder, settings, store, progress, keep_changed=force)
        with Archive.open(folder.archive_file, read_only=True) as archive:
            step = max(archive.told() - 1, 0)  # a resumed search drops what stands at its own steps and later
        report = reranking.reranking_report(folder, found)
        with TensorBoard(folder.board_folder) as board:
            show_report(board, report, "rerank", step)
    terminal.print_report(report, reranking.save_reranking(folder, found, report), as_json=as_json)


@with_study_options
def evaluate(
    layers: Annotated[
        list[str],
        typer.Argument(metavar="LAYER...", help="Catalogue names, formulas, text forms, RUN#rank or .json files."),
    ],
    options: StudyOptions,
    settings: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY",
            help="Networks, data, training and lowering: the .toml file of a comparison or of a search, or a name of "
            "`evonas list`.",
            autocompletion=shipped_names("comparison", "search"),
        ),
    ] = None,
    arch: Annotated[
        str, typer.Option(metavar="A,B,...", help="Networks or tasks; default: those of --settings, or small ones.")
    ] = "",
    data: Annotated[
        str,
        typer.Option(
            metavar="D,...",
            help="digits, fashion_mnist, cifar10, npz:FILE, garments, coco:FOLDER; default: that of --settings.",
        ),
    ] = "",
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; training.steps.")] = None,
    batch_sizes: Annotated[
        str,
        typer.Option(
            metavar="2,8,...",
            help="Batch sizes to compare; the number of images seen is fixed and the learning rate scales linearly.",
        ),
    ] = "",
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="To compare with; may be repeated. Default: those of --settings, or bn-relu."
        ),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Score on test images, for a final comparison.")] = False,
    costs: Annotated[bool, typer.Option(help="Measure time, memory and parameters.")] = True,
) -> None:
    """Any layers on any networks and data: accuracy under several seeds, differences, time and memory.

    Example: [bold]evonas evaluate evonorm-s0 gn-relu 'runs/first#1' --arch preact_resnet,timm:regnetx_002
    --data digits,fashion_mnist --steps 200 --seeds 3 --workers 2[/bold]

    Batch-size sensitivity: [bold]--batch-sizes 2,8,32,128[/bold]. A task of your own:
    [bold]--arch my_package.tasks:my_task[/bold].

    There are 3 seeds by default.
    """
    from evonas import config
    from evonas.cli import terminal
    from evonas.cli.study_run import run_and_print
    from evonas.compare.columns import columns_of, contenders_of, find_data, find_task
    from evonas.compare.report import matrix_report
    from evonas.compare.run import run_matrix
    from evonas.compare.trials import fresh_seeds
    from evonas.config.trust import require_trust
    from evonas.extensions import load_extensions
    from evonas.search import named

    read = config.load_comparison(settings, options.changes({"training.steps": steps} | _scored(test=test)))
    found = read.config
    names = _listed(arch) or ([] if settings else ["preact_resnet", "mobilenet_v2"])
    tasks = [find_task(name, found if settings else None) for name in names] or found.tasks
    # what is typed with --arch needs no trust
    of_file = found.model_copy(update={"tasks": tuple(task for task in tasks if task in found.tasks)})
    require_trust(of_file, settings or "--set", trusted=options.trust)
    load_extensions(found.extensions)
    if read.unread:
        said = f"note: {settings} is a search; its {', '.join(read.unread)} do not count here"
        terminal.console(stderr=True).print(said, soft_wrap=True)
    datasets = [find_data(name, found) for name in _listed(data)]
    columns = columns_of(found, tasks, datasets, _batch_sizes(batch_sizes))
    contenders = contenders_of({text: named.find_layer(text) for text in layers}, baseline or found.baselines)
    seeds = fresh_seeds(found, options.seeds or DEFAULT_SEEDS)
    shown = dict.fromkeys(column.learned_from for column in columns.values())
    length = f"{found.training.steps} steps of {found.training.batch_size} samples"
    title = f"{found.name}: {', '.join(shown)} ({found.data.score_on} samples), {length}"

    def work(store: "Store", on_progress: "Callable[[JobProgress], None]") -> "Report":
        matrix = run_matrix(
            title, columns, contenders, seeds, store, on_progress, costs=costs, keep_changed=options.force
        )
        return matrix_report(matrix)

    run_and_print(found, options.folder(f"evaluate-{found.name}"), options, work)


def _scored(*, test: bool) -> dict[str, Setting]:
    return {"data.score_on": "test"} if test else {}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _batch_sizes(text: str) -> list[int]:
    parts = _listed(text)
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError("--batch-sizes", repr(text), accepted="whole numbers above 0, e.g. 2,8,32,128")
    return [int(part) for part in parts]
