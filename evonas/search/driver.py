"""The loop that drives a search: ask, evaluate, tell, record; and stop, resume or finish cleanly."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from evonas.config import BudgetConfig, SearchConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.runs.interrupt import Interrupts, RunInterruptedError
from evonas.runs.workers import threads
from evonas.search.archive import Archive
from evonas.search.engine import Search, SearchExhaustedError
from evonas.search.execution import Executor, Pending
from evonas.search.making import make_search, require_searchable
from evonas.search.outcome import Candidate, Evaluation


class Ending(Enum):
    """Why a search stopped; the value is the message for people."""

    BUDGET = "the budget is used up"
    EXHAUSTED = "the space gave no new layer any more"
    INTERRUPTED = "interrupted"


class Watcher(Protocol):
    """Sees everything that is told, recorded results of a resumed run included."""

    def baseline(self, name: str, evaluation: Evaluation) -> None:
        """A catalogue layer was evaluated."""
        ...

    def told(self, candidate: Candidate, evaluation: Evaluation, *, recorded: bool) -> None:
        """A candidate was told; ``recorded`` if it comes from the archive of an earlier session of the run."""
        ...


@dataclass
class Clock:
    """Counts the budget: evaluations over the whole run, minutes of driving over all sessions of it."""

    budget: BudgetConfig
    used: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Driving time so far."""
        return self.used + time.monotonic() - self._started

    def fraction(self, told: int) -> float:
        """How much of the budget is used; 0 without a budget."""
        parts = [0.0]
        if self.budget.evaluations:
            parts.append(told / self.budget.evaluations)
        if self.budget.minutes:
            parts.append(self.seconds / (60 * self.budget.minutes))
        return max(parts)

    def over(self, told: int) -> bool:
        """Whether to stop."""
        return self.fraction(told) >= 1


def drive(
    config: SearchConfig,
    archive: Archive,
    executor: Executor,
    watchers: list[Watcher],
    clock: Clock | None = None,
) -> Ending:
    """Run a search to its budget's end, from wherever its archive stands.

    The archive answers first: recorded candidates and evaluations are replayed, then new ones are made. Each
    evaluation is on disk before the next candidate is drawn.

    Raises:
        InputError: what ``require_searchable`` refuses, or rungs without a baseline that could be trained.
    """
    require_searchable(config)
    clock = clock or Clock(config.budget, used=driving_seconds(archive))
    archive.event("started", f"after {archive.told()} candidates")
    # small tensors on more threads than there are idle cores are many times slower: workers keep the cores busy
    with threads(config.execution.threads), Interrupts() as interrupts:
        session = _Session(config, archive, executor, watchers, clock, interrupts)
        try:
            known = _evaluate_baselines(session)
            ending = _evolve(make_search(config, _reference(config, known)), session)
        except RunInterruptedError:
            ending = Ending.INTERRUPTED
    archive.event("stopped", ending.value)
    return ending


def driving_seconds(archive: Archive) -> float:
    """Time earlier sessions of a run have driven it; a killed one counts up to its last told evaluation."""
    marks = [(when, kind) for when, kind, _ in archive.events()] + [(when, "told") for when in archive.told_times()]
    total, start, last = 0.0, None, 0.0
    for when, kind in sorted(marks):
        if kind == "started":
            total += last - start if start is not None else 0.0
            start = when
        last = when
        if kind == "stopped" and start is not None:
            total, start = total + when - start, None
    return total + (last - start if start is not None else 0.0)


@dataclass(frozen=True, slots=True)
class _Session:
    """What one session of a run works with."""

    config: SearchConfig
    archive: Archive
    executor: Executor
    watchers: list[Watcher]
    clock: Clock
    interrupts: Interrupts


def _evaluate_baselines(session: _Session) -> list[Evaluation]:
    """Train the catalogue layers to compare with; they are not gated, since their figures are wanted in any case."""
    known, names = session.archive.baselines(), session.config.baselines
    pending = {name: session.executor.submit(CATALOGUE[name], gated=False) for name in names if name not in known}
    for name in names:
        if name in pending:
            known[name] = session.interrupts.wait(pending[name])
            session.archive.record_baseline(name, known[name])
        for watcher in session.watchers:
            watcher.baseline(name, known[name])
    return [known[name] for name in names]


def _reference(config: SearchConfig, known: list[Evaluation]) -> Evaluation | None:
    """The first baseline that was trained to the end and so has a score at every rung."""
    trained = next((evaluation for evaluation in known if evaluation.rejection is None), None)
    if trained is None and config.rungs.steps:
        found = "none could be trained to the end, and the rungs go by one"
        raise InputError("baselines", found, remedy="start a run with another, or without rungs")
    return trained


def _evolve(search: Search, session: _Session) -> Ending:
    records, limit = session.archive.records(screened_out=True), session.config.budget.evaluations
    waiting: deque[tuple[Candidate, Pending, bool]] = deque()
    exhausted = False
    while True:
        while search.may_ask and not exhausted and not (search.asked >= limit > 0):
            try:
                waiting.append(_next(search, records, session.executor))
            except SearchExhaustedError:
                exhausted = True
        if not waiting:
            return Ending.EXHAUSTED if exhausted else Ending.BUDGET
        candidate, result, recorded = waiting.popleft()
        evaluation = session.interrupts.wait(result)
        if not recorded:
            session.archive.record(candidate, evaluation)
        search.tell(candidate.index, evaluation)
        for watcher in session.watchers:
            watcher.told(candidate, evaluation, recorded=recorded)
        if session.clock.over(search.told) and not any(known for *_, known in waiting):
            return Ending.BUDGET


def _next(
    search: Search, records: Iterator[tuple[Candidate, Evaluation]], executor: Executor
) -> tuple[Candidate, Pending, bool]:
    record = next(records, None)
    if record is None:
        candidate = search.ask()
        return candidate, executor.submit(candidate.genome, hurdles=search.hurdles()), False
    candidate, evaluation = record
    search.ask(candidate)
    return candidate, _known(evaluation), True


def _known(evaluation: Evaluation) -> Callable[[], Evaluation]:
    return lambda: evaluation
