"""Objectives beside the accuracies.

Oracles: a copy of the reference and the reference run several times over, by a clock that counts operations;
parameters counted by hand; the learning rate at which gradient descent on a parabola begins to leave its minimum,
2 / curvature; the library of sparsity, layer by layer, on the network that was trained.
"""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from evonas.config import LayerConfig, ObjectivesConfig, ProtocolsConfig, QualityConfig, TrainingConfig, loads
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search.evaluator import Evaluator
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.making import require_searchable
from evonas.search.objectives import (
    OBJECTIVES,
    SHAPES,
    MeasurementContext,
    Objective,
    latency,
    parameters,
    reference_layer,
    register_objective,
)
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.selection import pareto_front
from evonas.tasks.task import Task
from evonas.training import timing
from evonas.training.timing import forward_backward, relative_time

S0 = CATALOGUE["evonorm-s0"]
CPU = torch.device("cpu")


def subject(
    genome: Genome = S0,
    trains: Callable[[float], bool] = lambda _: False,
    losses: Callable[[float], tuple[float, float]] = lambda _: (1.0, 1.0),
    sparse_metric: Callable[[float], float] = lambda _: 1.0,
    layout: str = "bchw",
    shifted_metric: Callable[[], float] = lambda: 0.5,
    small_batch_metric: Callable[[], float] = lambda: 0.5,
) -> MeasurementContext:
    return MeasurementContext(
        genome, LayerConfig(), layout, CPU, trains, losses, sparse_metric, shifted_metric, small_batch_metric
    )


def bn_relu() -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(SHAPES["bchw"][1]), nn.ReLU())


def test_every_objective_has_a_switch_and_every_switch_an_objective() -> None:
    assert [*OBJECTIVES.builtin, "own"] == list(ObjectivesConfig.model_fields)
    assert ObjectivesConfig().names == ()
    assert ObjectivesConfig(latency=True, stability_margin=True).names == ("latency", "stability_margin")


class Operations(TorchDispatchMode):
    """Counts what torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **kwargs or {})


@pytest.fixture
def operations_as_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock of ``timing`` counts operations: each of them takes a second, on every machine."""
    with Operations() as operations:
        monkeypatch.setattr(timing.time, "process_time", lambda: float(operations.count))
        yield


@pytest.mark.usefixtures("operations_as_time")
def test_a_copy_takes_as_long_and_four_times_the_work_longer() -> None:
    reference, x = bn_relu(), torch.randn(SHAPES["bchw"])
    same, slow = copy.deepcopy(reference), nn.Sequential(*(bn_relu() for _ in range(4)))
    same, slow = (
        relative_time(forward_backward(layer, x), forward_backward(reference, x), CPU) for layer in (same, slow)
    )
    assert same == 1
    assert 2 < slow <= 4  # what a pass does beside the layer counts once


def test_interruptions_and_a_machine_that_grows_slower_do_not_change_a_relative_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, calls = 0.0, []

    def taking(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            nonlocal clock
            calls.append(name)
            slowness = 1.1 ** len(calls)  # each call is slower than the one before
            clock += seconds * slowness + (1e6 if name == "work" and calls.count("work") % 3 == 0 else 0.0)

        return run

    monkeypatch.setattr(timing.time, "process_time", lambda: clock)
    found = relative_time(taking("work", 2.0), taking("reference", 1.0), CPU)
    assert found == pytest.approx(2, rel=0.11)  # one call is slower than the one before it by a tenth
    assert [calls.count(name) for name in ("work", "reference")] == [timing.WARM_UP + timing.ROUNDS] * 2
    pairs = [tuple(calls[at : at + 2]) for at in range(2 * timing.WARM_UP, len(calls), 2)]
    assert set(pairs[::2]) == {("reference", "work")}
    assert set(pairs[1::2]) == {("work", "reference")}


@pytest.mark.usefixtures("operations_as_time")
def test_a_layer_of_more_operations_has_more_latency() -> None:
    long = Genome.from_text("a = tanh(x); b = exp(a); c = tanh(b); d = exp(c); e = tanh(d); f = exp(e); tanh(f)")
    assert latency(subject(long)) > 1.5 * latency(subject(Genome.from_text("tanh(x)")))


@pytest.mark.parametrize(("layout", "kinds"), [("bchw", ["BatchNorm2d", "ReLU"]), ("btd", ["LayerNorm", "GELU"])])
def test_layers_are_timed_against_torchs_own_of_the_same_layout(layout: str, kinds: list[str]) -> None:
    reference = reference_layer(layout)
    assert isinstance(reference, nn.Sequential)
    assert [type(part).__name__ for part in reference] == kinds
    assert reference(torch.ones(SHAPES[layout])).shape == SHAPES[layout]


def test_timing_leaves_gradients_and_the_global_generator_alone() -> None:
    layer, before = bn_relu(), torch.get_rng_state()
    x = torch.randn((2, SHAPES["bchw"][1], 4, 4), generator=torch.Generator().manual_seed(0))
    relative_time(forward_backward(layer, x), forward_backward(bn_relu(), x), CPU)
    latency(subject(S0))
    assert all(parameter.grad is None for parameter in layer.parameters())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("sigmoid(x)", 2),  # weight and bias
        ("add(x, v0)", 3),
        ("a = mul(x, v1); b = add(a, v1); sigmoid(b)", 3),
        ("a = mul(x, v1); add(a, v0)", 4),
        ("a = add(v0, v1); sigmoid(x)", 2),  # inactive nodes have no parameters
    ],
)
def test_parameters_are_weight_and_bias_and_what_the_layer_uses(text: str, count: int) -> None:
    assert parameters(subject(Genome.from_text(text))) == count


