"""What the numbers of a search are made from, and whether a search that goes on is still made from it."""

from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.runs.folder import RunFolder
from evonas.runs.provenance import differences, listed_differences, made_from
from evonas.search.archive import Archive
from evonas.tasks.sources import digests_of
from evonas.training.device import find_device


def sources_of(config: SearchConfig) -> dict[str, str]:
    """Digests of code, data and extensions, versions, and the kind of device, by name.

    Raises:
        InputError: data cannot be read.
    """
    rounds = [task for conditions in config.racing.conditions for task in conditions.tasks]
    data = {
        name: digest
        for task in (*config.tasks, *rounds)
        for name, digest in digests_of(task, config.data, config.text).items()
    }
    return made_from("search", device=find_device(config.execution.device)) | data


def require_same_sources(folder: RunFolder, archive: Archive, config: SearchConfig, *, force: bool) -> None:
    """Make sure that a search goes on with what it was begun with, and record what it goes on with.

    A killed and resumed search ends as one that was never killed only if the data, the code, the versions and the kind
    of device stay the same.

    Args:
        folder: of the run.
        archive: of the run.
        config: of the search.
        force: whether it may go on with something else; the archive then says what differs, and since which candidate.

    Raises:
        InputError: something differs, and ``force`` is not set.
    """
    before, now = archive.made_from(), sources_of(config)
    changed = differences(before, now) if before else {}
    if changed and not force:
        what = listed_differences(changed)
        remedy = "start a new run, or go on all the same with --force, which is recorded"
        raise InputError(str(folder.path), f"was begun with something else: {what}", remedy=remedy)
    for name, change in sorted(changed.items()):
        archive.event("changed", f"{name}: {change}")
    if before != now:
        archive.note_made_from(now)
