"""Oracles: the evaluation in this process, which worker processes must repeat number for number; and rejections written
out by hand for a worker that dies and one that hangs.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from evonas import config
from evonas.config import StabilityConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.runs.pool import Failure
from evonas.search import execution
from evonas.search.budget import TimeIsUpError
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.execution import EvaluationJob, InProcess, WorkerPool, make_executor
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.training import OnStep, Step
from evonas.training.allocator import keep_memory

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
S0, B0, BN = (CATALOGUE[name] for name in ("evonorm-s0", "evonorm-b0", "bn-relu"))
EXPLOSIVE = Genome.from_text("square(x)")
SUBMITTED = ((S0, True), (EXPLOSIVE, True), (B0, False), (EXPLOSIVE, False))


def timeless(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, seconds=0.0)


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    return evaluator_from_config(config.load_search(TINY))


@pytest.fixture(scope="module")
def here(evaluator: Evaluator) -> list[Evaluation]:
    """The evaluations of ``SUBMITTED`` in this process."""
    with InProcess(evaluator, threads=1) as executor:
        return [executor.submit(EvaluationJob(genome, gated))() for genome, gated in SUBMITTED]


def test_workers_repeat_the_evaluations_of_this_process_number_for_number(here: list[Evaluation]) -> None:
    with make_executor(config.load_search(TINY, ["execution.workers=2"])) as executor:
        assert isinstance(executor, WorkerPool)
        pending = [executor.submit(EvaluationJob(genome, gated)) for genome, gated in SUBMITTED]
        found = [wait() for wait in reversed(pending)][::-1]
        again, reseeded = executor.submit(EvaluationJob(S0))(), executor.submit(EvaluationJob(S0, seed=7))()
    assert list(map(timeless, found)) == list(map(timeless, here))
    assert timeless(reseeded) == timeless(evaluator_from_config(config.load_search(TINY, ["seed=7"]))(S0))
    assert timeless(again) == timeless(here[0])
    assert [bool(evaluation.objectives) for evaluation in here] == [True, False, True, False]
    assert all(evaluation.seconds > 0 for evaluation in found)


@dataclass(frozen=True)
class Ended:
    """A job that has ended as it was told to."""

    found: Evaluation | Failure
    ready: bool = True

    def __call__(self, _tick: object = None) -> Evaluation | Failure:
        return self.found


class Accidents:
    """In place of a pool: each layer's job ends as it is told, and what the pool was made with is kept."""

    def __init__(self, *made_with: object) -> None:
        self.made_with = made_with

    def submit(self, job: EvaluationJob) -> Ended:
        found = {
            S0: Failure("worker died", "exit code 3"),
            B0: Failure("took too long", limit=3.0),
            BN: Failure("error", "ValueError: wrong"),
            EXPLOSIVE: Evaluation(job.genome.key, job.seed or 1, objectives={"gated": float(job.gated)}),
        }
        return Ended(found[job.genome])


def test_what_fails_in_a_worker_is_a_rejection_of_its_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """How workers fail is tested where they are made, in ``tests/runs/test_workers.py``."""
    monkeypatch.setattr(execution, "open_pool", Accidents)
    settings = config.load_search(TINY, ["execution.workers=2", "execution.timeout_seconds=3.0"])
    pool = WorkerPool(settings)
    asked = ((S0, None), (B0, 7), (BN, 1), (EXPLOSIVE, 2))
    jobs = (EvaluationJob(layer, gated=False, seed=seed) for layer, seed in asked)
    died, hung, raised, went_well = map(pool.submit, jobs)
    assert died() == Evaluation(S0.key, 1, rejection=Rejection("resource", "worker died", detail="exit code 3"))
    assert hung() == Evaluation(B0.key, 7, rejection=Rejection("resource", "took too long", measured=3.0, limit=3.0))
    assert went_well() == Evaluation(EXPLOSIVE.key, 2, objectives={"gated": 0.0})
    assert raised() == Evaluation(BN.key, 1, rejection=Rejection("execution", "error", detail="ValueError: wrong"))
    assert pool._pool.made_with == (execution.evaluations, settings, settings.execution, 2)  # type: ignore[attr-defined]


