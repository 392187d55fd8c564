"""Oracles: the modes and the generator's state written down before."""

import pytest
import torch
from torch import nn

from evonas.training.modes import evaluating, seeded


def test_each_module_gets_its_own_mode_back_after_an_error_too() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(3), nn.Dropout()))
    model[1][0].eval()
    modes = [module.training for module in model.modules()]
    assert modes == [True, True, True, False, True]
    with evaluating(model):
        assert not any(module.training for module in model.modules())
        model[0].train()
    assert [module.training for module in model.modules()] == modes
    with pytest.raises(ValueError, match="inside"), evaluating(model):
        raise ValueError("inside")
    assert [module.training for module in model.modules()] == modes


def test_a_seed_holds_inside_only_and_the_stream_outside_goes_on() -> None:
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    before = torch.rand(2)
    with seeded(3):
        first = torch.rand(5)
    with pytest.raises(TypeError), seeded(3):
        torch.rand(None)
    torch.testing.assert_close(torch.cat([before, torch.rand(2)]), expected, rtol=0, atol=0)
    torch.testing.assert_close(first, torch.rand(5, generator=torch.Generator().manual_seed(3)), rtol=0, atol=0)
