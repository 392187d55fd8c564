"""Oracles: maps that made the target, numpy's least squares on sorted samples, a direction that separates."""

import numpy as np
import pytest
import torch
from torch import Tensor

from evonas.studies.steering.estimators import classifier_shift, linear_transport, mean_shift


def drawn(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


W, B = torch.tensor([2.0, 0.3, 1.0]).double(), torch.tensor([-1.0, 0.0, 5.0]).double()


def test_the_map_that_made_the_target_is_found_whatever_the_order() -> None:
    source = drawn(40, 3, 0)
    target = (W * source + B)[torch.randperm(40, generator=torch.Generator().manual_seed(1))]
    for samples in (target, target.repeat(3, 1)):
        found = linear_transport(source, samples, bounded=False)
        torch.testing.assert_close(found.weight, W)
        torch.testing.assert_close(found.bias, B)


def test_between_two_gaussians_it_is_the_ratio_of_deviations() -> None:
    found = linear_transport(drawn(20_000, 3, 0), W * drawn(15_000, 3, 1) + B, bounded=False)
    torch.testing.assert_close(found.weight, W, rtol=0.02, atol=0)
    torch.testing.assert_close(found.bias, B, rtol=0, atol=0.05)


def test_it_is_the_least_squares_line_through_sorted_samples() -> None:
    source, target = drawn(12, 3, 0).exp(), drawn(12, 3, 1)
    found = linear_transport(source, target, bounded=True)
    for k in range(3):
        slope, intercept = np.polyfit(np.sort(source[:, k].numpy()), np.sort(target[:, k].numpy()), 1)
        assert found.weight[k].item() == pytest.approx(slope)
        assert found.bias[k].item() == pytest.approx(intercept)
    assert torch.equal(found.low, source.amin(0))
    assert torch.equal(found.high, source.amax(0))


@pytest.mark.parametrize("bounded", [True, False])
def test_a_neuron_that_does_not_vary_is_shifted(bounded: bool) -> None:
    source, target = drawn(8, 2, 0).float(), drawn(8, 2, 1).float()
    source[:, 0] = 0.1
    found = linear_transport(source, target, bounded=bounded)
    assert found.weight.dtype == torch.float32
    assert found.weight[0] == 1
    assert found.bias[0].item() == pytest.approx(target[:, 0].mean().item() - 0.1, abs=1e-6)
    torch.testing.assert_close(found(source).mean(0), target.mean(0), rtol=1e-5, atol=1e-6)


def test_the_mean_shift_moves_the_mean_alone() -> None:
    source, target = drawn(9, 3, 0), drawn(14, 3, 1) * 4 + 1
    found = mean_shift(source, target)
    assert torch.equal(found.weight, torch.ones(3).double())
    torch.testing.assert_close(found(source).mean(0), target.mean(0))


def test_the_classifier_shift_is_one_deviation_along_what_separates() -> None:
    direction = torch.tensor([3.0, 4.0, 0.0]).double() / 5
    source = drawn(300, 3, 0)
    target = drawn(300, 3, 1) + 4 * direction
    found = classifier_shift(source, target)
    length = found.bias.norm()
    assert (found.bias @ direction / length).item() > 0.98
    along = torch.cat([source, target]) @ (found.bias / length)
    assert length.item() == pytest.approx(along.std(correction=0).item())
    assert torch.equal(found.weight, torch.ones(3).double())


def test_the_classifier_shift_scales_with_the_activations() -> None:
    source, target = drawn(20, 3, 0), drawn(20, 3, 1) + 1
    small, large = classifier_shift(source, target), classifier_shift(1e4 * source + 7, 1e4 * target + 7)
    torch.testing.assert_close(large.bias, 1e4 * small.bias, rtol=1e-5, atol=0)
    assert not classifier_shift(torch.ones(3, 2), torch.ones(3, 2)).bias.any()
