"""Oracles: trainings at each rate alone, from which the halving is done by hand; and a bias on a parabola, whose losses
follow from the learning rate.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_tasks import made_task, network
from torch import Tensor, nn

from evonas import config
from evonas.config import LayerConfig, ProtocolsConfig, QualityConfig, TrainingConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search.compiling import CandidateCompiler
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.rates import halving_steps
from evonas.search.rungs import Hurdle
from evonas.tasks.task import Task

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
S0 = CATALOGUE["evonorm-s0"]
RATES = (0.03, 0.1, 0.3)
SEVERAL = f"training.learning_rates={list(RATES)}"


def timeless(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, seconds=0.0)


def tiny(*changes: str) -> Evaluator:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    return evaluator_from_config(config.load_search(TINY, changes))


@pytest.fixture(scope="module")
def alone() -> dict[float, Evaluation]:
    """The whole training at each rate alone."""
    return {rate: tiny(f"training.learning_rate={rate}")(S0, gated=False) for rate in RATES}


def by_hand(alone: dict[float, Evaluation], marks: tuple[int, ...], task: str) -> tuple[float, int, dict[int, float]]:
    """The best rate, the steps taken, and the likelihood of the best rate at every mark."""
    losses = {rate: [loss for _, loss in found.traces[task]] for rate, found in alone.items()}
    left, taken, likelihoods, done = list(alone), 0, dict[int, float](), 0
    for mark in marks:
        taken += (mark - done) * len(left)
        left.sort(key=lambda rate: sum(losses[rate][:mark]))  # six steps are fewer than ten: all of them count
        likelihoods[mark] = math.exp(-sum(losses[left[0]][:mark]) / mark)
        left, done = left[: -(len(left) // 2) or None], mark
    taken += (6 - done) * len(left)
    return max(left, key=lambda rate: alone[rate].objectives[task]), taken, likelihoods


@pytest.mark.parametrize(
    ("changes", "marks"),
    [([], (3,)), (["rungs.steps=[2, 4]"], (2, 3, 4)), (["protocols.quality.steps=9"], (1, 3))],
    ids=["gate", "rungs and gate", "neither"],
)
@pytest.mark.parametrize("gated", [True, False])
def test_each_task_is_scored_at_the_best_rate_that_halving_leaves(
    alone: dict[float, Evaluation], changes: list[str], marks: tuple[int, ...], gated: bool
) -> None:
    evaluator = tiny(SEVERAL, "protocols.quality.min_accuracy=0", *changes)
    found, taken = evaluator(S0, gated=gated), 0
    for task in found.objectives:
        best, steps, likelihoods = by_hand(alone, marks, task)
        assert found.rates[task] == best
        assert found.objectives[task] == alone[best].objectives[task]
        assert found.traces[task] == alone[best].traces[task]
        rungs = dict(found.rungs.get(task, ()))
        assert rungs == pytest.approx({mark: likelihoods[mark] for mark in rungs}, rel=1e-12)
        assert list(rungs) == ([2, 4] if changes and "rungs" in changes[0] else [])
        taken += steps
    assert found.steps == taken
    assert list(found.objectives) == ["preact_resnet", "mobilenet_v2"]


@pytest.mark.parametrize("gated", [True, False])
def test_a_single_rate_in_the_list_is_the_learning_rate_bit_for_bit(gated: bool) -> None:
    one, listed = (
        tiny(change, "rungs.steps=[2, 4]", "objectives.lr_sensitivity=true")(S0, gated=gated)
        for change in ("training.learning_rate=0.3", "training.learning_rates=[0.3]")
    )
    assert timeless(listed) == timeless(one)
    assert listed.rates == {}
    assert listed.steps == 12


def test_objectives_go_by_the_rate_that_won_on_the_first_task() -> None:
    switched = "objectives.lr_sensitivity=true"
    found = tiny(SEVERAL, switched)(S0)
    best = found.rates["preact_resnet"]
    assert best != found.rates["mobilenet_v2"]
    assert best != TrainingConfig().learning_rate
    assert found.extras == tiny(f"training.learning_rate={best}", switched)(S0).extras
    assert found.extras != tiny(f"training.learning_rate={found.rates['mobilenet_v2']}", switched)(S0).extras


# a bias that starts at 0 and is drawn to 1: at rate r its distance shrinks by 1 - 2r a step


def parabola(model: nn.Module, batch: Tensor) -> Tensor:
    return 0 * model(batch).sum() + (model.get_submodule("6").bias[0] - 1).square()


def distance(model: nn.Module) -> float:
    return abs(1 - model.get_submodule("6").bias[0].item())


def built(seed: int) -> nn.Module:
    model = network(seed)
    nn.init.zeros_(model.get_submodule("6").bias)  # type: ignore[arg-type]
    return model


def drawn(name: str = "made", score: Any = lambda model: 1 - distance(model)) -> Task:
    return Task(name, built, made_task().batches, parabola, score)


def parabolas(
    *rates: float, tasks: tuple[Task, ...] = (), steps: int = 8, gate: int = 4, minimum: float = 0.0, **changes: Any
) -> Evaluator:
    protocols = ProtocolsConfig(quality=QualityConfig(steps=gate, min_accuracy=minimum))
    training = TrainingConfig(steps=steps, learning_rates=rates, momentum=0.0, schedule="constant", weight_decay=0.0)
    marks = (*changes.get("rungs", ()), gate)
    return Evaluator(tasks or (drawn(),), training, protocols, LayerConfig(), rate_marks=marks, **changes)


def test_diverged_rates_are_of_the_worse_half() -> None:
    """At 1e30 the loss leaves the numbers at once; two of five rates are worse than the three best by loss alone."""
    found = parabolas(0.1, 1e30, 0.4, 0.2, 1e31, steps=30, gate=10)(S0)
    assert found.rejection is None
    assert found.rates == {"made": 0.4}
    assert found.steps == 5 * 10 + 3 * 20
    found = parabolas(1e30, 0.1, 1e31, 1e32, steps=30, gate=10)(S0)
    assert found.rates == {"made": 0.1}
    assert found.steps == 4 * 10 + 20


def test_a_layer_diverges_where_all_its_rates_do_on_one_task() -> None:
    def diverging(model: nn.Module, batch: Tensor) -> Tensor:
        return parabola(model, batch) * math.nan

    tasks = (drawn("good"), Task("bad", built, made_task().batches, diverging, distance))
    found = parabolas(0.1, 0.2, 1e30, tasks=tasks, steps=40, gate=20)(S0)
    assert found.rejection == Rejection("quality", "diverged", "bad", measured=10.0)  # looked at every ten steps
    assert (found.objectives, found.rates) == ({}, {})
    assert found.steps == 20 + 20 + 10 + 3 * 10
    late = parabolas(1.5, 1e30, steps=400, gate=10)(S0, gated=False)  # doubling, 1.5 leaves the numbers behind the gate
    assert late.rejection is not None
    assert (late.rejection.stage, late.rejection.reason) == ("training", "diverged")
    assert late.rejection.measured == late.steps - 10


def test_the_gate_and_hurdles_look_at_the_best_rate_alive() -> None:
    """After 4 steps the best of 0.01 and 0.4 is at a distance of 0.2^4; at 0.01 alone it is at 0.98^4, about 0.92."""
    evaluator = parabolas(0.01, 0.4, minimum=0.9, rungs=(2,))
    likelihood = math.exp(-(1 + 0.04) / 2)
    below, above = (Hurdle(2, {"made": 1.0}, likelihood * share) for share in (0.999, 1.001))
    assert evaluator(S0, hurdles=[below]).objectives == {"made": pytest.approx(1 - 0.2**8)}
    stopped = evaluator(S0, hurdles=[above])
    assert stopped.rejection == Rejection(
        "rungs", "behind at step 2", "", pytest.approx(likelihood, rel=1e-6), above.threshold
    )
    assert stopped.rungs == {"made": ((2, pytest.approx(likelihood, rel=1e-6)),)}
    slow = parabolas(0.01, 0.02, minimum=0.9)(S0)
    assert slow.rejection == Rejection("quality", "accuracy too low", "made", pytest.approx(1 - 0.96**4), 0.9)


def test_of_the_rates_that_are_left_the_best_score_counts_not_the_lowest_loss() -> None:
    """Four rates and one mark leave two. The score prefers the slower of them; traces and networks are those of it."""
    found = parabolas(0.1, 0.4, 0.01, 0.3, tasks=(drawn(score=distance),), steps=8)(S0)
    assert found.rates == {"made": 0.3}
    assert found.objectives == {"made": pytest.approx(0.4**8, abs=1e-6)}
    assert dict(found.traces["made"])[2] == pytest.approx(0.4**2)


def test_equal_scores_go_to_the_lower_loss() -> None:
    found = parabolas(0.1, 0.4, 0.01, 0.3, tasks=(drawn(score=lambda _: 0.5),))(S0)
    assert found.rates == {"made": 0.4}


@pytest.mark.parametrize(
    ("steps", "marks", "expected"),
    [
        (100, (), {25, 50}),
        (100, (30, 60, 100), {30, 60}),
        (100, (100, 300), {25, 50}),
        (3, (), {1}),
        (1, (), set()),
    ],
)
def test_rates_are_halved_at_the_marks_or_else_at_a_quarter_and_a_half(
    steps: int, marks: tuple[int, ...], expected: set[int]
) -> None:
    assert halving_steps(TrainingConfig(steps=steps, learning_rates=(0.1, 0.2)), marks) == expected
    assert halving_steps(TrainingConfig(steps=steps), marks) == set()


def test_networks_that_are_left_are_offered_to_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[tuple[int, int]] = []

    def consider(_: CandidateCompiler, networks: list[nn.Module], *, step_seconds: float, steps_left: int) -> None:
        assert step_seconds >= 0
        offered.append((len(networks), steps_left))

    monkeypatch.setattr(CandidateCompiler, "consider", consider)
    tasks = (drawn("a"), drawn("b"))
    plain = parabolas(0.1, 0.2, 0.3, 0.4, tasks=tasks, rungs=(2,))
    found = [replace(plain, compile=mode)(S0) for mode in ("auto", "always")]
    assert offered == [(4, 2), (2, 4), (8, 2), (4, 2), (2, 4)]
    assert timeless(found[0]) == timeless(found[1])


def test_a_compiler_that_fails_leaves_all_rates_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    plain = tiny(SEVERAL)(S0)
    monkeypatch.setattr("torch.compile", fail)
    found = replace(tiny(SEVERAL), compile="always")(S0)
    assert found.compiled == "RuntimeError: no C++ compiler"
    assert timeless(replace(found, compiled="")) == timeless(plain)


def test_what_is_being_trained_says_at_which_rate() -> None:
    seen: list[str] = []
    parabolas(0.1, 0.4, steps=2, gate=1)(S0, on_step=lambda step: seen.append(str(step)))
    first = [f"made, learning rate {rate}, step {step} of 2" for rate in (0.1, 0.4) for step in (0, 1)]
    last = [f"made, learning rate 0.1, step {step} of 2" for step in (1, 2)]
    scoring = "made, learning rate 0.1, scoring"  # after one step the losses are equal, and the first rate goes on
    assert seen == [*first, scoring, *last, scoring]


OWN = """
import torch
from torch import nn
from evonas import Task


