"""Oracles: a training by hand (Nesterov momentum, cosine schedule and weight decay written out), which an evaluation
must follow; an evaluation repeated under disturbed generators, which must not differ in any bit; and tasks made up
here, whose losses and scores are known.
"""

import math
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_tasks import made_task
from torch import Tensor, nn

from evonas import config
from evonas.config import LayerConfig, ProtocolsConfig, QualityConfig, TrainingConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search.budget import TimeIsUpError
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.outcome import COMPILED, Evaluation, Rejection
from evonas.search.training import TRACE_POINTS
from evonas.surgery.install import with_layer
from evonas.tasks.task import Task

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
B0, S0, GN = (CATALOGUE[name] for name in ("evonorm-b0", "evonorm-s0", "gn-relu"))
EXPLOSIVE, SIGMOID = (Genome.from_text(text) for text in ("square(x)", "sigmoid(x)"))


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return evaluator_from_config(config.load_search(TINY))


@pytest.fixture(scope="module")
def of_b0(evaluator: Evaluator) -> Evaluation:
    return evaluator(B0)


def timeless(evaluation: Evaluation) -> Evaluation:
    """All that is reproducible."""
    return replace(evaluation, seconds=0.0)


def with_training(evaluator: Evaluator, **changes: Any) -> Evaluator:
    return replace(evaluator, training=evaluator.training.model_copy(update=changes))


def made(*tasks: Task, steps: int = 6, gate: int = 3, minimum: float = 0.4) -> Evaluator:
    quality = QualityConfig(steps=gate, min_accuracy=minimum)
    return Evaluator(tasks, TrainingConfig(steps=steps), ProtocolsConfig(quality=quality), LayerConfig(), seed=3)


def test_an_evaluation_has_an_objective_and_a_trace_for_every_task(of_b0: Evaluation) -> None:
    assert of_b0.rejection is None
    assert (of_b0.key, of_b0.seed, of_b0.steps) == (B0.key, 1, 12)
    assert list(of_b0.objectives) == list(of_b0.traces) == ["preact_resnet", "mobilenet_v2"]
    assert all(0 <= value <= 1 for value in of_b0.objectives.values())
    for trace in of_b0.traces.values():
        assert [step for step, _ in trace] == [1, 2, 3, 4, 5, 6]
        assert all(1 < loss < 4 for _, loss in trace)  # near ln 10
    assert of_b0.seconds > 0


def test_an_evaluation_follows_a_training_by_hand(evaluator: Evaluator, of_b0: Evaluation) -> None:
    settings = evaluator.training
    assert settings.weight_decay > 0
    assert settings.schedule == "cosine"
    for task in evaluator.tasks:
        model, batches, losses = with_layer(task.build(1), B0, evaluator.layer).train(), task.batches(1), list[float]()
        velocity = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
        for step in range(settings.steps):
            rate = settings.learning_rate * (1 + math.cos(math.pi * step / settings.steps)) / 2
            images, labels = next(batches)
            loss = nn.functional.cross_entropy(model(images), labels)
            losses.append(loss.item())
            model.zero_grad()
            loss.backward()
            with torch.no_grad():
                for name, value in model.named_parameters():
                    gradient = torch.zeros_like(value) if value.grad is None else value.grad.clone()
                    gradient += settings.weight_decay * value * (value.ndim > 1)
                    velocity[name] = settings.momentum * velocity[name] + gradient
                    value -= rate * (gradient + settings.momentum * velocity[name])
        assert [loss for _, loss in of_b0.traces[task.name]] == pytest.approx(losses, rel=1e-5)
        assert of_b0.objectives[task.name] == pytest.approx(task.metric(model), abs=0.011)  # one image of 100


def test_an_evaluation_is_reproducible_bit_by_bit(evaluator: Evaluator, of_b0: Evaluation) -> None:
    torch.manual_seed(123)
    random.seed(123)
    np.random.seed(123)  # noqa: NPY002
    evaluator(EXPLOSIVE)
    torch.rand(17)
    assert timeless(evaluator(B0)) == timeless(of_b0)


def test_a_second_evaluator_of_the_configuration_agrees(of_b0: Evaluation) -> None:
    assert timeless(evaluator_from_config(config.load_search(TINY))(B0)) == timeless(of_b0)


