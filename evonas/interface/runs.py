"""Whole searches from Python: run one, look at one."""

import html
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evonas.config import section
from evonas.config.section import changes_of, override_text
from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.interface.progress import SearchProgress
from evonas.interface.proposals import Proposed, open_door
from evonas.interface.state import state_of
from evonas.layer.lower import NormActLayer, lower
from evonas.report.board import quiet_writers
from evonas.report.console import PlainConsole
from evonas.report.table import written
from evonas.report.trackers import TENSORBOARD, require_boards
from evonas.runs.folder import RunFolder, keep_settings, locked
from evonas.search import best, ranking, replay
from evonas.search.archive import Archive
from evonas.search.boards import open_boards
from evonas.search.budget import Clock, seconds_of_sessions
from evonas.search.cached import CachedExecutor, with_cache
from evonas.search.driver import Ending, drive
from evonas.search.execution import Executor, make_executor, workers_of
from evonas.search.inbox import Inbox, said_of
from evonas.search.making import require_searchable
from evonas.search.outcome import Origin
from evonas.search.ranking import Entry
from evonas.search.sources import require_same_sources
from evonas.search.start import Prepared, Request, create_run, prepare
from evonas.search.verdict import how_to_go_on, verdict

if TYPE_CHECKING:
    import pandas

_SHOWN = 10  # layers that a run shows of itself


