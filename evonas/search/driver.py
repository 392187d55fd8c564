"""The loop that drives a search: ask, evaluate, record, tell; and stop, resume or finish cleanly."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from itertools import takewhile
from typing import Protocol

from evonas.config import SearchConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.runs.interrupt import Interrupts, RunInterruptedError
from evonas.runs.pool import threads
from evonas.search.archive import Archive
from evonas.search.budget import Clock, TimeIsUpError, seconds_of_sessions
from evonas.search.engine import Search, SearchExhaustedError
from evonas.search.execution import EvaluationJob, Executor, Known, Pending
from evonas.search.inbox import Inbox
from evonas.search.making import make_search, require_searchable
from evonas.search.outcome import Candidate, Evaluation, Remeasurement
from evonas.search.probing import Probes
from evonas.search.racing.race import conditions_text
from evonas.search.rungs import Hurdle

WAIT_SECONDS = 0.02  # between looks whether a worker has a result
SHOW_SECONDS = 0.25  # between words on what is being done


class Ending(Enum):
    """Why a search stopped; the value is the message for people."""

    BUDGET = "the budget is used up"
    EXHAUSTED = "the space gave no new layer any more"
    INTERRUPTED = "interrupted"


class Watcher(Protocol):
    """Sees every evaluation, those of earlier sessions of a resumed run included."""

    def baseline(self, name: str, evaluation: Evaluation) -> None:
        """A catalogue layer was evaluated."""
        ...

    def told(self, candidate: Candidate, evaluation: Evaluation, *, recorded: bool) -> None:
        """A candidate was evaluated; ``recorded`` if it comes from the archive of an earlier session of the run."""
        ...

    def measured(self, measurement: Remeasurement, evaluation: Evaluation, *, recorded: bool) -> None:
        """A layer was measured again; ``recorded`` as in ``told``."""
        ...


OnWork = Callable[[Sequence[str]], None]


def unseen(_: Sequence[str]) -> None:
    """Nobody looks at what is being done."""


def drive(
    config: SearchConfig,
    archive: Archive,
    executor: Executor,
    watchers: Sequence[Watcher],
    clock: Clock | None = None,
    on_work: OnWork = unseen,
    inbox: Inbox | None = None,
) -> Ending:
    """Run a search to its budget's end, from wherever its archive stands.

    The archive answers first: recorded candidates and evaluations are replayed, then new ones are made. Results are
    recorded in the order of asking, as soon as they are there. What is unfinished when the time is up is dropped; a
    resumed run asks for it again. A session that finds the budget used up does nothing and is not recorded.

    Args:
        config: the search.
        archive: what is recorded of it so far, and where the rest goes.
        executor: where layers are evaluated.
        watchers: see every evaluation.
        clock: counts the budget.
        on_work: called several times a second with what is being done, a line for each worker and one for the driver.
        inbox: where proposals from outside come in.

    Raises:
        InputError: what ``require_searchable`` refuses, or rungs without a baseline that could be trained.
    """
    require_searchable(config)
    clock = clock or Clock(config.budget, used=seconds_of_sessions(archive))
    archive.count_time(lambda: clock.seconds)
    # small tensors on more threads than there are idle cores are many times slower: workers keep the cores busy
    with threads(config.execution.threads), Interrupts() as interrupts, Probes(config) as probes:
        session = _Session(config, archive, executor, watchers, clock, interrupts, on_work, probes, inbox)
        try:
            session.replay()
            ending = session.work()
        except RunInterruptedError:
            ending = Ending.INTERRUPTED
    if session.began:
        archive.event("stopped", ending.value)
    return ending


@dataclass(slots=True)
class _Asked:
    """A baseline, by its name, a candidate or a layer to be measured again; and its evaluation once it is there."""

    what: str | Candidate | Remeasurement
    pending: Pending
    evaluation: Evaluation | None = None


@dataclass
class _Session:
    """One session of a run.

    Results are told to the search as late as its look-ahead allows: candidate n is drawn after exactly
    max(0, n - look_ahead + 1) results, however many are recorded by then.
    """

    config: SearchConfig
    archive: Archive
    executor: Executor
    watchers: Sequence[Watcher]
    clock: Clock
    interrupts: Interrupts
    on_work: OnWork
    probes: Probes
    inbox: Inbox | None = None
    began: bool = False
    _search: Search | None = None
    _exhausted: bool = False
    _baselines: list[_Asked] = field(default_factory=list)
    _open: deque[_Asked] = field(default_factory=deque)  # the search was not told of their evaluations yet
    _drawing: tuple[int, int] | None = None  # index of a candidate, and proposals screened out on the way to it
    _shown: float = -SHOW_SECONDS

    def replay(self) -> None:
        """Bring the search to where the archive stands; nothing is drawn, screened or trained."""
        known = self.archive.baselines()
        for name in (name for name in self.config.baselines if name in known):
            self._baselines.append(_Asked(name, Known(known[name]), known[name]))
            for watcher in self.watchers:
                watcher.baseline(name, known[name])
        for what, evaluation in self.archive.in_order(screened_out=True):
            search = self._made()
            assert search is not None, "the baseline that rungs and races go by is recorded before any candidate"
            if not search.may_ask:
                self._tell_oldest(search)
            search.ask(what)
            self._clear(what)
            self._open.append(_Asked(what, Known(evaluation), evaluation))
            self._show(what, evaluation, recorded=True)

    def work(self) -> Ending:
        """Evaluate baselines and candidates until nothing is left to do.

        Raises:
            RunInterruptedError: a signal came.
        """
        try:
            self._ask_for_baselines()
            while not self._step():
                pass
        except TimeIsUpError:
            with suppress(TimeIsUpError):  # where a pool has to be renewed for a result
                self._take_ready()
            return Ending.BUDGET
        return Ending.EXHAUSTED if self._exhausted else Ending.BUDGET

    def _ask_for_baselines(self) -> None:
        """They are not gated, since their figures are wanted in any case."""
        known = {asked.what: asked for asked in self._baselines}
        for name in self.config.baselines:
            if name not in known:
                self._begin()
                job = EvaluationJob(CATALOGUE[name], gated=False, label=f"baseline {name}")
                known[name] = _Asked(name, self.executor.submit(job))
        self._baselines = [known[name] for name in self.config.baselines]

    def _step(self) -> bool:
        """Do the next thing: record results, tell one, draw a candidate, or wait; whether nothing is left to do."""
        self._take_ready()
        waited_for, search = self._unfinished(), self._made()
        if search is None or not self._wants_more(search):
            if not waited_for:
                return True
        elif not search.may_ask and self._open[0].evaluation is not None:
            self._tell_oldest(search)
            return False
        elif search.may_ask and (self.executor.eager or not waited_for):
            self._draw(search)
            return False
        if self.executor.eager:
            self.interrupts.wait(partial(self._until_ready, waited_for))
        else:
            self._take(waited_for[0])
        return False

    def _take_ready(self) -> None:
        """Record the results that are there, up to the first that is not."""
        while ready := [asked for asked in self._unfinished() if asked.pending.ready]:
            self.interrupts.check()
            self._take(ready[0])

    def _take(self, asked: _Asked) -> None:
        """Wait for a result and record it."""
        evaluation = self.interrupts.wait(partial(asked.pending, self._tick))
        asked.evaluation = evaluation
        if isinstance(asked.what, str):
            self.archive.record_baseline(asked.what, evaluation)
            for watcher in self.watchers:
                watcher.baseline(asked.what, evaluation)
            return
        if isinstance(asked.what, Candidate):
            self.archive.record(asked.what, evaluation)
        else:
            self.archive.record_measurement(asked.what, evaluation, conditions_text(self.config, asked.what.round))
        self._clear(asked.what)
        self._show(asked.what, evaluation, recorded=False)

    def _show(self, what: Candidate | Remeasurement, evaluation: Evaluation, *, recorded: bool) -> None:
        for watcher in self.watchers:
            if isinstance(what, Candidate):
                watcher.told(what, evaluation, recorded=recorded)
            else:
                watcher.measured(what, evaluation, recorded=recorded)

    def _clear(self, what: Candidate | Remeasurement) -> None:
        """Proposals from outside leave the inbox once the archive has what became of them, and not before."""
        if self.inbox is not None and isinstance(what, Candidate):
            self.inbox.remove(what)

    def _unfinished(self) -> list[_Asked]:
        """The next baseline and the next candidate that are not evaluated yet, as far as there are such."""
        both: tuple[Sequence[_Asked], ...] = (self._baselines, self._open)
        firsts = (next((asked for asked in many if asked.evaluation is None), None) for many in both)
        return [asked for asked in firsts if asked is not None]

    def _until_ready(self, waited_for: Sequence[_Asked]) -> None:
        while not any(asked.pending.ready for asked in waited_for):
            self._tick()
            time.sleep(WAIT_SECONDS)

    def _made(self) -> Search | None:
        """The search; with rungs or a race there is none before the baseline is known that they go by.

        That is the first one that was trained to the end and so has a score at every rung. A race can do without one.
        """
        if self._search is None:
            reference = None
            if self.config.rungs.steps or self.config.racing.every:
                tried = takewhile(lambda asked: asked.evaluation is not None, self._baselines)
                trained = (asked.evaluation for asked in tried if asked.evaluation and not asked.evaluation.rejection)
                reference = next(trained, None)
                if reference is None:
                    if any(asked.evaluation is None for asked in self._baselines):
                        return None
                    if self.config.rungs.steps:
                        found = "none could be trained to the end, and the rungs go by one"
                        raise InputError("baselines", found, remedy="start a run with another, or without rungs")
            self._search = make_search(self.config, reference, self.probes if self.probes.width else None)
        return self._search

    def _wants_more(self, search: Search) -> bool:
        return not self._exhausted and not (search.asked >= self.config.budget.evaluations > 0)

    def _tell_oldest(self, search: Search) -> None:
        oldest = self._open.popleft()
        assert not isinstance(oldest.what, str)
        assert oldest.evaluation is not None
        search.tell(oldest.what.index if isinstance(oldest.what, Candidate) else oldest.what, oldest.evaluation)

    def _draw(self, search: Search) -> None:
        """Ask the search for a candidate, or for a layer to be measured again, and for its evaluation."""
        index = search.asked

        def on_proposal(screened_out: int) -> None:
            self._drawing = (index, screened_out)
            self._tick()

        self._begin()
        if self.inbox is not None:
            self.inbox.hand_over(search)
        try:
            asked = search.ask(on_proposal=on_proposal)
            self._open.append(_Asked(asked, self.executor.submit(self._job(asked, search.hurdles()))))
        except SearchExhaustedError:
            self._exhausted = True
        finally:
            self._drawing = None

    def _job(self, asked: Candidate | Remeasurement, hurdles: tuple[Hurdle, ...]) -> EvaluationJob:
        if isinstance(asked, Candidate):
            return EvaluationJob(asked.genome, hurdles=hurdles, label=f"candidate {asked.index}")
        conditions, seed = self.config.racing.number(asked.round), self.config.in_round(asked.round).seed
        return EvaluationJob(asked.genome, gated=False, seed=seed, label=asked.label, conditions=conditions)

    def _begin(self) -> None:
        """Note that the session works, if there is time for it."""
        self._tick()
        if not self.began:
            self.began = True
            told, seconds = self.archive.told(), self.clock.session_seconds
            self.archive.event("started", f"after {told} candidates", seconds_ago=seconds)

    def _tick(self) -> None:
        """What is done several times a second, whatever else is being done."""
        self.interrupts.check()
        self.clock.check()
        now = self.clock.now()
        if now - self._shown >= SHOW_SECONDS:
            self._shown = now
            self.on_work(self._doing())

    def _doing(self) -> list[str]:
        lines = self.executor.doing()
        if self._drawing is not None:
            lines.append("drawing candidate {}: {} proposals screened out".format(*self._drawing))
        return lines or (["waiting for the workers"] if self.executor.eager else [])
