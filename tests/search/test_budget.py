"""Budgets of time against a clock that is set by hand: it stands still but for what the tests let take time.

Oracles: the archive of an uninterrupted search, and a count of what was asked for.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evonas import config
from evonas.config import BudgetConfig, SearchConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search import engine
from evonas.search.archive import Archive
from evonas.search.budget import Clock, TimeIsUpError, budget_from_text, budget_text, seconds_of_sessions
from evonas.search.driver import Ending, OnWork, drive, unseen
from evonas.search.execution import EvaluationJob, Executor, InProcess, Tick, no_tick
from evonas.search.outcome import Candidate, Evaluation
from evonas.search.training import OnStep, Step, unobserved

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
BASELINES = {CATALOGUE[name].key: name for name in ("gn-relu", "bn-relu")}
STEP = 10.0  # seconds that a made-up training step takes


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Steps:
    """In place of an evaluator: every evaluation takes four steps; notes what was begun and what was finished."""

    hand: Hand
    begun: list[str] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)

    def __call__(self, genome: Genome, *, on_step: OnStep = unobserved, **_: object) -> Evaluation:
        self.begun.append(genome.key)
        for step in range(4):
            on_step(Step("made", step, 4))
            self.hand.seconds += STEP
        self.finished.append(genome.key)
        return made(genome)


def made(genome: Genome) -> Evaluation:
    """A score that depends on the layer alone."""
    return Evaluation(genome.key, 1, objectives={"made": int(genome.key[:6], 16) / 16**6}, seconds=1.0)


class Workers:
    """In place of a pool: work goes on while nobody waits; the ``slow`` candidates never come back.

    Time goes by while the driver sleeps, and whatever is not slow is ready after that.
    """

    eager = True

    def __init__(self, hand: Hand, slow: Sequence[int] = ()) -> None:
        self.hand, self.slow = hand, slow
        self.asked: list[str] = []
        self.closed = False

    def submit(self, job: EvaluationJob) -> "Work":
        self.asked.append(job.label)
        comes = job.label not in [f"candidate {number}" for number in self.slow]
        return Work(self, job.genome, comes, self.hand.seconds)

    def doing(self) -> list[str]:
        return []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True


@dataclass
class Work:
    workers: Workers
    genome: Genome
    comes: bool
    since: float

    @property
    def ready(self) -> bool:
        return self.comes and self.workers.hand.seconds >= self.since + STEP

    def __call__(self, _tick: Tick = no_tick, /) -> Evaluation:
        assert self.ready
        return made(self.genome)


@dataclass
class Seen:
    """A watcher."""

    baselines: list[str] = field(default_factory=list)
    candidates: list[int] = field(default_factory=list)
    recorded: list[int] = field(default_factory=list)

    def baseline(self, name: str, _: Evaluation) -> None:
        self.baselines.append(name)

    def told(self, candidate: Candidate, _: Evaluation, *, recorded: bool) -> None:
        (self.recorded if recorded else self.candidates).append(candidate.index)


def settings(minutes: float = 0.0, evaluations: int = 0, look_ahead: int = 3) -> SearchConfig:
    changes = ['baselines=["gn-relu", "bn-relu"]', f"evolution.look_ahead={look_ahead}"]
    return config.load_search(TINY, [*changes, f"budget.minutes={minutes}", f"budget.evaluations={evaluations}"])


def search(
    path: Path, wanted: SearchConfig, hand: Hand, executor: Executor, on_work: OnWork = unseen
) -> tuple[Ending, Seen]:
    seen = Seen()
    with (Archive.open if path.exists() else Archive.create)(path) as archive:
        clock = Clock(wanted.budget, used=seconds_of_sessions(archive), now=hand)
        return drive(wanted, archive, executor, [seen], clock, on_work), seen


def records(path: Path) -> list[tuple[Candidate, Evaluation]]:
    with Archive.open(path, read_only=True) as archive:
        return list(archive.records(screened_out=True))


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    """Time goes by where the driver sleeps, and where a test says so; the times in archives are the same clock's."""
    found = Hand()

    def sleep(_: float) -> None:
        found.seconds += STEP

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "time", found)
    return found


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "archive.sqlite"
    hand = Hand()
    assert search(path, settings(evaluations=9), hand, in_process(Steps(hand)))[0] is Ending.BUDGET
    return path


def in_process(evaluator: Any) -> InProcess:
    return InProcess(evaluator, 1)


