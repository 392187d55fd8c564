"""How a run begins: the settings that it was asked for, and its folder, whole or not at all."""

import glob
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evonas import config
from evonas.config import SearchConfig, section
from evonas.config.trust import require_trust
from evonas.errors import InputError
from evonas.extensions import load_extensions
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.runs.environment import environment
from evonas.runs.folder import RunFolder
from evonas.search import named, replay
from evonas.search.archive import Archive
from evonas.search.budget import budget_from_text

_FREE = ("budget", "execution", "rerank")  # what a resumed run may change


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a search: a new run, or that one goes on.

    Attributes:
        search: the search's file, or its name if it ships with evonas; a run that goes on needs none.
        run: the run's folder; by default ``runs/`` and the name of the search.
        budget: as text, see ``budget_from_text``; by default that of the search.
        changes: settings of the search that are changed, as ``a.b=c``.
        start_from: layers or runs whose layers are the first candidates.
        resume: whether a run goes on.
        force: whether a run goes on with other data, code or versions than it was begun with.
        trust: whether the tasks and extensions of users that the file names may be imported.
        replay: a run that is to be done again from its record, proposals from outside included.
        prefix: what the names of arguments begin with, in errors.
    """

    search: str | Path | None = None
    run: str | Path | None = None
    budget: str | None = None
    changes: tuple[str, ...] = ()
    start_from: tuple[str, ...] = ()
    resume: bool = False
    force: bool = False
    trust: bool = False
    replay: str | Path | None = None
    prefix: str = ""

    def named(self, argument: str) -> str:
        """An argument as whoever asked calls it."""
        return self.prefix + (argument.replace("_", "-") if self.prefix else argument)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can begin or go on: its settings, where they come from, its folder, and which run it replays."""

    settings: SearchConfig
    source: str
    folder: RunFolder
    resumed: bool
    replays: RunFolder | None = None


def prepare(request: Request) -> Prepared:
    """The settings and the folder of what was asked for; nothing is written.

    Raises:
        InputError: something in it is wrong, the folder of a new run is taken, or that of another holds no run.
    """
    if request.replay is not None:
        return _replayed(request, RunFolder(Path(request.replay)).require())
    return _resumed(request) if request.resume else _fresh(request)


def _fresh(request: Request) -> Prepared:
    if request.search is None:
        where = "SEARCH" if request.prefix else "search"
        raise InputError(
            where, "not given", accepted="a .toml file, or a name of `evonas list searches`, such as evonorm_s"
        )
    settings = _settings(request, request.search)
    folder = RunFolder(Path(request.run or Path("runs") / settings.name))
    folder.refuse_existing()
    return Prepared(settings, str(request.search), folder, resumed=False)


def _resumed(request: Request) -> Prepared:
    if request.run is None and request.search is None:
        raise InputError(request.named("resume"), "which run?", remedy=f"add {request.named('run')} FOLDER")
    name = config.load_search(Path(request.search)).name if request.run is None and request.search else ""
    folder = RunFolder(Path(request.run or Path("runs") / name)).require()
    source = request.search or folder.config_file
    settings = _settings(request, source)
    refuse_changes(settings, folder, _FREE, str(source), "resume without a search file, or start a new run")
    return Prepared(settings, str(source), folder, resumed=True)


def _replayed(request: Request, old: RunFolder) -> Prepared:
    where = request.named("replay")
    if request.resume:
        run = request.run or "FOLDER"
        remedy = f"leave {where} out: a run goes on as the replay that it is"
        raise InputError(where, f"given together with {request.named('resume')} of {run}", remedy=remedy)
    if request.search is not None:
        remedy = f"leave it out: a replay takes its settings from {old.config_file}"
        raise InputError(where, f"given together with the search {request.search}", remedy=remedy)
    folder = RunFolder(Path(request.run or old.path.with_name(f"{old.path.name}-replay")))
    folder.refuse_existing()
    settings = _settings(request, old.config_file)
    remedy = f"leave it out, or start a run of its own with: evonas search {old.config_file}"
    refuse_changes(settings, old, _FREE, where, remedy)
    if request.budget is None and not any(change.startswith("budget.") for change in request.changes):
        settings = replay.as_far_as_recorded(old, settings)
    return Prepared(settings, str(old.config_file), folder, resumed=False, replays=old)


