"""The folder of a run: ``config.toml``, ``environment.json``, ``log.txt``, ``archive.sqlite``, ``tb/``, ``best/``."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from evonas import config
from evonas.errors import InputError
from evonas.files import write_text, write_whole
from evonas.reading import require_plain
from evonas.runs.environment import environment
from evonas.runs.lock import held, is_held
from evonas.runs.log import log_settings, logged
from evonas.runs.store import totals


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where everything about one run lies."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The whole configuration, defaults and overrides included."""
        return self.path / "config.toml"

    @property
    def archive_file(self) -> Path:
        """The archive."""
        return self.path / "archive.sqlite"

    @property
    def board_folder(self) -> Path:
        """TensorBoard's event files; it names a run after its folders, so the last of them has the name of this one."""
        return self.path / "tb" / self.path.resolve().name

    @property
    def best_folder(self) -> Path:
        """The best layers as modules and pictures."""
        return self.path / "best"

    @property
    def inbox_folder(self) -> Path:
        """Where proposals from outside wait."""
        return self.path / "inbox"

    @property
    def rerank_file(self) -> Path:
        """The data of the latest reranking."""
        return self.best_folder / "rerank.json"

    def config(self) -> config.SearchConfig:
        """The configuration the run was started with."""
        return config.load_search(self.config_file)

    @property
    def exists(self) -> bool:
        """Whether a run was started here."""
        return os.path.isfile(self.archive_file) and os.path.isfile(self.config_file)  # false for what is no path

    def require(self) -> "RunFolder":
        """The folder itself if it holds a run.

        Raises:
            InputError: it does not.
        """
        if not self.exists:
            found = "holds no run" if os.path.isdir(self.path) else "no such folder"
            remedy = "start one with: evonas search FILE.toml --run " + str(self.path)
            raise InputError(str(self.path), found, accepted="a folder made by evonas search", remedy=remedy)
        return self

    def refuse_existing(self) -> None:
        """Make sure that a new run can be started here.

        Raises:
            InputError: there is a run, or something else, already.
        """
        require_plain(str(self.path), "run")
        if not self.path.name:
            raise InputError(str(self.path), "has no name of its own", accepted="the folder by its name: ../mine")
        if self.exists:
            remedy = "add --resume to go on with it, or choose another --run folder"
            raise InputError(str(self.path), "a run already exists here", remedy=remedy)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(str(self.path), "exists and is not empty", accepted="a new or empty folder")


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold the run for one driver, and write its log.

    Raises:
        InputError: another process drives the run, or nothing can be written in its folder.
    """
    with held(run.path), logged(run.path):
        yield


def is_driven(run: RunFolder) -> bool:
    """Whether a process drives the run now."""
    return is_held(run.path)


@contextmanager
def working_folder(folder: Path, record: str, settings: str, *, resume: bool) -> Iterator[Path]:
    """Hold a folder of trainings outside a search for one driver, with ``config.toml`` and ``environment.json``.

    Args:
        folder: made if it is not there.
        record: name of the file of results.
        settings: what ``config.toml`` shall say; see ``keep_settings``.
        resume: whether there must be a record already, or must not be.

    Yields:
        Where the record is, or shall be.

    Raises:
        InputError: there is a record and ``resume`` is not set, or the other way round, or the folder holds a search.

    An ``InputError`` of what is done in the folder leaves no trace of it as long as there is no result: the command can
    be corrected and given again.
    """
    file = folder / record
    if RunFolder(folder).exists:
        raise InputError(str(folder), "holds a search", accepted="a new folder, or one that this command made")
    if file.exists() and not resume:
        remedy = "add --resume to go on with it or to add to it, or choose another --run folder"
        raise InputError(str(folder), "holds results already", remedy=remedy)
    if resume and not file.exists():
        raise InputError(str(folder), f"holds no {record} to go on with", remedy="start without --resume")
    before = set(folder.iterdir()) if folder.is_dir() else None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(RunFolder(folder)):
            keep_settings(folder, settings)
            yield file
    except InputError:
        if not resume and not _holds_results(file):
            _empty(folder, before)
        raise


def _holds_results(file: Path) -> bool:
    try:
        return totals(file).count > 0
    except InputError:
        return False


def _empty(folder: Path, before: set[Path] | None) -> None:
    """Delete what has come into a folder, and the folder itself if there was none."""
    for path in set(folder.iterdir()) - (before or set()):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if before is None:
        folder.rmdir()


def keep_settings(folder: Path, settings: str) -> None:
    """Say in ``config.toml`` and ``environment.json`` what a folder is worked with from now on.

    Where either differs from what was there, the earlier two stay as ``config.1.toml`` and ``environment.1.json``,
    ``config.2.toml`` and so on, the oldest first: results were made with them. Another command makes no difference.
    """
    log_settings(settings)
    config_file, environment_file = folder / "config.toml", folder / "environment.json"
    now = {config_file: settings, environment_file: json.dumps(environment(), indent=2) + "\n"}
    before = {file: file.read_text(encoding="utf-8", errors="replace") for file in now if file.exists()}
    environments = [_but_command(texts.get(environment_file, "")) for texts in (before, now)]
    if before.get(config_file) == settings and environments[0] == environments[1]:
        return
    number = next(n for n in count(1) if not any(_numbered(file, n).exists() for file in now))
    for file in before:
        write_whole(_numbered(file, number), partial(shutil.copyfile, file))
    for file, text in now.items():
        write_text(file, text)


def _numbered(file: Path, number: int) -> Path:
    return file.with_suffix(f".{number}{file.suffix}")


def _but_command(recorded: str) -> dict[str, str]:
    """An environment without the command that was typed; nothing where it cannot be read."""
    try:
        found = dict(json.loads(recorded))
    except (ValueError, TypeError, RecursionError):
        return {}
    return {key: value for key, value in found.items() if key != "command"}