def test_an_evaluation_leaves_the_global_generator_alone(evaluator: Evaluator) -> None:
    before = torch.get_rng_state()
    evaluator(S0, gated=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_trains_another_network(of_b0: Evaluation) -> None:
    other = evaluator_from_config(config.load_search(TINY, ["seed=2"]))(B0)
    assert other.seed == 2
    for name, trace in of_b0.traces.items():
        assert trace != other.traces[name]


def test_all_layers_start_from_the_same_weights(evaluator: Evaluator) -> None:
    for task in evaluator.tasks:
        one, other = (with_layer(task.build(1), genome, evaluator.layer).state_dict() for genome in (B0, GN))
        kernels = [name for name, value in one.items() if value.ndim > 1 and "running" not in name]
        assert len(kernels) > 4
        assert all(torch.equal(one[name], other[name]) for name in kernels)


def test_the_gate_does_not_disturb_the_training_behind_it(evaluator: Evaluator, of_b0: Evaluation) -> None:
    assert evaluator.protocols.quality.steps < evaluator.training.steps
    ungated = evaluator(B0, gated=False)
    assert timeless(ungated) == timeless(of_b0)  # its running statistics, too: it scores in evaluation mode


def test_a_layer_below_the_minimum_is_rejected_with_score_limit_and_task(evaluator: Evaluator) -> None:
    strict = replace(evaluator, protocols=ProtocolsConfig(quality=QualityConfig(steps=3, min_accuracy=0.99)))
    found = strict(B0)
    assert found.objectives == {}
    assert found.rejection is not None
    expected = Rejection("quality", "accuracy too low", "preact_resnet", found.rejection.measured, 0.99)
    assert found.rejection == expected
    short = with_training(evaluator, steps=3, schedule="constant")
    assert with_training(strict, schedule="constant")(B0).rejection == replace(
        expected, measured=short(B0, gated=False).objectives["preact_resnet"]
    )
    assert found.steps == 3  # the second task was not begun
    assert list(found.traces) == ["preact_resnet"]


def test_without_the_gate_a_bad_layer_gets_objectives(evaluator: Evaluator, of_b0: Evaluation) -> None:
    strict = replace(evaluator, protocols=ProtocolsConfig(quality=QualityConfig(steps=3, min_accuracy=0.99)))
    assert timeless(strict(B0, gated=False)) == timeless(of_b0)


def test_the_gate_looks_at_every_task_before_any_is_trained_to_the_end() -> None:
    good, bad, late = made_task("good", metric=0.9), made_task("bad", metric=0.1), made_task("late", metric=0.0)
    found = made(good, bad, late, steps=50, gate=3, minimum=0.4)(S0)
    assert found.rejection == Rejection("quality", "accuracy too low", "bad", 0.1, 0.4)
    assert found.steps == 3 + 3


def test_a_score_equal_to_the_minimum_passes() -> None:
    found = made(made_task(metric=0.4), minimum=0.4)(S0)
    assert found.objectives == {"made": 0.4}


def test_a_gate_longer_than_the_training_ends_with_it() -> None:
    found = made(made_task(metric=0.7), steps=4, gate=100)(S0)
    assert (found.steps, found.objectives) == (4, {"made": 0.7})


def test_a_layer_that_diverges_at_the_gate_is_rejected_there(evaluator: Evaluator) -> None:
    found = evaluator(EXPLOSIVE)
    assert found.rejection == Rejection("quality", "diverged", "preact_resnet", measured=3.0)
    assert (found.steps, found.objectives) == (3, {})


def test_a_layer_that_diverges_without_gate_is_rejected_by_training(evaluator: Evaluator) -> None:
    found = evaluator(EXPLOSIVE, gated=False)
    assert found.rejection == Rejection("training", "diverged", "preact_resnet", measured=6.0)
    assert (found.steps, found.objectives) == (6, {})


def test_divergence_behind_the_gate_is_found_on_any_task_and_ends_early() -> None:
    def growing() -> Callable[[nn.Module, Tensor], Tensor]:
        factors = iter([1.0, 2.0, 3.0, math.inf, *repeat(math.nan, 100)])
        return lambda model, batch: model(batch).square().mean() * 0 + next(factors)

    found = made(made_task("steady"), made_task("growing", growing()), steps=40, gate=3)(S0)
    assert found.rejection == Rejection("training", "diverged", "growing", measured=13.0)
    assert found.steps == 40 + 3 + 10  # a loss is looked at every ten steps
    assert found.traces["growing"] == ((2, 2.0),)  # no infinities


@pytest.mark.parametrize(
    ("error", "rejection"),
    [
        (RuntimeError("shapes\nand a long list of tensors"), Rejection("execution", "error", detail="shapes")),
        (ValueError("no such label"), Rejection("execution", "error", detail="ValueError: no such label")),
        (SystemExit(0), Rejection("execution", "error", detail="SystemExit: 0")),
        (MemoryError(), Rejection("resource", "out of memory", detail="MemoryError")),
        (RuntimeError("out of memory\nlong"), Rejection("resource", "out of memory", detail="out of memory")),
    ],
)
@pytest.mark.parametrize("gated", [True, False])
def test_an_error_of_any_kind_rejects_the_layer_instead_of_ending_the_search(
    gated: bool, error: BaseException, rejection: Rejection
) -> None:
    def broken(_model: nn.Module, _batch: Tensor) -> Tensor:
        raise error

    found = made(made_task("good"), made_task("broken", broken))(S0, gated=gated)
    assert found.rejection == rejection
    assert found.objectives == {}
    assert found.steps == (3 if gated else 6)
    assert list(found.traces) == ["good"]


def test_an_error_while_scoring_rejects_the_layer_too() -> None:
    found = made(made_task(metric=torch.OutOfMemoryError("CUDA out of memory")))(S0, gated=False)
    assert found.rejection == Rejection("resource", "out of memory", detail="CUDA out of memory")


@pytest.mark.parametrize("error", [InputError("data", "is gone"), TimeIsUpError()])
def test_what_is_no_fault_of_the_layer_reaches_whoever_asked(error: Exception) -> None:
    def broken(_model: nn.Module, _batch: Tensor) -> Tensor:
        raise error

    with pytest.raises(type(error)):
        made(made_task("broken", broken))(S0, gated=False)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (math.nan, "ValueError: the task's metric is nan"),
        ("0.5", "TypeError: the task's metric is the text '0.5', not a number"),
        (None, "TypeError: float() argument must be a string or a real number, not 'NoneType'"),
        ({"top-1": math.inf}, "ValueError: the task's metric is inf"),
    ],
)
def test_a_metric_that_is_no_finite_number_rejects_the_layer(metric: Any, words: str) -> None:
    found = made(made_task(metric=metric))(S0, gated=False)
    assert found.rejection == Rejection("execution", "error", detail=words)