def _settings(request: Request, source: str | Path) -> SearchConfig:
    argument = request.named("trust") if request.prefix else "trust=True"
    settings = load_with_extensions(Path(source), request.changes, trusted=request.trust, argument=argument)
    if request.budget is not None:
        budget = budget_from_text(request.budget, request.named("budget"))
        settings = settings.model_copy(update={"budget": budget})
    return _starting_from(request, settings)


def _starting_from(request: Request, settings: SearchConfig) -> SearchConfig:
    """The configuration with more initial layers, as texts: a resumed run does not need what they were taken from."""
    if not request.start_from:
        return settings
    space, texts = SearchSpace.from_config(settings.space), list(settings.evolution.initial)
    where = request.named("start_from")
    for name in request.start_from:
        try:
            found = [layer.genome.to_text() for layer in named.find_layers(name)]
        except InputError as error:
            raise error.at(where) from None
        for text in found:
            try:
                space.padded(Genome.from_text(text))
            except InputError as error:
                raise error.at(f"{where} {name}: {text}") from None
        texts += found
    evolution = settings.evolution.model_copy(update={"initial": tuple(dict.fromkeys(texts))})
    return settings.model_copy(update={"evolution": evolution})


def load_with_extensions(
    path: Path, changes: Sequence[str] = (), *, trusted: bool = False, argument: str = "--trust"
) -> SearchConfig:
    """A search from its file, with its extensions loaded.

    Args:
        path: the file.
        changes: settings that are changed, as ``a.b=c``.
        trusted: whether code of users that the file names may be imported.
        argument: what says so, in errors.

    Raises:
        InputError: as ``config.load_search``, ``require_trust`` and ``load_extensions``.
    """
    settings = config.load_search(path, changes)
    require_trust(settings, str(path), trusted=trusted, argument=argument)
    try:
        load_extensions(settings.extensions)
    except InputError as error:
        raise error.at(str(path)) from None
    return settings


def refuse_changes(settings: SearchConfig, folder: RunFolder, free: tuple[str, ...], where: str, remedy: str) -> None:
    """Make sure that only some sections differ from those of the run; which images score may differ in any case."""
    recorded = folder.config()
    scoring = {"data": recorded.data.model_copy(update={"score_on": settings.data.score_on})}
    recorded = recorded.model_copy(update=scoring)  # a search refuses test images by itself
    for name in type(settings).model_fields:
        if name not in free and getattr(settings, name) != getattr(recorded, name):
            raise InputError(
                f"{where}: {name}",
                "differs from what the run was started with",
                accepted=f"that of {folder.config_file}; only {', '.join(free[:-1])} and {free[-1]} may change",
                remedy=remedy,
            )


def _delete_drafts(path: Path) -> None:
    """Delete what killed processes have left of this folder; a draft is named after the process that makes it."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        process = draft.name.split(".")[-2]
        if process.isdecimal() and not Path(f"/proc/{process}").exists() and Path("/proc/self").exists():
            shutil.rmtree(draft, ignore_errors=True)


def create_run(path: Path, settings: SearchConfig, replays: RunFolder | None = None) -> RunFolder:
    """Make the folder of a new run, whole or not at all; what it needs to replay another is in it.

    Raises:
        InputError: there is something at ``path`` already.
    """
    run = RunFolder(path)
    run.refuse_existing()
    path.parent.mkdir(parents=True, exist_ok=True)
    _delete_drafts(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    draft.mkdir()
    try:
        (draft / "config.toml").write_text(section.dump(settings), encoding="utf-8")
        (draft / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
        Archive.create(draft / "archive.sqlite").close()
        if replays is not None:
            replay.fill(replays, RunFolder(draft))
        draft.replace(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return run
