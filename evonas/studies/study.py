"""What all studies have in common: jobs, and a report of their outcomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic

from evonas.config import ExecutionConfig
from evonas.errors import InputError, first_line
from evonas.report.save import Report
from evonas.runs.jobs import Jobs, Spec, run_jobs
from evonas.runs.log import LOGGER
from evonas.runs.progress import JobProgress
from evonas.runs.store import Outcome, Store


@dataclass(frozen=True, slots=True)
class Study(Generic[Spec]):
    """A study that can be run: its settings are sound, its data and models are there.

    Attributes:
        name: of the study, and of its folder.
        execution: where the jobs are done.
        jobs: the runs of its grid.
        report: what the outcomes of all jobs say, in tables and pictures.
    """

    name: str
    execution: ExecutionConfig
    jobs: Jobs[Spec]
    report: Callable[[Mapping[Spec, Outcome]], Report]


def run_study(
    study: Study[Spec], store: Store, on_progress: Callable[[JobProgress], None], *, keep_changed: bool = False
) -> Report:
    """Do the jobs that are not recorded, and make the report. Arguments and errors are those of ``run_jobs``.

    Raises:
        InputError: also where recorded results are none of this study.
    """
    outcomes = run_jobs(study.jobs, store, study.execution, on_progress, keep_changed=keep_changed)
    try:
        return study.report(outcomes)
    except InputError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # values that this study would not record
        LOGGER.warning("the report failed", exc_info=True)
        found = f"holds results that cannot be reported ({type(error).__name__}: {first_line(error)})"
        raise InputError(str(store.path), found, remedy="choose a new folder; log.txt of this one says more") from error
