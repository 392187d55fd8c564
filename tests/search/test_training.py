"""Oracles: the optimizer's own groups, a bias that moves by the learning rate, and tasks with dictated findings."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from made_tasks import made_task, network
from oracles import MAP_LAYERS
from torch import Tensor, nn

from evonas.config import LayerConfig, TrainingConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.lower import NormActLayer
from evonas.search.rungs import likelihood
from evonas.search.training import Training, task_optimizer
from evonas.surgery.install import with_layer
from evonas.tasks.task import Task, first_samples

GN = CATALOGUE["gn-relu"]


@pytest.mark.parametrize("name", MAP_LAYERS)
def test_weight_decay_spares_the_vectors(name: str) -> None:
    model = with_layer(network(), CATALOGUE[name], LayerConfig())
    decayed, spared = task_optimizer(model, TrainingConfig(weight_decay=0.25)).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.25, 0.0)
    ids = {key: {id(p) for p in group["params"]} for key, group in (("decayed", decayed), ("spared", spared))}
    assert not ids["decayed"] & ids["spared"]
    named = {name: id(p) for name, p in model.named_parameters()}
    assert ids["decayed"] | ids["spared"] == set(named.values())
    matrices = {name for name, i in named.items() if i in ids["decayed"]}
    assert matrices == {"0.weight", "3.weight", "6.weight"}
    for layer in (module for module in model.modules() if isinstance(module, NormActLayer)):
        assert {id(p) for p in layer.parameters()} <= ids["spared"]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_optimizer_takes_its_numbers_from_the_configuration(momentum: float) -> None:
    optimizer = task_optimizer(network(), TrainingConfig(learning_rate=0.3, momentum=momentum))
    for group in optimizer.param_groups:
        assert (group["lr"], group["momentum"], group["nesterov"]) == (0.3, momentum, momentum > 0)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_schedule_spans_the_whole_training(schedule: str) -> None:
    places: list[float] = []

    def drift(model: nn.Module, batch: Tensor) -> Tensor:
        """The bias moves by the learning rate, as its gradient is -1."""
        bias = model.get_submodule("6").bias
        places.append(bias[0].item())
        return 0 * model(batch).sum() - bias.sum()

    settings = TrainingConfig(steps=8, learning_rate=0.5, momentum=0.0, schedule=schedule)
    training = Training(made_task(loss=drift), CATALOGUE["evonorm-s0"], settings, LayerConfig(), seed=1)
    for steps in (3, 5):  # in pieces, as between rungs
        training.advance(steps)
    expected = [0.5 * (1 if schedule == "constant" else (1 + math.cos(math.pi * i / 8)) / 2) for i in range(7)]
    assert np.diff(places) == pytest.approx(expected, abs=1e-6)


def with_hooks(seen: list[int]) -> Task:
    """A task with an optimizer of its own, whose figures, curve and picture are dictated."""
    return replace(
        made_task(),
        metric=lambda _: {"first": 0.25, "second": 8.0},
        optimizer=lambda model, settings: torch.optim.Adam(model.parameters(), lr=settings.learning_rate / 10),
        after_step=lambda _, step: seen.append(step),
        curves=lambda _: {"own": [(step, float(step)) for step in seen]},
        pictures=lambda _: {"drawn": b"PNG"},
    )


def test_a_task_has_its_own_optimizer_figures_curves_and_pictures() -> None:
    seen: list[int] = []
    settings = TrainingConfig(steps=6, schedule="constant", learning_rate=0.5)
    training = Training(with_hooks(seen), CATALOGUE["evonorm-s0"], settings, LayerConfig(), seed=1)
    training.advance(2)
    training.advance(4)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert isinstance(training._optimizer, torch.optim.Adam)
    assert training._optimizer.param_groups[0]["lr"] == 0.05
    assert training.score() == 0.25
    found = training.findings()
    assert found.figures == {"first": 0.25, "second": 8.0}
    assert found.curves["own"] == tuple((step, float(step)) for step in range(1, 7))
    assert found.curves["training loss"] == tuple(enumerate(training.losses, 1))
    assert found.pictures == {"drawn": b"PNG"}


@pytest.mark.parametrize("by_metric", [False, True])
def test_the_score_at_a_rung_is_the_metric_where_a_task_says_so(by_metric: bool) -> None:
    task = replace(made_task(metric=0.75), rung_by_metric=by_metric)
    training = Training(task, CATALOGUE["evonorm-s0"], TrainingConfig(steps=6), LayerConfig(), seed=1)
    training.advance(3)
    training.at_rung(None)
    assert training.rungs == {3: 0.75 if by_metric else likelihood(training.losses)}


@pytest.mark.parametrize(("option", "dtype"), [({"autocast": True}, torch.bfloat16), ({}, torch.float32)])
def test_autocast_computes_convolutions_in_bfloat16_and_keeps_weights_as_they_are(
    option: dict[str, bool], dtype: torch.dtype
) -> None:
    seen: list[torch.dtype] = []

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        seen.append(model.get_submodule("0")(batch).dtype)
        return model(batch).float().square().mean()

    training = Training(made_task(loss=loss), GN, TrainingConfig(steps=2, **option), LayerConfig(), seed=1)
    training.advance(2)
    assert seen == [dtype] * 2
    assert {parameter.dtype for parameter in training.network.parameters()} == {torch.float32}


def test_channels_last_lays_out_kernels_and_changes_no_loss() -> None:
    losses = []
    for last in (False, True):
        training = Training(made_task(), GN, TrainingConfig(steps=3, channels_last=last), LayerConfig(), seed=1)
        training.advance(3)
        kernel = training.network.get_submodule("0").weight
        assert kernel.is_contiguous(memory_format=torch.channels_last) == last
        losses.append(training.losses)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_the_first_samples_of_a_batch_are_those_of_each_part() -> None:
    images, boxes = torch.arange(12).view(6, 2), [{"n": n} for n in range(6)]
    found = first_samples((images, boxes, "kind"), 2)
    assert torch.equal(found[0], images[:2])
    assert found[1:] == (boxes[:2], "kind")


def test_the_first_samples_of_a_named_batch_have_its_names() -> None:
    class Batch(NamedTuple):
        images: list[int]
        seed: int

    assert first_samples(Batch([1, 2, 3], 5), 2) == Batch([1, 2], 5)
    assert isinstance(first_samples(Batch([1, 2, 3], 5), 2), Batch)
