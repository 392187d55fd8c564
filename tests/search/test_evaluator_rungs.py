"""Training in pieces, from rung to rung, against the same training in one piece, and against the order of marks.

Tasks whose losses and metrics are dictated per step say what must be decided where.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evonas import config
from evonas.config import LayerConfig, ProtocolsConfig, QualityConfig, StabilityConfig, TrainingConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.search import evaluator as module
from evonas.search.ascent import Ascent
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.rungs import Hurdle
from evonas.tasks.task import Task

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
S0 = CATALOGUE["evonorm-s0"]


def half(_: int) -> float:
    return 0.5


class Scripted:
    """A task that notes what happens to it, with a label probability and a metric for each number of steps taken."""

    def __init__(
        self,
        name: str,
        probability: Callable[[int], float] = half,
        log: list[str] | None = None,
        bad_from: int = 10**9,
        metric: Callable[[int], float] = half,
    ) -> None:
        self.name, self.probability, self.score, self.bad_from, self.taken = name, probability, metric, bad_from, 0
        self.log = [] if log is None else log

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        self.taken += 1
        if self.taken > 1 and self.log and self.log[-1] == f"{self.name} {self.taken - 1}":
            self.log.pop()  # a line per piece of training, with the step it came to
        self.log.append(f"{self.name} {self.taken}")
        value = 0 * model(batch).square().mean() - math.log(self.probability(self.taken))
        return value * math.nan if self.taken >= self.bad_from else value

    def metric(self, _model: nn.Module) -> float:
        self.log.append(f"{self.name} {self.taken} scored")
        return self.score(self.taken)

    def task(self) -> Task:
        return Task(self.name, network, batches, self.loss, self.metric)


def network(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2))


def batches(seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randn((4, 3, 4, 4), generator=generator)


def scripted(
    *tasks: Scripted, rungs: tuple[int, ...], steps: int = 8, gate: int = 4, minimum: float = 0.0, adversary: int = 0
) -> Evaluator:
    protocols = ProtocolsConfig(
        quality=QualityConfig(steps=gate, min_accuracy=minimum), stability=StabilityConfig(steps=adversary)
    )
    training = TrainingConfig(steps=steps, learning_rate=0.01)
    return Evaluator(tuple(t.task() for t in tasks), training, protocols, LayerConfig(), 3, rungs)


def hurdle(steps: int, threshold: float, floor: float = 0.0) -> Hurdle:
    return Hurdle(steps, {"a": 1.0, "b": 1.0}, threshold, {"a": floor, "b": floor})


def timeless(evaluation: Evaluation, **changes: Any) -> Evaluation:
    return replace(evaluation, seconds=0.0, **changes)


@pytest.fixture(scope="module")
def tiny() -> Evaluator:
    return evaluator_from_config(config.load_search(TINY))


@pytest.mark.parametrize("rungs", [(2,), (3,), (1, 2, 3, 4, 5), (5,)])
@pytest.mark.parametrize("gated", [True, False])
def test_a_training_with_rungs_is_that_without_step_for_step(
    tiny: Evaluator, rungs: tuple[int, ...], gated: bool
) -> None:
    """The rungs lie before, at and behind the quality gate, which stands at step 3 of 6."""
    plain, found = tiny(S0, gated=gated), replace(tiny, rungs=rungs)(S0, gated=gated)
    assert {task: [step for step, _ in points] for task, points in found.rungs.items()} == {
        task: list(rungs) for task in plain.objectives
    }
    assert timeless(found, rungs={}) == timeless(plain)
    assert plain.rungs == {}


def test_the_score_at_a_rung_is_the_likelihood_under_the_recorded_losses(tiny: Evaluator) -> None:
    """Six steps are fewer than ten: all losses up to the rung count, and the trace has them all."""
    found = replace(tiny, rungs=(2, 4, 5))(S0)
    for task, points in found.rungs.items():
        losses = [loss for _, loss in found.traces[task]]
        for steps, score in points:
            assert score == pytest.approx(math.exp(-math.fsum(losses[:steps]) / steps), rel=1e-12)


def test_the_score_at_a_rung_is_that_of_a_training_that_ends_behind_it(tiny: Evaluator) -> None:
    constant = replace(tiny, training=tiny.training.model_copy(update={"schedule": "constant"}))
    found = replace(constant, rungs=(2, 4))(S0)
    for steps in (2, 4):
        shorter = constant.training.model_copy(update={"steps": steps + 1})
        short = replace(constant, training=shorter, rungs=(steps,))(S0)
        assert {task: dict(points)[steps] for task, points in found.rungs.items()} == {
            task: dict(points)[steps] for task, points in short.rungs.items()
        }


def test_the_latest_losses_count_in_whatever_pieces_they_were_taken() -> None:
    """Probabilities 2**-s at step s: the score is a power of two with the mean step as exponent."""
    found = scripted(Scripted("a", lambda steps: 2.0**-steps), rungs=(3, 10, 12, 39, 50), steps=60, gate=5)(S0)
    latest = {3: (1, 3), 10: (1, 10), 12: (3, 12), 39: (30, 39), 50: (39, 50)}  # first and last step that count
    expected = {steps: 2 ** (-sum(ends) / 2) for steps, ends in latest.items()}
    assert dict(found.rungs["a"]) == pytest.approx(expected, rel=1e-5)


def test_a_hurdle_stops_a_training_there_on_every_task_with_what_is_known_so_far(tiny: Evaluator) -> None:
    with_rungs = replace(tiny, rungs=(2, 4))
    whole = with_rungs(S0)
    at_4 = {task: dict(points)[4] for task, points in whole.rungs.items()}
    references = {task: 2 * score for task, score in at_4.items()}
    passing, stopping = Hurdle(4, references, 0.5), Hurdle(4, references, 0.5 + 1e-9)
    low = Hurdle(2, references, 0.0)
    assert timeless(with_rungs(S0, hurdles=(low, passing))) == timeless(whole)
    found = with_rungs(S0, hurdles=(low, stopping))
    assert found.rejection == Rejection("rungs", "behind at step 4", measured=0.5, limit=0.5 + 1e-9)
    assert (found.objectives, found.steps) == ({}, 2 * 4)
    assert found.rungs == whole.rungs
    assert found.traces == {task: points[:4] for task, points in whole.traces.items()}
    early = with_rungs(S0, hurdles=(Hurdle(2, references, 9.0), stopping))
    assert early.rejection is not None
    assert early.rejection.reason == "behind at step 2"
    assert early.rungs == {task: points[:1] for task, points in whole.rungs.items()}


def test_a_floor_stops_a_layer_before_it_is_tried_on_other_tasks_at_this_rung(tiny: Evaluator) -> None:
    with_rungs = replace(tiny, rungs=(2, 4))
    whole = with_rungs(S0)
    first, second = whole.objectives
    scores = {steps: {task: dict(points)[steps] for task, points in whole.rungs.items()} for steps in (2, 4)}
    references = {task: 2 * score for task, score in scores[4].items()}
    just, above = 0.5, 0.5 + 1e-9
    low = Hurdle(2, references, 0.0, {first: 0.0})
    passing = Hurdle(4, references, just, {first: just, second: just})
    assert timeless(with_rungs(S0, hurdles=(low, passing))) == timeless(whole)
    for floors, stopped, reached in (
        ({first: above}, first, {first: 4, second: 3}),  # the gate's mark, step 3, was the one before
        ({first: above, second: above}, first, {first: 4, second: 3}),
        ({first: just, second: above}, second, {first: 4, second: 4}),
        ({second: above}, second, {first: 4, second: 4}),
    ):
        found = with_rungs(S0, hurdles=(low, Hurdle(4, references, 9.0, floors)))
        assert found.rejection == Rejection("rungs", "behind at step 4", stopped, 0.5, above)
        assert (found.objectives, found.steps) == ({}, sum(reached.values()))
        assert found.rungs == {
            task: tuple(point for point in points if point[0] <= reached[task]) for task, points in whole.rungs.items()
        }
        assert found.traces == {task: points[: reached[task]] for task, points in whole.traces.items()}
    early = with_rungs(S0, hurdles=(Hurdle(2, references, 0.0, {first: 9.0}), passing))
    assert early.rejection is not None
    assert (early.rejection.reason, early.rejection.task) == ("behind at step 2", first)
    assert early.rungs == {first: ((2, scores[2][first]),)}
    assert early.traces == {first: whole.traces[first][:2]}
    assert early.steps == 2


def test_a_baseline_has_a_score_at_every_rung_whatever_the_hurdles_and_the_gate() -> None:
    log: list[str] = []
    tasks = [Scripted(name, lambda steps: math.exp(-0.1 * steps), log, metric=lambda at: 0.01 * at) for name in "ab"]
    strict = scripted(*tasks, rungs=(2, 6), minimum=0.9, adversary=5)
    found = strict(S0, gated=False, hurdles=(hurdle(2, 1e9, 1e9), hurdle(6, 1e9, 1e9)))
    assert found.objectives == {"a": 0.08, "b": 0.08}
    for task in "ab":  # mean losses 0.15 and 0.35
        assert dict(found.rungs[task]) == pytest.approx({2: math.exp(-0.15), 6: math.exp(-0.35)}, rel=1e-6)
    trained = [f"{task} {steps}" for steps in (2, 6, 8) for task in "ab"]
    assert log == [*trained, "a 8 scored", "b 8 scored"]


@pytest.mark.parametrize(
    ("gate", "marks"),
    [
        (4, (2, 4, 6, 8)),  # the gate between two rungs
        (2, (2, 6, 8)),  # at a rung
        (1, (1, 2, 6, 8)),  # before the first
        (7, (2, 6, 7, 8)),  # behind the last
        (8, (2, 6, 8)),  # at the end, where it costs no second scoring
        (100, (2, 6, 8)),
    ],
)
def test_every_task_reaches_a_mark_before_any_goes_to_the_next(gate: int, marks: tuple[int, ...]) -> None:
    """Only the gate and the end need the metric; a score at a rung costs nothing."""
    log: list[str] = []
    tasks = [Scripted(name, log=log) for name in "ab"]
    hurdles = [hurdle(steps, 0.1, 0.1) for steps in (2, 6)]
    found = scripted(*tasks, rungs=(2, 6), gate=gate)(S0, hurdles=hurdles)
    assert found.rejection is None
    expected = []
    for mark in marks:
        for task in "ab":
            expected += [f"{task} {mark}", *([f"{task} {mark} scored"] if mark == min(gate, 8) else [])]
    assert log == expected + ([] if gate >= 8 else ["a 8 scored", "b 8 scored"])


@pytest.mark.parametrize("gate", [1, 2, 4, 6, 7, 8])
def test_the_quality_gate_rejects_at_its_own_step_between_at_and_behind_rungs(gate: int) -> None:
    good, bad = (Scripted(name, metric=lambda _steps, value=value: value) for name, value in (("a", 0.5), ("b", 0.1)))
    found = scripted(good, bad, rungs=(2, 6), gate=gate, minimum=0.2)(S0, hurdles=[hurdle(2, 0.1), hurdle(6, 0.1)])
    assert found.rejection == Rejection("quality", "accuracy too low", "b", 0.1, 0.2)
    assert found.steps == 2 * gate
    assert [step for step, _ in found.rungs.get("b", ())] == [step for step in (2, 6) if step <= gate]


@pytest.mark.parametrize(
    ("low", "floors", "expected"),
    [
        ("ab", {}, ("quality", "a", 4)),
        ("b", {}, ("quality", "b", 8)),  # before the threshold, which asks for all tasks
        ("", {}, ("rungs", "", 8)),
        ("ab", {"a": 0.6}, ("rungs", "a", 4)),  # scoring costs time, a floor none
        ("a", {"b": 0.6}, ("quality", "a", 4)),
        ("b", {"b": 0.6}, ("rungs", "b", 8)),
        ("b", {"a": 0.4, "b": 0.4}, ("quality", "b", 8)),
    ],
)
def test_at_one_step_floor_and_gate_are_asked_task_by_task_and_then_the_threshold(
    low: str, floors: dict[str, float], expected: tuple[str, str, int]
) -> None:
    """Both tasks have half the reference's likelihood; those named have a metric below the gate."""
    tasks = [Scripted(name, metric=lambda _, name=name: 0.1 if name in low else 0.5) for name in "ab"]
    references = {"a": 1.0, "b": 1.0}
    found = scripted(*tasks, rungs=(4,), gate=4, minimum=0.2)(S0, hurdles=[Hurdle(4, references, 0.9, floors)])
    assert found.rejection is not None
    assert (found.rejection.stage, found.rejection.task, found.steps) == expected


