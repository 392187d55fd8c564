"""What every study is: jobs, and a report of what came of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from evonas.config import ExecutionConfig
from evonas.runs.jobs import Jobs, Spec, run_jobs
from evonas.runs.progress import JobProgress
from evonas.runs.store import Outcome, Store


@dataclass(frozen=True, slots=True)
class Study(Generic[Spec]):
    """A study that can be run: its settings are sound, its data and models are there.

    Attributes:
        name: of the study, and of its folder.
        execution: where the jobs are done.
        jobs: the runs of its grid.
        report: writes tables and pictures of the outcomes into a folder, and says what people are shown.
    """

    name: str
    execution: ExecutionConfig
    jobs: Jobs[Spec]
    report: Callable[[Mapping[Spec, Outcome], Path], Any]


def run_study(
    study: Study[Any],
    folder: Path,
    store: Store,
    on_progress: Callable[[JobProgress], None],
    *,
    keep_changed: bool = False,
) -> Any:
    """Do what is not recorded, and report. Arguments and errors: see ``run_jobs``."""
    outcomes = run_jobs(study.jobs, store, study.execution, on_progress, keep_changed=keep_changed)
    return study.report(outcomes, folder)