def test_a_metric_may_be_a_tensor_with_one_element() -> None:
    (score,) = made(made_task(metric=torch.tensor(0.25)))(S0, gated=False).objectives.values()
    assert (score, type(score)) == (0.25, float)


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (19, 1), (39, 1), (40, 2), (205, 10)])
def test_traces_keep_a_few_points(steps: int, every: int) -> None:
    def falling() -> Callable[[nn.Module, Tensor], Tensor]:
        losses = iter(range(1000, 0, -1))
        return lambda model, batch: model(batch).sum() * 0 + next(losses)

    found = made(made_task(loss=falling()), steps=steps, gate=1)(S0)
    assert found.traces["made"] == tuple((step, 1001.0 - step) for step in range(every, steps + 1, every))
    assert len(found.traces["made"]) < 2 * TRACE_POINTS


def test_a_training_that_ends_early_has_the_first_points_of_a_whole_one() -> None:
    def falling() -> Callable[[nn.Module, Tensor], Tensor]:
        losses = iter(range(1000, 0, -1))
        return lambda model, batch: model(batch).sum() * 0 + next(losses)

    found = made(made_task(loss=falling(), metric=0.1), steps=100, gate=23)(S0)
    assert found.rejection is not None
    assert found.traces["made"] == ((5, 996.0), (10, 991.0), (15, 986.0), (20, 981.0))


def test_wrong_devices_are_told_before_data_are_loaded() -> None:
    with pytest.raises(InputError, match=r"^execution\.device"):
        evaluator_from_config(config.load_search(TINY, ["execution.device=gpu", "data.name=npz"]))


@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch's own while it compiles
def test_a_compiled_training_follows_the_one_without(evaluator: Evaluator) -> None:
    one = replace(evaluator, tasks=evaluator.tasks[:1])
    plain, compiled = (replace(one, compile=mode)(SIGMOID, gated=False) for mode in ("never", "always"))
    assert (plain.compiled, compiled.compiled) == ("", COMPILED)
    for task, points in plain.traces.items():
        assert [loss for _, loss in compiled.traces[task]] == pytest.approx([loss for _, loss in points], rel=1e-3)


def test_a_compiler_that_fails_costs_nothing_but_its_time(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", fail)
    found = replace(evaluator, compile="always")(S0, gated=False)
    assert found.compiled == "RuntimeError: no C++ compiler"
    assert found.objectives == evaluator(S0, gated=False).objectives


def test_a_first_task_without_inner_linear_layers_is_refused_before_anything_is_trained() -> None:
    """A head alone has no input to drop: every layer would tolerate all of it."""
    task = config.TaskConfig(architecture="all_cnn", depth=(1, 1), unstrided=0)  # its last stage has no 1x1 convolution
    settings = config.SearchConfig(
        name="a", tasks=(task,), objectives=config.ObjectivesConfig(activation_sparsity=True)
    )
    with pytest.raises(
        InputError,
        match=r"^objectives\.activation_sparsity: all_cnn has no linear layer or 1x1 convolution but its head",
    ):
        evaluator_from_config(settings)
