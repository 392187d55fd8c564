"""A study from its settings to a held folder, runs, and what is printed of them."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from evonas.cli import terminal
from evonas.cli.app import Setting
from evonas.cli.job_bar import LOG, JobBar
from evonas.cli.study_command import StudyOptions
from evonas.config import section
from evonas.config.section import Section, StudySection
from evonas.config.trust import require_trust
from evonas.extensions import load_extensions
from evonas.report.save import Report, save_report
from evonas.runs.folder import working_folder
from evonas.runs.progress import JobProgress
from evonas.runs.store import RESULTS, Store
from evonas.studies.study import Study, run_study

AnyStudy = TypeVar("AnyStudy", bound=StudySection)
Work: TypeAlias = Callable[[Store, Callable[[JobProgress], None]], Report]


@dataclass(frozen=True, slots=True)
class StudyKind(Generic[AnyStudy]):
    """What a verb for studies runs.

    Attributes:
        settings: what a file holds.
        prepare: from the settings and the folder to the study; what is wrong with them is said here, before there is
            a folder.
        seeds: the key that holds the seeds; empty if nothing is drawn at random.
        preparation: what ``prepare`` does, in words, for people who wait.
    """

    settings: type[AnyStudy]
    prepare: Callable[[AnyStudy, Path], Study[Any]]
    seeds: str = ""
    preparation: str = "reading the study and its data"


def run_study_file(kind: StudyKind[Any], file: str, options: StudyOptions) -> None:
    """Run the study of a file, with what the options set in it."""
    given: dict[str, Setting] = {kind.seeds: seeds_up_to(options.seeds)} if kind.seeds else {}
    run_prepared(kind, section.load_as(kind.settings, file, options.changes(given)), options)


def run_prepared(kind: StudyKind[AnyStudy], settings: AnyStudy, options: StudyOptions) -> None:
    """Run a study from its settings."""
    require_trust(settings, settings.name, trusted=options.trust)
    load_extensions(settings.extensions)
    folder, console = options.folder(settings.name), terminal.console(stderr=True)
    LOG.info(kind.preparation)
    with console.status(kind.preparation) if console.is_terminal else nullcontext():
        study = kind.prepare(settings, folder)

    def work(store: Store, on_progress: Callable[[JobProgress], None]) -> Report:
        return run_study(study, store, on_progress, keep_changed=options.force)

    run_and_print(settings, folder, options, work)


def run_and_print(settings: Section, folder: Path, options: StudyOptions, work: Work, stem: str = "results") -> None:
    """Hold the folder of a study while its runs are done and its report, named ``stem``, is written; print that."""
    with (
        terminal.resumable("finished runs are recorded, go on with --resume"),
        working_folder(folder, RESULTS, section.dump(settings), resume=options.resume) as file,
        Store.open(file) as store,
    ):
        with JobBar(terminal.console(stderr=True)) as progress:
            report = work(store, progress)
        files = save_report(folder, report, stem)
    terminal.print_report(report, files, as_json=options.as_json)


def seeds_up_to(count: int | None) -> list[int] | None:
    """The seeds 1, 2, ..., which are those of every study's defaults; None if their number is not given."""
    return None if count is None else list(range(1, count + 1))