@dataclass(frozen=True)
class Run:
    """What a search has found; as it was when the search ended or the run was opened.

    Attributes:
        folder: where the run is kept.
        ending: why it stopped, for people; empty if it is still running or was killed.
        best: its scored layers, best first: ``run.best[0].genome``, ``.formula`` and ``.evaluation.objectives``.
        baselines: the known layers that were trained to compare with, best first.
        advice: what a reader should know: whether the search was long enough to mean anything, and how it goes on.
    """

    folder: Path
    ending: str
    best: Sequence[Entry]
    baselines: tuple[Entry, ...]
    advice: tuple[str, ...] = ()

    def layer(self, rank: int = 1, *, num_features: int) -> NormActLayer:
        """One of the best layers as a torch module, lowered as the search lowered it.

        Args:
            rank: 1 for the best.
            num_features: channels or features of its input.

        Raises:
            InputError: there is no such rank.
        """
        if not 1 <= rank <= len(self.best):
            accepted = f"1 to {len(self.best)}" if self.best else "none: no layer of the run has scores"
            raise InputError("rank", str(rank), accepted=accepted)
        settings = RunFolder(self.folder).config()
        how = settings.layer
        return lower(
            self.best[rank - 1].genome,
            num_features,
            layout=settings.space.layout,
            groups=how.groups,
            eps=how.eps,
            momentum=how.momentum,
        )

    def rows(self) -> list[dict[str, Any]]:
        """Every evaluated candidate, in the order of evaluation: its layer, its parent, its scores or its rejection.

        Where the best layers were measured again, also what is believed of each.
        """
        ranked = ranking.ranking(RunFolder(self.folder))
        believed = {entry.candidate: entry.posterior for entry in ranked} if ranked.is_raced else {}

        def posterior(candidate: int) -> dict[str, Any]:
            found = believed.get(candidate)
            values = (found.mean, found.sd, found.measurements) if found else (None, None, None)
            return dict(zip(("posterior_mean", "posterior_sd", "measurements"), values, strict=True))

        with Archive.open(RunFolder(self.folder).require().archive_file, read_only=True) as archive:
            return [
                {
                    "candidate": candidate.index,
                    "parent": candidate.proposal.parent,
                    "operator": candidate.proposal.operator,
                    "formula": candidate.genome.formula(),
                    "text": candidate.genome.active().to_text(),
                    "nodes": len(candidate.genome.active_positions),
                    "mean": evaluation.mean,
                    **evaluation.objectives,
                    **evaluation.extras,
                    **(posterior(candidate.index) if any(believed.values()) else {}),
                    "stage": evaluation.rejection.stage if evaluation.rejection else None,
                    "reason": evaluation.rejection.reason if evaluation.rejection else None,
                    "screened_out": candidate.reasons.total(),
                    "predicted": candidate.prediction.mean if candidate.prediction else None,
                    "steps": evaluation.steps,
                    "seconds": evaluation.seconds,
                }
                for candidate, evaluation in archive.records(screened_out=True)
            ]

    def propose(self, *layers: Genome | str, by: str = "anonymous", note: str = "") -> list[Proposed]:
        """Hand layers to the search, as ``evonas propose`` does; it tries them before it draws layers of its own.

        A run that is not running takes them when it goes on.

        Example:
            >>> evonas.open_run("runs/first").propose("x * sigmoid(2 * x) / std[ghw](x)", by="me")

        Args:
            layers: catalogue names, formulas, text forms, ``RUN#rank``, .json files, or genomes.
            by: who proposes them.
            note: what is to be kept with them.

        Returns:
            For each layer its ``id``, and in ``foreseen`` why the screens will reject it, or None.

        Raises:
            InputError: one cannot be read or is none of the run's space; none is handed in then.
        """
        door, origin = open_door(RunFolder(self.folder)), Origin(by, note)
        return door.hand_in([(door.genome(layer), origin) for layer in layers])

    def state(self, count: int = 10) -> dict[str, Any]:
        """How the run stands now, as ``evonas state --json`` prints it; see docs/propose.md.

        Args:
            count: how many of the best, of the parents and of the latest layers there are at most.
        """
        return state_of(RunFolder(self.folder), count)

    def to_frame(self) -> "pandas.DataFrame":
        """The ``rows`` as a pandas table, with the candidates' numbers as its index.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            remedy = "pip install pandas, or use rows(), which gives dictionaries"
            raise InputError("to_frame()", "pandas is not installed", remedy=remedy) from None
        rows = self.rows()
        return pandas.DataFrame(rows).set_index("candidate") if rows else pandas.DataFrame()

    def __repr__(self) -> str:
        lines = [f"Run {str(self.folder)!r}: {len(self.best)} layers with scores; {self.ending or 'not ended'}"]
        for entry in (*self.best[:_SHOWN], *self.baselines):
            believed = f"  {entry.posterior}" if entry.posterior else ""
            lines.append(f"  {entry.name:>12}  {written(entry.evaluation.mean)}{believed}  {entry.formula}")
        return "\n".join((*lines, *self.advice))

    def _repr_html_(self) -> str:
        tasks = sorted({task for entry in (*self.best, *self.baselines) for task in entry.evaluation.objectives})
        believed = ("posterior mean",) if any(entry.posterior for entry in self.best) else ()
        header = "".join(f"<th>{html.escape(name)}</th>" for name in ("layer", "formula", *tasks, "mean", *believed))
        rows = []
        for entry in (*self.best[:_SHOWN], *self.baselines):
            scores = [entry.evaluation.objectives.get(task) for task in tasks]
            posterior = (str(entry.posterior or ""),) * len(believed)
            cells = (entry.name, entry.formula, *map(written, scores), written(entry.evaluation.mean), *posterior)
            rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        title = html.escape(f"{self.folder}: {self.ending or 'not ended'}")
        advice = "".join(f"<p>{html.escape(line)}</p>" for line in self.advice)
        return f"<p>{title}</p><table><tr>{header}</tr>{''.join(rows)}</table>{advice}"


def run_search(
    search: str | PathLike[str] | None = None,
    *,
    run: str | PathLike[str] | None = None,
    budget: str | int | None = None,
    workers: int | None = None,
    executor: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    overrides: Mapping[str, object] | Sequence[str] = (),
    start_from: Sequence[str] = (),
    cache: str | PathLike[str] | None = None,
    resume: bool = False,
    replay: str | PathLike[str] | None = None,
    force: bool = False,
    trust: bool = False,
    progress: bool = True,
) -> Run:
    """Search for layers, as ``evonas search`` does; an interrupt of the notebook ends it cleanly.

    In a script, call it under ``if __name__ == "__main__":``, since worker processes import the script.

    Example:
        >>> run = evonas.run_search("evonorm_s", run="runs/first", budget="10m", workers=2)
        >>> run.best[0].formula

    Args:
        search: the name of a search that ships with evonas, or the path of its file; a resumed run needs none.
        run: folder of the run; by default ``runs/`` and the name of the search.
        budget: wall-clock time of the whole run such as ``"90s"``, ``"10m"`` or ``"2h"``, or a number of candidates; by
            default that of the search.
        workers: processes that train; the results do not depend on it. With 0 this one does.
        executor: ``local``, or ``ray`` or ``ray:ADDRESS`` for the workers of a cluster; see docs/cluster.md.
        seed: of everything random.
        device: ``auto``, ``cpu``, ``cuda``, ...
        overrides: keys of the search file and their values, as ``{"training.steps": 50}`` or ``["training.steps=50"]``.
        start_from: layers, or folders of runs, whose layers are the first candidates.
        cache: file of evaluations that runs share.
        resume: go on with a run that was stopped or killed.
        replay: folder of a run that is done again from its record, with the layers that were proposed to it; its
            settings are taken.
        force: go on with a run though its data, the code, versions or the kind of device are others than it was begun
            with; the archive says so.
        trust: import the tasks and extensions of users that the file, or that of the run, names. They are code, which
            can do whatever you can do.
        progress: whether to show on the error stream what is being done.

    Raises:
        InputError: something that was given is wrong; nothing is written then.
    """
    request = Request(
        search=None if search is None else Path(search),
        run=None if run is None else Path(run),
        budget=None if budget is None else str(budget),
        changes=changes(overrides, workers=workers, executor=executor, seed=seed, device=device, cache=cache),
        start_from=tuple(start_from),
        resume=resume,
        replay=None if replay is None else Path(replay),
        force=force,
        trust=trust,
    )
    return conduct(request, SearchProgress(PlainConsole(sys.stderr) if progress else None))


def changes(
    overrides: Mapping[str, object] | Sequence[str],
    *,
    workers: int | None = None,
    executor: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    cache: str | PathLike[str] | None = None,
) -> tuple[str, ...]:
    """Changes of settings as ``a.b=c``: those that are given as such, and those that have an argument of their own."""
    if isinstance(overrides, str):
        raise InputError("overrides", repr(overrides), accepted="a dictionary, or a list of texts such as 'a.b=c'")
    if isinstance(overrides, Mapping):
        overrides = [override_text(key, value) for key, value in overrides.items()]
    given = {
        "seed": seed,
        "execution.workers": workers,
        "execution.executor": executor,
        "execution.device": device,
        "execution.cache": None if cache is None else str(cache),
    }
    return tuple(changes_of(overrides, given))


def open_run(folder: str | PathLike[str]) -> Run:
    """A run that was started earlier, here or by the command line, as far as it is.

    Raises:
        InputError: the folder holds no run.
    """
    run = RunFolder(Path(folder)).require()
    settings = run.config()
    with Archive.open(run.archive_file, read_only=True) as archive:
        ends = [(kind, detail) for _, kind, detail in archive.events() if kind in ("started", "stopped")]
        said = verdict(archive, settings)
    return _seen(run, ends[-1][1] if ends and ends[-1][0] == "stopped" else "", said)


def conduct(request: Request, progress: SearchProgress, started: float | None = None) -> Run:
    """Do what was asked for, and save the best layers.

    Args:
        request: what is asked for.
        progress: shows what is being done.
        started: when the time of the budget began, on the monotonic clock; by default now.

    Raises:
        InputError: something that was given is wrong; nothing is written then.
    """
    started = time.monotonic() if started is None else started
    with progress:
        prepared = prepare(request)
        settings, folder = prepared.settings, prepared.folder
        try:
            require_searchable(settings)  # refuse what cannot run before anything is written
            require_boards(settings.execution.boards)
            progress.say("loading data and networks")
            executor = with_cache(make_executor(settings), settings)
        except InputError as error:
            raise error.at(prepared.source) from None
        if not prepared.resumed:
            create_run(folder.path, settings, prepared.replays)
        with locked(folder), quiet_writers(), Archive.open(folder.archive_file) as archive:
            require_same_sources(folder, archive, settings, force=request.force)
            keep_settings(folder.path, section.dump(settings))  # what the run is driven with from now on
            clock = Clock(settings.budget, used=seconds_of_sessions(archive), started=started)
            ending = _drive(prepared, archive, executor, clock, progress)
            progress.say("saving the best layers")
            best.save_best(folder)
            on = how_to_go_on(folder.path, ending, clock, archive.told(), settings)
            said = verdict(archive, settings)
    left = said_of(folder.inbox_folder)
    return _seen(folder, ending.value, [*replay.compared(folder), *said, *left, on])


def _drive(prepared: Prepared, archive: Archive, executor: Executor, clock: Clock, progress: SearchProgress) -> Ending:
    settings, folder = prepared.settings, prepared.folder
    watch = f"; watch it with: tensorboard --logdir {folder.path}" if TENSORBOARD in settings.execution.boards else ""
    progress.note(f"run {folder.path}{watch}")
    if settings.execution.workers > (enough := workers_of(settings)):
        progress.note(f"note: {enough} workers are started, more would be idle: evolution.look_ahead is {enough}")
    if prepared.replays is not None:
        for line in replay.other_environment(prepared.replays):
            progress.note(f"note: {prepared.replays.path} was made with {line}; scores may differ")
    progress.count(clock, settings.execution.threads)
    inbox = Inbox(folder.inbox_folder, lambda why: archive.event("refused", why))
    boards = open_boards(settings, folder, archive.told(), progress.note)
    try:
        with executor:
            return drive(settings, archive, executor, [progress, *boards], clock, progress.doing, inbox)
    finally:
        progress.say("drawing the last pictures")
        if isinstance(executor, CachedExecutor):
            archive.event("cache", f"{executor.hits} evaluations reused from {settings.execution.cache}")
        for board in boards:
            board.close()


def _seen(folder: RunFolder, ending: str, advice: Sequence[str]) -> Run:
    return Run(folder.path, ending, ranking.ranking(folder), tuple(ranking.baselines(folder)), tuple(advice))
