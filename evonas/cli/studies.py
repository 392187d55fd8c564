"""``evonas stability`` and ``evonas hypernet``: studies, which are grids of runs."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from evonas import config, terminal
from evonas.cli.app import INTERRUPTED, JsonOption, app
from evonas.config import Section
from evonas.evaluate.interrupt import RunInterruptedError
from evonas.evaluate.tally import Tally
from evonas.hypernet import results as hypernet_results
from evonas.hypernet import show as hypernet_show
from evonas.hypernet import study as hypernet_study
from evonas.record.results import Results
from evonas.record.run import working_folder
from evonas.stability import show as stability_show
from evonas.stability import study as stability_study
from evonas.stability import sweeps

Found = TypeVar("Found")

StudyArgument = Annotated[Path, typer.Argument(metavar="FILE.toml", help="The study.")]
RunOption = Annotated[Path | None, typer.Option(help="Where everything goes; default: runs/<name>.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with, or add to, what the folder holds.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Set a key of the file; may be repeated.")
]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Processes; the results do not depend on it.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, ...")]


@app.command(name="stability")
def stability_command(
    file: StudyArgument,
    run: RunOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """How sensitive small transformers are to their learning rate: sizes x learning rates x interventions x seeds.

    Example: [bold]evonas stability studies/qk_layernorm.toml --workers 2[/bold]

    Finished runs are kept: after Ctrl-C the same command with --resume goes on.
    """
    found = config.load_as(stability_study.StudyConfig, file, changes_of(overrides, workers, device))
    pieces, folder = stability_study.pieces_of(found), run or Path("runs") / found.name
    outcomes = run_held(
        found, folder, lambda record, watch: stability_study.run_pieces(found, pieces, record, watch), resume=resume
    )
    swept = sweeps.sweeps_of(outcomes)
    files = stability_show.save_study(found.name, outcomes, swept, folder)
    rows = [stability_show.table_cells(sweep) for sweep in swept]
    print_study(found.name, stability_show.COLUMNS, rows, files, sweeps.study_json(swept), as_json=as_json)


@app.command(name="hypernet")
def hypernet_command(
    file: StudyArgument,
    run: RunOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """How fast hypernetworks learn: parametrizations x optimizers x learning rates x activations x norms x seeds.

    Example: [bold]evonas hypernet studies/mip_digits.toml --workers 2[/bold]

    Finished runs are kept: after Ctrl-C the same command with --resume goes on.
    """
    found = config.load_as(hypernet_study.StudyConfig, file, changes_of(overrides, workers, device))
    pieces, folder = hypernet_study.pieces_of(found), run or Path("runs") / found.name
    outcomes = run_held(
        found, folder, lambda record, watch: hypernet_study.run_pieces(found, pieces, record, watch), resume=resume
    )
    groups = hypernet_results.groups_of(outcomes)
    files = hypernet_show.save_study(found.name, outcomes, groups, folder)
    rows = [hypernet_show.table_cells(group, groups) for group in groups]
    print_study(found.name, hypernet_show.COLUMNS, rows, files, hypernet_results.study_json(groups), as_json=as_json)


def run_held(
    settings: Section, folder: Path, work: Callable[[Results, Callable[[Tally], None]], Found], *, resume: bool
) -> Found:
    """Hold the folder of a study while its runs are done."""
    console = terminal.console(stderr=True)
    with (
        working_folder(folder, "study.sqlite", config.dump(settings), resume=resume) as file,
        Results.open(file) as record,
    ):
        try:
            with terminal.TrialProgress(console, "runs") as progress:
                return work(record, progress)
        except (RunInterruptedError, KeyboardInterrupt):
            console.print("interrupted; finished runs are recorded, go on with --resume", highlight=False)
            raise typer.Exit(INTERRUPTED) from None


def print_study(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    files: Sequence[Path],
    found: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    """The table and the files that were written, or JSON."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    console = terminal.console()
    console.print(terminal.plain_table(title, columns, rows))
    for path in files:
        console.print(f"wrote {path}", highlight=False, soft_wrap=True)


def changes_of(overrides: list[str] | None, workers: int | None, device: str | None) -> list[str]:
    """What options set in a study file, as overrides."""
    changes = [*(overrides or []), *([f"execution.workers={workers}"] if workers is not None else [])]
    return changes + ([f"execution.device={json.dumps(device)}"] if device is not None else [])