@pytest.mark.parametrize(("limit", "margin"), [(0.5, 1), (2, 2), (3.9, 2), (4, 4), (9, 8), (1e9, 64)])
def test_the_margin_is_the_last_factor_before_the_first_that_fails(limit: float, margin: float) -> None:
    tried: list[float] = []

    def trains(factor: float) -> bool:
        tried.append(factor)
        return factor <= limit

    assert OBJECTIVES["stability_margin"].measure(subject(trains=trains)) == margin
    assert tried == [2.0**i for i in range(1, len(tried) + 1)]
    assert tried[-1] == min(2 * margin, 64)


def parabola(curvature: float, *, blind: bool = False) -> Task:
    """Loss curvature / 2 * (bias - 1)^2 from bias 0; the score is 1 if the bias came nearer to 1, or if ``blind``."""

    def build(_seed: int) -> nn.Module:
        model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 1))
        nn.init.zeros_(model[4].bias)  # type: ignore[arg-type]
        return model

    def batches(_seed: int) -> Iterator[Tensor]:
        while True:
            yield torch.ones(2, 3, 4, 4)

    def loss(model: nn.Module, batch: Any) -> Tensor:
        bias = model.get_submodule("4").bias
        return 0 * model(batch).sum() + curvature / 2 * (bias - 1).square().sum()

    def score(model: nn.Module) -> float:
        return float(blind or abs(model.get_submodule("4").bias.item() - 1) < 0.999)

    return Task("parabola", build, batches, loss, score, resized=lambda _: parabola(curvature), shifted=score)


def evaluate(task: Task, *, objectives: tuple[str, ...] = ("stability_margin",)) -> Evaluation:
    training = TrainingConfig(steps=120, learning_rate=0.1, momentum=0.0, schedule="constant")
    protocols = ProtocolsConfig(quality=QualityConfig(steps=100, min_accuracy=0.5))
    return Evaluator((task,), training, protocols, LayerConfig(), 1, objectives=objectives)(S0)


@pytest.mark.parametrize(("curvature", "margin"), [(15.0, 1), (7.0, 2), (1.9, 8), (0.45, 32), (0.01, 64)])
def test_the_margin_of_a_parabola_is_where_gradient_descent_leaves_it(curvature: float, margin: float) -> None:
    """Factor f trains if 0.1 f < 2 / curvature."""
    assert 0.1 * margin < 2 / curvature
    assert margin == 64 or 0.1 * 2 * margin > 2 / curvature
    assert evaluate(parabola(curvature)).extras == {"stability_margin": margin}


@pytest.mark.parametrize(("curvature", "margin"), [(15.0, 1), (7.0, 2)])
def test_a_loss_that_leaves_the_numbers_ends_the_ladder_whatever_the_score(curvature: float, margin: float) -> None:
    assert abs(1 - 0.2 * margin * curvature) ** 200 > 3.4e38  # the squared error after 100 steps, in float32
    assert evaluate(parabola(curvature, blind=True)).extras == {"stability_margin": margin}


