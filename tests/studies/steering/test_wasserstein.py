"""Oracles: sorted samples and quantile functions in numpy, scipy's W_1 for the pairing, numerical gradients."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from evonas.errors import InputError
from evonas.studies.steering.wasserstein import (
    pairing,
    quantiles,
    squared_distance,
    squared_wasserstein,
    transport_loss,
)


def drawn(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_with_equal_counts_it_is_the_mean_square_between_sorted_samples() -> None:
    u, v = drawn(17, 5, 0), 2 * drawn(17, 5, 1) + 1
    wanted = ((np.sort(u.numpy(), 0) - np.sort(v.numpy(), 0)) ** 2).mean(0)
    np.testing.assert_allclose(squared_wasserstein(u, v).numpy(), wanted, rtol=1e-12)
    assert not quantiles(v, 17).spread.any()
    assert torch.equal(quantiles(v, 17).means, v.sort(0).values)


@pytest.mark.parametrize(("n", "m"), [(6, 4), (4, 6), (3, 9), (1, 5), (5, 1), (7, 11)])
def test_with_other_counts_it_is_the_integral_over_quantile_functions(n: int, m: int) -> None:
    u, v = drawn(n, 3, n), drawn(m, 3, m + 50)
    common = math.lcm(n, m)  # on this grid both quantile functions are constant in each cell
    stretched = (np.repeat(np.sort(x.numpy(), 0), common // len(x), 0) for x in (u, v))
    wanted = (np.subtract(*stretched) ** 2).mean(0)
    np.testing.assert_allclose(squared_wasserstein(u, v).numpy(), wanted, rtol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(6, 4), (32, 32), (5, 12)])
def test_the_pairing_gives_the_first_distance_of_scipy(n: int, m: int) -> None:
    u, v = drawn(n, 1, 3).flatten().sort().values, drawn(m, 1, 4).flatten().sort().values
    i, j, mass = pairing(n, m)
    assert mass.sum() == n * m
    assert torch.equal(torch.bincount(i, mass).long(), torch.full((n,), m))  # each sample gives or gets its share
    assert torch.equal(torch.bincount(j, mass).long(), torch.full((m,), n))
    found = ((u[i] - v[j]).abs() * mass).sum() / (n * m)
    assert found.item() == pytest.approx(wasserstein_distance(u.numpy(), v.numpy()), rel=1e-12)


def test_it_is_symmetric_and_zero_for_repeated_samples_only() -> None:
    u, v = drawn(4, 2, 0), drawn(6, 2, 1)
    torch.testing.assert_close(squared_wasserstein(u, v), squared_wasserstein(v, u))
    torch.testing.assert_close(squared_wasserstein(u, u.repeat(3, 1)), torch.zeros(2, dtype=torch.float64))
    assert (squared_wasserstein(u, v) > 0).all()


@pytest.mark.parametrize("m", [6, 4, 9])
def test_gradients_are_those_of_differences(m: int) -> None:
    goal = quantiles(drawn(m, 3, 1), 6)
    assert torch.autograd.gradcheck(lambda u: squared_distance(u, goal), drawn(6, 3, 0).requires_grad_())


def test_the_two_reductions_differ_by_samples_over_sites_and_neurons() -> None:
    sources, targets = [drawn(8, 5, k) for k in range(3)], [drawn(20, 5, k) for k in range(3, 6)]
    goals = [quantiles(target, 8) for target in targets]
    total = sum(squared_wasserstein(u, v).sum() for u, v in zip(sources, targets, strict=True))
    assert transport_loss(sources, goals, "sum").item() == pytest.approx(total.item())
    assert transport_loss(sources, goals, "mean").item() == pytest.approx(8 / (3 * 5) * total.item())


def test_sites_of_different_width_count_alike_in_the_mean() -> None:
    sources, targets = [torch.zeros(4, 1), torch.zeros(4, 100)], [torch.ones(4, 1), torch.ones(4, 100)]
    goals = [quantiles(target, 4) for target in targets]
    assert transport_loss(sources, goals, "mean").item() == pytest.approx(4)
    assert transport_loss(sources, goals, "sum").item() == pytest.approx(101)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(InputError, match=r"^reduction: 'median'; accepted: mean, sum$"):
        transport_loss([torch.zeros(2, 1)], [quantiles(torch.zeros(2, 1), 2)], "median")
