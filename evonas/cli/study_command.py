"""What the verbs for studies share: options, and the way from a file to a held folder, runs, and a table."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from evonas.cli import terminal
from evonas.cli.app import INTERRUPTED, DeviceOption, ForceOption, JsonOption, ResumeOption, WorkersOption, app
from evonas.config import section
from evonas.config.section import NamedSection, StudySection
from evonas.extensions import load_extensions
from evonas.report.save import save_report
from evonas.runs.folder import working_folder
from evonas.runs.interrupt import RunInterruptedError
from evonas.runs.store import RESULTS, Store
from evonas.studies.study import Study, run_study

RunOption = Annotated[Path | None, typer.Option(help="Where everything goes; default: runs/<name>.")]
AnyStudy = TypeVar("AnyStudy", bound=StudySection)


def add_study(
    name: str, settings: type[AnyStudy], prepare: Callable[[AnyStudy, Path], Study[Any]], description: str
) -> None:
    """Add a verb that runs the studies of FILE.toml.

    Args:
        name: of the verb.
        settings: what a file holds.
        prepare: from the settings and the folder to the study; what is wrong with them is said here, before there is
            a folder.
        description: for ``--help``.
    """

    def command(
        file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The study.")],
        run: RunOption = None,
        resume: ResumeOption = False,
        overrides: Annotated[
            list[str] | None, typer.Option("--set", metavar="a.b=c", help="Set a key of the file; may be repeated.")
        ] = None,
        workers: WorkersOption = None,
        device: DeviceOption = None,
        force: ForceOption = False,
        as_json: JsonOption = False,
    ) -> None:
        study = section.load_as(settings, file, _changes(overrides, workers, device))
        load_extensions(study.extensions)
        folder = run or Path("runs") / study.name
        run_and_print(study, prepare(study, folder), folder, resume=resume, force=force, as_json=as_json)

    app.command(name=name, help=description)(command)


def run_and_print(
    settings: NamedSection, study: Study[Any], folder: Path, *, resume: bool, force: bool, as_json: bool
) -> None:
    """Hold the folder of a study while its runs are done and its report is written, then print that."""
    console = terminal.console(stderr=True)
    with (
        working_folder(folder, RESULTS, section.dump(settings), resume=resume) as file,
        Store.open(file) as store,
    ):
        try:
            with terminal.JobBar(console, "runs") as progress:
                report = run_study(study, store, progress, keep_changed=force)
        except (RunInterruptedError, KeyboardInterrupt):
            console.print("interrupted; finished runs are recorded, go on with --resume", highlight=False)
            raise typer.Exit(INTERRUPTED) from None
        files = save_report(folder, report)
    terminal.print_report(report, files, as_json=as_json)


def _changes(overrides: list[str] | None, workers: int | None, device: str | None) -> list[str]:
    """What options set in a study file, as overrides."""
    changes = [*(overrides or []), *([f"execution.workers={workers}"] if workers is not None else [])]
    return changes + ([f"execution.device={json.dumps(device)}"] if device is not None else [])