def test_only_what_was_trained_in_full_has_extras() -> None:
    rejected = evaluate(parabola(21.0))
    assert rejected.rejection is not None
    assert rejected.extras == {}
    found = evaluate(parabola(1.0), objectives=tuple(OBJECTIVES))
    assert list(found.extras) == list(OBJECTIVES)
    assert found.mean == found.objectives["parabola"] == 1.0
    assert evaluate(parabola(1.0), objectives=()).extras == {}


def test_an_error_while_an_objective_is_measured_rejects_the_layer() -> None:
    task = parabola(1.0)
    calls = iter(range(10_000))

    def loss(model: nn.Module, batch: Any) -> Tensor:
        if next(calls) == 130:  # the full training takes 120 steps
            raise torch.OutOfMemoryError("out of memory")
        return task.loss(model, batch)

    found = evaluate(Task(task.name, task.build, task.batches, loss, task.metric))
    assert found.rejection is not None
    assert found.rejection.detail == "objectives.stability_margin: out of memory"
    assert (found.objectives, found.extras) == ({}, {})


@pytest.mark.parametrize(
    ("finals", "expected"),
    [
        ((3.0, 2.0, 1.5, 2.5, math.nan), (1.5 + 0.5 + 0 + 1.0 + 3.5) / 5),  # what diverged counts as the initial loss
        ((5.0, 6.0, math.nan, math.nan, math.nan), 5.0),  # nothing was learned
    ],
)
def test_lr_sensitivity_is_the_published_mean_over_five_learning_rates(
    finals: tuple[float, ...], expected: float
) -> None:
    by_factor = dict(zip((1 / 9, 1 / 3, 1.0, 3.0, 9.0), finals, strict=True))
    found = subject(losses=lambda factor: (5.0, by_factor[factor]))
    assert OBJECTIVES["lr_sensitivity"].measure(found) == pytest.approx(expected)
    assert OBJECTIVES["lr_sensitivity"].weight == -1


@pytest.mark.parametrize(
    ("metric", "tolerated"),
    [
        (lambda _: 1.0, 0.95),
        (lambda s: 1.0 - s, 0.0),
        (lambda s: 0.02 * math.exp(-0.0501 * (s > 0.62)), 0.6),  # nats, whatever the level
        (lambda s: 0.02 * math.exp(-0.0499 * (s > 0.62)), 0.95),
        (lambda s: 1.0 if s < 0.32 or s > 0.7 else 0.5, 0.3),  # up to the first that is too much
        (lambda s: math.nan if s > 0.12 else 1.0, 0.1),
    ],
)
def test_the_tolerated_sparsity_is_the_last_before_the_loss_rises(
    metric: Callable[[float], float], tolerated: float
) -> None:
    assert OBJECTIVES["activation_sparsity"].measure(subject(sparse_metric=metric)) == pytest.approx(tolerated)
    assert OBJECTIVES["activation_sparsity"].weight == 1


@pytest.mark.usefixtures("tables")
def test_an_objective_of_a_user_is_measured_where_it_is_named() -> None:
    register_objective(Objective("nodes", -1.0, lambda subject: len(subject.genome.nodes), "nodes"))
    named = ObjectivesConfig(parameters=True, own=("nodes", "parameters"))
    assert named.names == ("parameters", "nodes")
    with pytest.raises(InputError, match=r"objectives\.own: unknown objective 'node'; .*did you mean 'nodes'"):
        require_searchable(loads('name = "a"\nobjectives.own = ["node"]\n[[tasks]]\narchitecture = "densenet"\n'))
    found = evaluate(parabola(1.0), objectives=("nodes",))
    assert found.extras == {"nodes": len(S0.nodes)}
    better, worse = (Individual.of(n, S0, {"a": 0.5}, FULL_TRAINING, {"nodes": float(n)}) for n in (5, 6))
    assert [i.index for i in pareto_front([better, worse])] == [5]


@pytest.mark.usefixtures("tables")
def test_a_layer_for_which_an_objective_is_no_number_is_rejected() -> None:
    register_objective(Objective("odd", 1.0, lambda _: math.nan, "no number"))
    found = evaluate(parabola(1.0), objectives=("parameters", "odd"))
    assert found.rejection == Rejection("objectives", "not a finite number", detail="odd")
    assert (found.objectives, found.extras) == ({}, {})