def assert_begins_like(path: Path, whole: Path, count: int) -> None:
    found = [(candidate, replace(evaluation, seconds=1.0)) for candidate, evaluation in records(path)]
    assert found == records(whole)[:count]


@pytest.mark.parametrize(
    ("minutes", "baselines", "candidates"),
    [(0.5, [], 0), (1.0, ["gn-relu"], 0), (1.8, ["gn-relu", "bn-relu"], 0), (3.0, ["gn-relu", "bn-relu"], 2)],
)
def test_in_this_process_the_time_ends_a_training_between_two_steps_and_what_is_unfinished_is_dropped(
    minutes: float, baselines: list[str], candidates: int, hand: Hand, uninterrupted: Path, tmp_path: Path
) -> None:
    """An evaluation is four steps of ten seconds, and four seconds are kept for the last pictures."""
    path, evaluator = tmp_path / "archive.sqlite", Steps(hand)
    ending, seen = search(path, settings(minutes), hand, in_process(evaluator))
    assert ending is Ending.BUDGET
    assert hand.seconds <= 60 * minutes - min(4.0, 6 * minutes) + STEP
    assert seen.baselines == baselines
    assert seen.candidates == list(range(candidates))
    assert len(evaluator.begun) == len(evaluator.finished) + 1
    assert_begins_like(path, uninterrupted, candidates)