@pytest.mark.parametrize(("gate", "rungs"), [(4, (2, 6)), (2, (3, 6)), (3, (3, 6)), (3, ()), (8, ())])
def test_the_stability_protocol_runs_once_behind_the_gate(
    gate: int, rungs: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [Scripted(name) for name in "ab"]
    seen: list[tuple[int, ...]] = []
    calm = [True]

    def ascend(*_: Any, **__: Any) -> Ascent:
        seen.append(tuple(task.taken for task in tasks))
        return Ascent(norms=(1.0, 2.0), exceeded=not calm[0])

    monkeypatch.setattr(module, "ascend_gradient_norm", ascend)
    evaluate = scripted(*tasks, rungs=rungs, gate=gate, adversary=1)
    passing = [hurdle(steps, 0.1) for steps in rungs]
    assert evaluate(S0, hurdles=passing).rejection is None
    assert seen == [(gate, gate)]
    for task in tasks:
        task.taken = 0
    calm[0] = False
    found = evaluate(S0, hurdles=passing)
    assert found.rejection is not None
    assert (found.rejection.stage, found.steps) == ("stability", 2 * gate)
    stopped = evaluate(S0, hurdles=[hurdle(steps, 9.0) for steps in rungs])
    assert stopped.rejection is not None
    spared = bool(rungs) and rungs[0] <= gate  # stopped before the gate or at it, and spared the adversary
    assert (stopped.rejection.stage == "rungs") == spared
    assert len(seen) == (2 if spared else 3)


@pytest.mark.parametrize(
    ("bad_from", "stage", "steps"),
    [(1, "quality", 2), (2, "quality", 2), (3, "quality", 4), (5, "training", 6), (7, "training", 8)],
)
def test_a_divergence_belongs_to_the_gate_up_to_its_step_and_to_training_behind_it(
    bad_from: int, stage: str, steps: int
) -> None:
    tasks = [Scripted("a"), Scripted("b", bad_from=bad_from)]
    found = scripted(*tasks, rungs=(2, 6), gate=4)(S0, hurdles=[hurdle(2, 0.1), hurdle(6, 0.1)])
    assert found.rejection == Rejection(stage, "diverged", "b", measured=float(steps))
    assert found.steps == 2 * steps
    assert [step for step, _ in found.rungs.get("b", ())] == [step for step in (2, 6) if step < steps]


def test_without_the_gate_every_divergence_is_one_of_training() -> None:
    tasks = [Scripted("a"), Scripted("b", bad_from=1)]
    found = scripted(*tasks, rungs=(2, 6), gate=4)(S0, gated=False)
    assert found.rejection == Rejection("training", "diverged", "b", measured=2.0)


def test_rungs_at_the_end_of_a_shorter_training_are_left_out() -> None:
    tasks = [Scripted(name) for name in "ab"]
    found = scripted(*tasks, rungs=(2, 6), steps=6)(S0)
    assert found.rungs == {"a": ((2, pytest.approx(0.5)),), "b": ((2, pytest.approx(0.5)),)}
    assert found.steps == 12
