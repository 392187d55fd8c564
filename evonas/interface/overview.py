"""The runs below a folder: what each is, how it stands and what it has found, whatever is wrong with one of them."""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from evonas.config.section import read_toml
from evonas.errors import InputError, first_line
from evonas.limits import LARGEST_RECORD
from evonas.reading import parse_json, read_given
from evonas.runs.folder import RunFolder, is_driven
from evonas.runs.log import last_ending
from evonas.runs.store import RESULTS, totals
from evonas.search.archive import Archive
from evonas.search.driver import Ending
from evonas.search.ranking import ranking

REPORT, CERTIFIED = "results.json", "certificate.json"
KEPT = "kept"  # a folder of results that are kept for good; they would hide one's own runs
EARLIER = ("study.sqlite", "trials.sqlite")  # of versions before 0.1
_LATEST = 2.0**37  # seconds since 1970 that a date can still be made of
SEARCH, EVALUATION, CERTIFICATE, STUDY = "search", "evaluation", "certificate", "study"
RUNNING, FINISHED, STOPPED = "running", "finished", "stopped"
INTERRUPTED, KILLED, FAILED = "interrupted", "killed", "failed"


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What can be said of a run without opening it.

    Attributes:
        folder: where it is.
        kind: search, evaluation, certificate or study.
        state: running; finished; interrupted by the user; killed from outside; failed with an error; or stopped, if
            it is not finished and nothing says why.
        score: mean score of its best layer; None if it has none.
        formula: of the best layer.
        evaluations: how many trainings or measurements are recorded.
        core_hours: the time that they took, times the threads of each.
        changed: Unix time of the last change.
        problem: why something of it cannot be said; empty if nothing is wrong.
    """

    folder: Path
    kind: str = ""
    state: str = ""
    score: float | None = None
    formula: str = ""
    evaluations: int | None = None
    core_hours: float | None = None
    changed: float = 0.0
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """What ``evonas runs --json`` prints of it."""
        when = datetime.fromtimestamp(self.changed, UTC).isoformat(timespec="seconds")
        return asdict(self) | {"folder": str(self.folder), "changed": when}


def find_runs(root: Path) -> list[RunSummary]:
    """The runs at and below a folder, those that changed last first; kept results only if theirs is the folder.

    Raises:
        InputError: there is no such folder.
    """
    if not root.is_dir():
        raise InputError(str(root), "no such folder", accepted="a folder with runs, e.g. runs")
    unreadable: list[OSError] = []
    found = [summarize(folder) for folder in _folders(root, unreadable)]
    found += [RunSummary(Path(error.filename), problem=first_line(error)) for error in unreadable]
    return sorted(found, key=lambda run: (-run.changed, run.folder))


def summarize(folder: Path) -> RunSummary:
    """What can be said of the run in a folder; ``problem`` says why no more."""
    summary = RunSummary(folder)
    for step in (_with_kind, _with_state, _with_best):
        try:
            summary = step(summary)
        except (InputError, OSError) as error:
            return replace(summary, problem=first_line(error).removeprefix(f"{folder}{os.sep}"))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, sqlite3.Error) as error:
            # it does not hold what it should
            return replace(summary, problem=f"cannot be read ({type(error).__name__}: {first_line(error)})")
        if summary.problem:
            break
    return summary


def _folders(root: Path, unreadable: list[OSError]) -> Iterator[Path]:
    for name, folders, files in os.walk(root, onerror=unreadable.append):
        if any(record in files for record in ("config.toml", "archive.sqlite", RESULTS, REPORT, CERTIFIED, *EARLIER)):
            yield Path(name)
        hidden = (folder for folder in folders if folder.startswith(".") or (folder == KEPT and name == str(root)))
        folders[:] = sorted({*folders}.difference(hidden))


def _settings(summary: RunSummary) -> dict[str, Any]:
    return read_toml(summary.folder / "config.toml")


def _with_kind(summary: RunSummary) -> RunSummary:
    folder = summary.folder
    texts = [path for name in ("config.toml", REPORT, CERTIFIED) if (path := folder / name).exists()]
    summary = replace(summary, changed=max((path.stat().st_mtime for path in texts), default=0.0))
    settings = _settings(summary)
    if RunFolder(folder).exists:
        return replace(summary, kind=SEARCH)
    if any((folder / name).exists() for name in (RESULTS, REPORT, CERTIFIED)):
        evaluation = CERTIFICATE if "ladder" in settings else EVALUATION
        return replace(summary, kind=evaluation if {"tasks", "training"} <= set(settings) else STUDY)
    early = [name for name in EARLIER if (folder / name).exists()]
    return replace(summary, problem=f"{early[0]} is of an earlier version" if early else "its records are not here")


def _with_state(summary: RunSummary) -> RunSummary:
    count: int | None
    seconds: float | None
    if summary.kind == SEARCH:
        count, seconds, changed, state = _totals_of_search(summary.folder)
    else:
        count, seconds, changed, state = _totals_of_results(summary.folder, summary.kind)
    if is_driven(RunFolder(summary.folder)):
        state = RUNNING
    threads = int(_settings(summary).get("execution", {}).get("threads", 1))
    hours = None if seconds is None or not isfinite(seconds) else seconds * threads / 3600
    changed = max(summary.changed, changed if 0 <= changed < _LATEST else 0.0)
    return replace(summary, state=state, evaluations=count, core_hours=hours, changed=changed)


def _totals_of_search(folder: Path) -> tuple[int, float, float, str]:
    """Evaluations, their seconds, when the last change was, and the state if nothing drives it."""
    with Archive.open(RunFolder(folder).archive_file, read_only=True) as archive:
        sessions = [(kind, detail) for _, kind, detail in archive.events() if kind in ("started", "stopped")]
        changed = archive.last_time()
        told, seconds = archive.told(), archive.evaluation_seconds()
    kind, detail = sessions[-1] if sessions else ("", "")
    if kind != "stopped":
        return told, seconds, changed, _ended_early(folder)
    return told, seconds, changed, INTERRUPTED if detail == Ending.INTERRUPTED.value else FINISHED


def _totals_of_results(folder: Path, kind: str) -> tuple[int | None, float | None, float, str]:
    """The same of an evaluation or a study; it is finished once everything recorded is reported."""
    record, report = folder / RESULTS, folder / (CERTIFIED if kind == CERTIFICATE else REPORT)
    if not record.exists():
        return None, None, 0.0, FINISHED  # and kept without its records
    found = totals(record)
    reported = report.exists() and report.stat().st_mtime >= found.last
    return found.count, found.seconds, found.last, FINISHED if reported else _ended_early(folder)


def _with_best(summary: RunSummary) -> RunSummary:
    if summary.kind == SEARCH:
        best = next(iter(ranking(RunFolder(summary.folder), 1)), None)
        return replace(summary, score=best.score, formula=best.formula) if best else summary
    report = summary.folder / REPORT
    if summary.kind != EVALUATION or not report.exists():
        return summary
    layers = parse_json(read_given(report, largest=LARGEST_RECORD), str(report))["layers"]
    scored = [layer for layer in layers if not layer["baseline"] and layer["mean"]]
    first = max(scored, key=lambda layer: float(layer["mean"]["mean"]), default=None)
    return replace(summary, score=first["mean"]["mean"], formula=first["formula"]) if first else summary


def _ended_early(folder: Path) -> str:
    """The state of a run that neither runs nor has come to its end, by its log."""
    said = last_ending(folder)
    if said is None:
        return STOPPED
    if not said:
        return KILLED
    return INTERRUPTED if "Interrupt" in said else FAILED
