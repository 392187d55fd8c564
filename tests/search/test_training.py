"""Oracles: the optimizer's own groups, and a bias that moves by the learning rate."""

import math

import numpy as np
import pytest
from made_tasks import made_task, network
from oracles import MAP_LAYERS
from torch import Tensor, nn

from evonas.config import LayerConfig, TrainingConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.lower import NormActLayer
from evonas.search.training import Training, task_optimizer
from evonas.surgery.install import with_layer


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
