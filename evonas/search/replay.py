"""A run again, from its record: the same settings, and the same proposals from outside before the same candidates.

Nobody has to propose them again: the new run begins with all of them in its inbox, each with the number of its
candidate. So a replay that is killed goes on like any other run, and needs the old run no more.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evonas.config import BudgetConfig, SearchConfig
from evonas.errors import InputError
from evonas.runs.environment import environment
from evonas.runs.folder import RunFolder
from evonas.runs.provenance import COMPUTING
from evonas.search import inbox
from evonas.search.archive import Archive

EVENT = "replay"  # its detail is the folder of the run that is replayed
_DECIDING = ("revision", "python", *COMPUTING, "cpu", "gpu", "cuda")  # keys of environment.json


def as_far_as_recorded(old: RunFolder, settings: SearchConfig) -> SearchConfig:
    """The settings with the number of the candidates that a run has evaluated as their budget.

    Raises:
        InputError: there are none.
    """
    with Archive.open(old.archive_file, read_only=True) as archive:
        told = archive.told()
    if not told:
        raise InputError(str(old.path), "no candidate is recorded yet", remedy="let it run longer, or name another")
    return settings.model_copy(update={"budget": BudgetConfig(evaluations=told)})


def fill(old: RunFolder, draft: RunFolder) -> None:
    """Put into a new run what it needs to replay an old one."""
    with Archive.open(old.archive_file, read_only=True) as archive, Archive.open(draft.archive_file) as new:
        new.event(EVENT, str(old.path.resolve()))
        for handed_in in archive.handed_in():
            candidate, _, attempt = handed_in.subject.partition("/")
            # what became the candidate was drawn last
            number = int(attempt) if attempt else inbox.LAST
            inbox.put_at(draft.inbox_folder, int(candidate), number, handed_in.genome, handed_in.origin)


def other_environment(old: RunFolder) -> list[str]:
    """In which versions and hardware a run was made, as far as these are others here; numbers may differ by them."""
    try:
        recorded = dict(json.loads((old.path / "environment.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return []
    here = environment()
    return [
        f"{name} {recorded[name]}, here {here[name]}"
        for name in _DECIDING
        if name in recorded and name in here and recorded[name] != here[name]
    ]


def compared(run: RunFolder) -> list[str]:
    """Of a replay, whether it is equal to what it replays, in a line; nothing of other runs."""
    with Archive.open(run.archive_file, read_only=True) as archive:
        origins = [detail for _, kind, detail in archive.events() if kind == EVENT]
        if not origins or not (old := RunFolder(Path(origins[0]))).exists:
            return []
        mine, told = archive.content(), archive.told()
    try:
        with Archive.open(old.archive_file, read_only=True) as archive:
            theirs, recorded = archive.content(), archive.told()
    except InputError as error:
        return [f"{old.path} cannot be compared with: {error}"]
    first = min((*_missing(mine, theirs), *_missing(theirs, mine)), default=told)
    if first < min(told, recorded):
        where = "a baseline" if first < 0 else f"candidate {first}"
        return [f"the replay differs from {old.path} from {where} on: code, versions or hardware are not the same"]
    if told < recorded:
        return [f"the first {told} of {recorded} candidates are replayed, and equal to those of {old.path}"]
    return [
        f"the replay is equal to {old.path}: {recorded} candidates with all that was screened out or measured again"
    ]


_Content = Mapping[str, list[tuple[Any, ...]]]


def _missing(mine: _Content, theirs: _Content) -> Iterator[int]:
    """The candidates of which one archive holds rows that another lacks; -1 is a baseline.

    What a race measured again counts as part of the candidate that was drawn next.
    """
    positions = sorted(row[0] for row in mine["measurements"])
    next_after = {position: position - count for count, position in enumerate(positions)}
    for name in mine:
        for row in {*mine[name]}.difference(theirs[name]):
            kind, _, place = str(row[0]).rpartition(":")
            if name == "measurements" or kind == "measurement":
                yield next_after[int(place)]
            else:
                yield -1 if kind else int(place.partition("/")[0])
