"""Whether the folder of a search is whole, and copies of it: as it is at a moment, or what is whole of it."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evonas.errors import InputError
from evonas.interface.proposals import require_loaded
from evonas.runs.folder import RunFolder, is_driven
from evonas.runs.lock import LOCK
from evonas.runs.log import LOG
from evonas.runs.store import RESULTS
from evonas.search import inbox
from evonas.search.archive import Archive
from evonas.search.archive.checking import check
from evonas.search.archive.copying import back_up, salvage
from evonas.search.archive.damage import DamagedError
from evonas.search.outcome import one_line
from evonas.search.redraw import redraw

FORMAT = "evonas-verify/1"
_SETTINGS = re.compile(r"config(\.\d+)?\.toml|environment(\.\d+)?\.json")
_DRAFT = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.new")
_BESIDE = ("-wal", "-shm", "-journal")  # of SQLite


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found in the folder of a search.

    Attributes:
        run: the folder.
        counts: how much is recorded of each kind; None where that cannot be read.
        faults: what is not as it should be, a line each.
        remarks: what lies there besides, a line each; it does no harm.
        redrawn: how many candidates were drawn again; None if that was not asked for.
    """

    run: Path
    counts: dict[str, int | None]
    faults: tuple[str, ...]
    remarks: tuple[str, ...]
    redrawn: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether everything that is recorded is as it should be."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """What ``evonas verify --json`` prints."""
        return {
            "format": FORMAT,
            "run": str(self.run),
            "whole": self.is_whole,
            "recorded": self.counts,
            "faults": list(self.faults),
            "remarks": list(self.remarks),
            "redrawn": self.redrawn,
        }


def verify(run: RunFolder, *, replay: bool = False) -> Verified:
    """Look at every row of a run's archive and at what else lies in its folder. The run may be running.

    Args:
        run: its folder.
        replay: whether to draw the latest candidates again and to compare them with what is recorded.

    Raises:
        InputError: there is no run, its settings cannot be read, its archive is of an unknown format, or it needs an
            extension that is not loaded.
    """
    settings = run.require().config()
    require_loaded(run, settings)
    checked = check(run.archive_file)
    faults, redrawn = list(checked.faults), None
    if replay and not faults:
        try:
            with Archive.open(run.archive_file, read_only=True) as archive:
                found = redraw(settings, archive)
            redrawn = found.candidates
            faults += [f"drawn again: {found.difference}"] if found.difference else []
        except DamagedError as error:
            faults.append(f"drawn again: {error.found}")
    counts = {
        "candidates": checked.candidates,
        "baselines": checked.baselines,
        "measurements": checked.measurements,
        "screened out": checked.screened_out,
    }
    return Verified(run.path, counts, tuple(faults), tuple(_remarks(run)), redrawn)


def copy_run(run: RunFolder, folder: Path, *, damaged: bool = False) -> list[str]:
    """Write a copy of a run that can be gone on with; the run may be running unless it is damaged.

    Args:
        run: its folder.
        folder: of the copy; it must not be there.
        damaged: whether to copy the longest whole beginning of a damaged archive.

    Returns:
        What to tell people, a line each.

    Raises:
        InputError: there is no run, the folder is taken, or nothing can be read or written.
    """
    settings = run.require().config()
    RunFolder(folder).refuse_existing()
    if damaged and is_driven(run):
        raise InputError(str(run.path), "another process is driving this run", remedy="wait for it, or stop it")
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        target = RunFolder(draft)
        _copy_texts(run, target)  # before the archive: what leaves the inbox is in the archive by then
        if damaged:
            needs = settings.baselines[:1] if settings.rungs.steps or settings.racing.every else ()
            saved = salvage(run.archive_file, target.archive_file, needs=needs)
            of = "" if saved.recorded is None else f" of {saved.recorded}"
            said = [f"saved {saved.candidates}{of} candidates and {len(saved.baselines)} baselines in {folder}"]
            said += [f"it ends there because of {saved.reason}"] if saved.reason else []
        else:
            back_up(run.archive_file, target.archive_file)
            with Archive.open(target.archive_file, read_only=True) as archive:
                said = [f"copied {archive.told()} candidates to {folder}"]
        draft.replace(folder)
    except OSError as error:
        raise InputError(str(folder), f"cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return said


def _copy_texts(run: RunFolder, target: RunFolder) -> None:
    for path in sorted(run.path.iterdir()):
        if _SETTINGS.fullmatch(path.name) or path.name == LOG:
            shutil.copyfile(path, target.path / path.name)
    if waiting := inbox.waiting(run.inbox_folder):
        target.inbox_folder.mkdir()
        for name in waiting:
            source = run.inbox_folder / name
            if source.is_file() and not source.is_symlink():
                shutil.copyfile(source, target.inbox_folder / name)


def _remarks(run: RunFolder) -> Iterator[str]:
    """What lies in the folder and beside it that a run does not need."""
    folder, archive = run.path, run.archive_file
    own = {run.config_file, archive, run.best_folder, run.inbox_folder, folder / LOG, folder / LOCK, folder / "tb"}
    beside = {file.with_name(file.name + end) for file in (archive, folder / RESULTS) for end in _BESIDE}
    for path in sorted(folder.iterdir()):
        results = path.name.startswith(Path(RESULTS).stem)  # what evonas rerank keeps
        known = results or _SETTINGS.fullmatch(path.name) or _DRAFT.fullmatch(path.name)
        if path not in own | beside and not known:
            yield f"{one_line(path.name)}: unknown here"
    log = archive.with_name(f"{archive.name}-wal")
    if not is_driven(run) and log.exists() and log.stat().st_size:
        yield f"{log.name}: holds the latest results; whoever copies the archive has to copy it, too, or evonas backup"
    yield from _inbox(run)
    places = (*folder.rglob(".*.new"), *folder.resolve().parent.glob(f".{folder.resolve().name}.*.new"))
    for path in sorted(places):
        found = _DRAFT.fullmatch(path.name)
        if found and not Path(f"/proc/{found['process']}").exists():
            yield f"{path}: left behind by a process that is gone; it can be removed"


def _inbox(run: RunFolder) -> Iterator[str]:
    try:
        with Archive.open(run.archive_file, read_only=True) as archive:
            recorded = {f"{each.origin.id}.json" for each in archive.handed_in()}
    except InputError:
        recorded = set()
    waiting = inbox.waiting(run.inbox_folder)
    if done := [name for name in waiting if name in recorded]:
        yield f"inbox: {len(done)} proposals that are recorded already; they go when the run goes on"
    if rest := len(waiting) - len(done):
        yield f"inbox: {rest} {'proposals wait' if rest > 1 else 'proposal waits'}"
    aside = run.inbox_folder / inbox.REFUSED
    if aside.is_dir() and (count := len(list(aside.iterdir()))):
        yield f"inbox: {count} that could not be taken, in {aside}"
