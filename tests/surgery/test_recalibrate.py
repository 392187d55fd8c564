"""Recalibration. Oracle: the statistics of each batch by hand, and ``nn.BatchNorm2d(momentum=None)``."""

import copy

import pytest
import torch
from torch import nn

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.export import source_of
from evonas.layer.lower import lower
from evonas.surgery.recalibrate import recalibrate


def batches(count: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [2 + (1 + k) * torch.randn(4, 3, 5, 5, generator=draw) for k in range(count)]


def test_an_evolved_layer_gets_the_mean_of_the_statistics() -> None:
    layer = lower(CATALOGUE["evonorm-b0"], 3).train()
    assert recalibrate(layer, batches(5)) == 5
    expected = torch.stack([x.var((0, 2, 3), correction=0) for x in batches(5)]).mean(0)
    (running,) = (b for name, b in layer.named_buffers() if name.endswith("running"))
    torch.testing.assert_close(running.flatten(), expected)


def test_an_exported_layer_gets_the_same() -> None:
    names: dict = {}
    exec(source_of(CATALOGUE["evonorm-b0"], name="b0"), names)
    layer = names["B0"](3)
    recalibrate(layer, batches(5), steps=3)
    expected = torch.stack([x.var((0, 2, 3), correction=0) for x in batches(3)]).mean(0)
    (running,) = (b for name, b in layer.named_buffers() if name.endswith("running"))
    torch.testing.assert_close(running.flatten(), expected)


def test_a_network_of_torch_gets_what_momentum_none_gives_and_keeps_its_modes_and_momenta() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.9), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
    model[1].eval()
    expected = copy.deepcopy(model)
    for norm in (expected[1], expected[4]):
        norm.momentum = None
        norm.reset_running_stats()
        norm.train()
    expected[2].eval()
    weights = copy.deepcopy(list(model.parameters()))
    with torch.no_grad():
        for x in batches(4):
            expected(x)
    recalibrate(model, ((x, "label") for x in batches(4)))
    for place in (1, 4):
        torch.testing.assert_close(model[place].running_mean, expected[place].running_mean)
        torch.testing.assert_close(model[place].running_var, expected[place].running_var)
        assert model[place].momentum == 0.1
    assert [part.training for part in model] == [True, False, True, True, True]
    assert all(torch.equal(*both) for both in zip(weights, model.parameters(), strict=True))


def test_no_batches_are_an_error_and_change_nothing() -> None:
    model = nn.BatchNorm2d(3)
    with pytest.raises(InputError, match="at least one batch"):
        recalibrate(model, [])
    assert torch.equal(model.running_var, torch.ones(3))
    assert model.momentum == 0.1
