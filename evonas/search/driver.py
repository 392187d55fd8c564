"""The loop that drives a search: ask, evaluate, tell, record; and stop, resume or finish cleanly."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Protocol

from evonas.config import ARCHITECTURES, BudgetConfig, SearchConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE, catalogued, catalogued_or_text
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.runs.interrupt import Interrupts, RunInterruptedError
from evonas.runs.workers import threads
from evonas.search.archive import Archive
from evonas.search.engine import Search, SearchExhaustedError
from evonas.search.execution import Executor, Pending
from evonas.search.objectives import switched_on
from evonas.search.outcome import Candidate, Evaluation
from evonas.search.propagation import propagation
from evonas.search.protocols import Screens
from evonas.search.rungs import Ladder


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


def make_search(config: SearchConfig, reference: Evaluation | None = None) -> Search:
    """The search of a configuration, before its first candidate.

    Args:
        config: all of it.
        reference: the evaluation whose curve the rungs go by.

    Raises:
        InputError: an unknown primitive, index set or baseline, an initial layer that is none of the space, or rungs
            that are not ascending, not below the full training, or without a baseline to go by, or a task with the name
            of another objective, or without what an objective needs.
    """
    for name in config.baselines:
        catalogued(name, "baselines")
    rungs = config.rungs.steps
    if list(rungs) != sorted({*rungs}) or any(steps >= config.training.steps for steps in rungs):
        accepted = f"ascending numbers below training.steps, {config.training.steps}"
        raise InputError("rungs.steps", str(list(rungs)), accepted=accepted)
    if rungs and not config.baselines:
        remedy = "name a layer whose curve the rungs go by, e.g. bn-relu"
        raise InputError("baselines", "none, but there are rungs", remedy=remedy)
    if config.data.score_on == "test":
        remedy = "evonas rerank --test scores the layers it found on test images"
        raise InputError("data.score_on", "'test'", accepted="'validation': a search sees no test image", remedy=remedy)
    for task in config.tasks:
        if task.name in switched_on(config.objectives):
            raise InputError(
                "tasks.name", f"{task.name!r} is an objective already", remedy="give the task another name"
            )
    first = config.tasks[0]
    if config.objectives.activation_sparsity and first.architecture in ARCHITECTURES:
        found, accepted = f"{first.label} has no linear layer but its head", "a transformer as the first task"
        raise InputError("objectives.activation_sparsity", found, accepted=accepted)
    space = SearchSpace.from_config(config.space)
    screens = Screens(config.protocols, config.layer)
    ladder = Ladder(config.rungs, reference)
    initial = [_initial(text, space) for text in config.evolution.initial]
    probe = partial(propagation, settings=config.protocols.propagation, layer=config.layer)
    return Search(space, config.evolution, config.seed, screens, probe, ladder=ladder, initial=initial)


def _initial(text: str, space: SearchSpace) -> Genome:
    genome = catalogued_or_text(text, "evolution.initial")
    try:
        return space.padded(genome)
    except InputError as error:
        raise error.at(f"evolution.initial {text!r}") from None


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
        InputError: what ``make_search`` refuses, or rungs without a baseline that could be trained.
    """
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