def build(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())


def noise(device, batch_size):
    def batches(seed):
        draw = torch.Generator().manual_seed(seed)
        while True:
            yield torch.randn(batch_size, 3, 2, 2, generator=draw).to(device)

    def loss(model, x):
        return (model(x) - 1).square().mean()

    return Task("noise", build, batches, loss, lambda model: 1 / (1 + loss(model, next(batches(0))).item()))
"""


def test_several_rates_on_a_language_model_and_on_a_task_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_for_rates.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 200)
    changes = [
        f"text={{name='file', path='{tmp_path / 'text.txt'}'}}",
        "tasks=[{transformer='16x1', context=8}, {task='own_for_rates:noise'}]",
        "training.steps=4",
        "protocols.quality.min_accuracy=0",
    ]
    layer = Genome.from_text("tanh(x)")
    single = {r: tiny(f"training.learning_rate={r}", *changes)(layer, gated=False) for r in (0.01, 0.5)}
    found = tiny("training.learning_rates=[0.01, 0.5]", *changes)(layer)
    assert found.rejection is None
    assert list(found.rates) == ["transformer-16x1", "noise"]
    for task, rate in found.rates.items():
        assert found.objectives[task] == single[rate].objectives[task]
        assert found.traces[task] == single[rate].traces[task]
        (other,) = {0.01, 0.5} - {rate}
        assert found.traces[task][2][1] < single[other].traces[task][2][1]  # at the gate, after three steps