class Recorder:
    """Stands in for an evaluator; notes what it is called with, and under how many threads."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[Genome, bool, int]] = []
        self.error = error

    def __call__(
        self, genome: Genome, *, gated: bool, hurdles: tuple[Any, ...], seed: int | None, on_step: OnStep
    ) -> Evaluation:
        assert (hurdles, seed) == ((), None)
        on_step(Step("made", 1, 2))
        self.calls.append((genome, gated, torch.get_num_threads()))
        if self.error is not None:
            raise self.error
        return Evaluation(genome.key, 1, objectives={"made": 0.5})


def in_process(evaluator: Any, threads: int) -> InProcess:
    return InProcess(evaluator, threads)


def test_this_process_evaluates_when_a_result_is_waited_for() -> None:
    recorder = Recorder()
    with in_process(recorder, 1) as executor:
        first, second = executor.submit(EvaluationJob(S0)), executor.submit(EvaluationJob(B0, gated=False))
        assert recorder.calls == []
        assert second() == Evaluation(B0.key, 1, objectives={"made": 0.5})
        assert recorder.calls == [(B0, False, 1)]
        first()
        assert recorder.calls[1:] == [(S0, True, 1)]


def test_an_evaluation_in_this_process_says_what_it_does_and_ends_between_two_steps(evaluator: Evaluator) -> None:
    seen: list[str] = []
    with InProcess(evaluator, threads=1) as executor:

        def tick() -> None:
            seen.extend(executor.doing())
            if seen[-1].endswith("mobilenet_v2, step 2 of 6"):
                raise TimeIsUpError

        pending = executor.submit(EvaluationJob(S0, gated=False, label="this one"))
        with pytest.raises(TimeIsUpError):
            pending(tick)
        assert executor.doing() == []
        again = executor.submit(EvaluationJob(S0, gated=False))
        assert timeless(pending()) == timeless(again())  # what was dropped left nothing behind
    assert seen[0] == "this one"
    assert seen[1:4] == [f"this one: preact_resnet, step {number} of 6" for number in range(3)]
    assert "this one: preact_resnet, scoring" not in seen  # all tasks are trained before any is scored


def test_the_adversary_of_the_stability_protocol_can_be_ended_too(evaluator: Evaluator) -> None:
    seen: list[str] = []

    def on_step(step: Step) -> None:
        seen.append(str(step))
        if step.what == "stability" and step.number == 2:
            raise TimeIsUpError

    protocols = evaluator.protocols.model_copy(update={"stability": StabilityConfig(steps=100)})
    with pytest.raises(TimeIsUpError):
        replace(evaluator, protocols=protocols)(S0, on_step=on_step)
    stability = [text for text in seen if "stability" in text]
    assert stability == [f"preact_resnet, stability, step {number} of 100" for number in range(3)]
    assert "preact_resnet, scoring" in seen


@pytest.mark.parametrize("error", [None, KeyError("made")])
def test_the_number_of_threads_holds_for_the_evaluation_alone(error: Exception | None) -> None:
    before, recorder = torch.get_num_threads(), Recorder(error)
    pending = in_process(recorder, before + 1).submit(EvaluationJob(S0))
    if error is None:
        pending()
    else:
        with pytest.raises(KeyError):  # nobody contains it
            pending()
    assert recorder.calls == [(S0, True, before + 1)]
    assert torch.get_num_threads() == before


def test_keeping_memory_changes_no_number(evaluator: Evaluator, here: list[Evaluation]) -> None:
    for _ in range(2):
        keep_memory()
        assert timeless(evaluator(S0)) == timeless(here[0])


@pytest.mark.parametrize(("asked", "started"), [(0, 0), (1, 1), (2, 2), (64, 3)])
def test_no_worker_is_started_that_would_be_idle(asked: int, started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is this process, and ``tiny`` has three candidates open at once."""
    pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    monkeypatch.setattr(execution, "open_pool", Accidents)
    executor = make_executor(config.load_search(TINY, [f"execution.workers={asked}"]))
    assert isinstance(executor, WorkerPool if started else InProcess)
    if started:
        assert executor._pool.made_with[-1] == started  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [0, 2])
def test_missing_data_are_told_before_any_worker_starts(count: int) -> None:
    overrides = ["data.name=npz", "data.path=none.npz", f"execution.workers={count}"]
    with pytest.raises(InputError, match=r"^data\.path: no such file: none\.npz"):
        make_executor(config.load_search(TINY, overrides))
