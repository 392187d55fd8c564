"""A study from its settings to a held folder, runs, and what is printed of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from evonas.cli import terminal
from evonas.config import section
from evonas.config.section import NamedSection, StudySection
from evonas.report.save import save_report
from evonas.runs.folder import working_folder
from evonas.runs.store import RESULTS, Store
from evonas.studies.study import Study, run_study

AnyStudy = TypeVar("AnyStudy", bound=StudySection)


@dataclass(frozen=True, slots=True)
class StudyKind(Generic[AnyStudy]):
    """What a verb for studies runs.

    Attributes:
        settings: what a file holds.
        prepare: from the settings and the folder to the study; what is wrong with them is said here, before there is
            a folder.
    """

    settings: type[AnyStudy]
    prepare: Callable[[AnyStudy, Path], Study[Any]]


def run_and_print(
    settings: NamedSection, study: Study[Any], folder: Path, *, resume: bool, force: bool, as_json: bool
) -> None:
    """Hold the folder of a study while its runs are done and its report is written, then print that."""
    with (
        terminal.resumable("finished runs are recorded, go on with --resume"),
        working_folder(folder, RESULTS, section.dump(settings), resume=resume) as file,
        Store.open(file) as store,
    ):
        with terminal.JobBar(terminal.console(stderr=True), "runs") as progress:
            report = run_study(study, store, progress, keep_changed=force)
        files = save_report(folder, report)
    terminal.print_report(report, files, as_json=as_json)