def test_the_time_ends_the_drawing_of_a_candidate(
    hand: Hand, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, evaluator = tmp_path / "archive.sqlite", Steps(hand)
    screens = engine.Search._screened

    def slow(self: engine.Search, proposal: Any) -> Any:
        hand.seconds += STEP
        return screens(self, proposal)

    monkeypatch.setattr(engine.Search, "_screened", slow)
    assert len(records(uninterrupted)[0][0].screened_out) == 3
    ending, seen = search(path, settings((80 + 2 * STEP + 4) / 60), hand, in_process(evaluator))
    assert ending is Ending.BUDGET
    assert hand.seconds == 80 + 2 * STEP
    assert seen.baselines == ["gn-relu", "bn-relu"]
    assert len(evaluator.begun) == 2


def test_the_time_ends_the_waiting_for_a_worker_and_what_was_ready_is_kept(
    hand: Hand, uninterrupted: Path, tmp_path: Path
) -> None:
    path, workers = tmp_path / "archive.sqlite", Workers(hand, slow=[4])
    ending, seen = search(path, settings(10.0), hand, workers)
    assert ending is Ending.BUDGET
    assert 600 - 4 <= hand.seconds <= 600 - 4 + STEP
    assert seen.candidates == [0, 1, 2, 3]  # 5 and 6 are ready too, but an archive has no gaps
    assert workers.asked[-1] == "candidate 6"
    assert_begins_like(path, uninterrupted, 4)


def test_workers_have_their_first_candidates_before_the_last_one_is_drawn(hand: Hand, tmp_path: Path) -> None:
    """Each draw takes as long as an evaluation, so that results are there while the look-ahead is filled."""
    workers = Workers(hand)
    order: list[str] = []

    def on_work(lines: Sequence[str]) -> None:
        order.extend(line for line in lines if line.startswith("drawing"))
        hand.seconds += STEP

    class Order(Seen):
        def told(self, candidate: Candidate, *_: object, **__: object) -> None:
            order.append(f"evaluated {candidate.index}")

    with Archive.create(tmp_path / "archive.sqlite") as archive:
        wanted = settings(evaluations=8, look_ahead=8)
        drive(wanted, archive, workers, [Order()], Clock(wanted.budget, now=hand), on_work)
    last_drawn = max(number for number, line in enumerate(order) if line.startswith("drawing candidate 7:"))
    assert order.index("evaluated 0") < last_drawn
    assert [line for line in order if "evaluated" in line] == [f"evaluated {number}" for number in range(8)]


@pytest.mark.parametrize("minutes", [1.0, 3.0, 4.0])
def test_resuming_a_used_up_run_draws_nothing_trains_nothing_and_charges_nothing(
    minutes: float, hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archive.sqlite"
    _, before = search(path, settings(minutes), hand, in_process(Steps(hand)))
    with Archive.open(path) as archive:
        charged, events = seconds_of_sessions(archive), archive.events()
    monkeypatch.setattr(engine.Search, "_screened", None)
    workers = Workers(hand)
    hand.seconds += 1000.0
    for _ in range(2):
        started = hand.seconds
        wanted = settings(minutes)
        seen = Seen()
        with Archive.open(path) as archive:
            clock = Clock(wanted.budget, used=charged, now=hand)
            hand.seconds += 6.0  # loading data
            assert drive(wanted, archive, workers, [seen], clock) is Ending.BUDGET
            assert seconds_of_sessions(archive) == charged
            assert archive.events() == events
        assert workers.asked == []
        assert hand.seconds == started + 6.0
        assert (seen.baselines, seen.recorded, seen.candidates) == (before.baselines, before.candidates, [])


@pytest.mark.parametrize("executor", ["here", "workers"])
def test_a_search_in_many_short_sessions_is_an_uninterrupted_one(
    executor: str, hand: Hand, uninterrupted: Path, tmp_path: Path
) -> None:
    path, sessions = tmp_path / "archive.sqlite", 0
    while not path.exists() or len(records(path)) < 9:
        sessions += 1
        minutes = 1.3 * sessions
        work = in_process(Steps(hand)) if executor == "here" else Workers(hand, slow=[2 * sessions])
        ending, _ = search(path, settings(minutes, evaluations=9), hand, work)
        assert ending is Ending.BUDGET
        hand.seconds += 500.0
    assert sessions > 3
    with Archive.open(path) as found, Archive.open(uninterrupted) as whole:
        assert found.content() == whole.content()
        assert seconds_of_sessions(found) <= 60 * 1.3 * sessions + STEP


def test_the_start_of_a_process_counts(hand: Hand, tmp_path: Path) -> None:
    hand.seconds = 1000.0
    wanted = settings(1.0)
    with Archive.create(tmp_path / "archive.sqlite") as archive:
        clock = Clock(wanted.budget, started=970.0, now=hand)
        drive(wanted, archive, in_process(Steps(hand)), [], clock)
        assert hand.seconds <= 970.0 + 60.0
        assert [when for when, kind, _ in archive.events() if kind == "started"] == [970.0]
        assert seconds_of_sessions(archive) == hand.seconds - 970.0


def test_it_is_said_what_is_being_done(hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, wanted, screens = list[str](), settings(evaluations=2), engine.Search._screened

    def slow(self: engine.Search, proposal: Any) -> Any:
        hand.seconds += STEP
        return screens(self, proposal)

    monkeypatch.setattr(engine.Search, "_screened", slow)
    search(tmp_path / "archive.sqlite", wanted, hand, in_process(Steps(hand)), said.extend)
    assert "baseline gn-relu: made, step 2 of 4" in said
    assert "candidate 1: made, step 3 of 4" in said
    assert "drawing candidate 0: 2 proposals screened out" in said


def test_no_training_is_begun_when_the_time_is_up_and_torch_does_not_take_it_for_an_error() -> None:
    clock = Clock(BudgetConfig(minutes=1.0), used=60.0)
    with pytest.raises(TimeIsUpError):
        clock.check()
    assert not issubclass(TimeIsUpError, RuntimeError)
    Clock(BudgetConfig(), used=1e9).check()


@given(st.integers(1, 10**6), st.sampled_from(["s", "m", "h", ""]))
def test_a_budget_that_is_written_is_read_as_it_was(number: int, unit: str) -> None:
    budget = budget_from_text(f"{number}{unit}")
    assert budget_from_text(budget_text(budget)).minutes == pytest.approx(budget.minutes)
    assert budget_from_text(budget_text(budget)).evaluations == budget.evaluations
    seconds = {"s": 1, "m": 60, "h": 3600, "": 0}[unit] * number
    assert budget.minutes * 60 == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["soon", "0", "-5m", "1.5", "10d", "", "m"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^--budget: "):
        budget_from_text(text, "--budget")


def test_time_is_counted_by_a_clock_that_never_goes_back_whatever_the_date(
    hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day that the machine slept, or a date that was set back, is none of the time that a search took."""
    path, dates = tmp_path / "archive.sqlite", itertools.cycle((0.0, 86_400.0, 3600.0))
    monkeypatch.setattr("time.time", lambda: next(dates))
    search(path, settings(evaluations=2), hand, in_process(Steps(hand)))
    with Archive.open(path) as archive:
        assert 0 < seconds_of_sessions(archive) <= hand.seconds
        archive._db.execute("DELETE FROM run WHERE name = 'seconds'")
        assert seconds_of_sessions(archive) != hand.seconds  # as it was counted once
