"""Oracles: the optimality conditions of the sparse group lasso, its objective, and numbers worked out by hand."""

import pytest
import torch
from torch import Tensor

from evonas.studies.steering.proximal import group_shrink, shrink_to_identity, soft_threshold, sparse_group_prox


def objective(u: Tensor, v: Tensor, t: float) -> Tensor:
    return (u - v).square().sum() / 2 + t * (u.abs().sum() + len(u) ** 0.5 * u.norm())


def test_the_parts_by_hand() -> None:
    assert soft_threshold(torch.tensor([3.0, -2.0, 0.5, 0.0]), 1.0).tolist() == [2, -1, 0, 0]
    assert group_shrink(torch.tensor([3.0, 4.0]), 1.0).tolist() == pytest.approx([2.4, 3.2])
    assert group_shrink(torch.tensor([3.0, 4.0]), 5.0).tolist() == [0, 0]
    assert group_shrink(torch.zeros(2), 0.0).tolist() == [0, 0]
    # soft threshold of 1 gives (2, -1, 0, 0); its norm 5^.5 loses 1 * 4^.5
    factor = 1 - 2 / 5**0.5
    found = sparse_group_prox(torch.tensor([3.0, -2.0, 0.5, 0.0]), 1.0)
    assert found.tolist() == pytest.approx([2 * factor, -factor, 0, 0])


@pytest.mark.parametrize("t", [0.01, 0.1, 0.3, 0.6])
def test_no_other_point_is_better(t: float) -> None:
    generator = torch.Generator().manual_seed(1)
    v = torch.randn(9, generator=generator, dtype=torch.float64)
    u = sparse_group_prox(v, t)
    on = u != 0
    if on.any():  # the gradient vanishes where u is not 0; where it is, the soft threshold holds it
        slope = u - v + t * u.sign() + t * 3 * u / u.norm()
        torch.testing.assert_close(slope[on], torch.zeros(int(on.sum()), dtype=torch.float64))
        assert (v[~on].abs() <= t).all()
    else:
        assert soft_threshold(v, t).norm() <= 3 * t
    for scale in (1e-3, 0.1, 1.0):
        for _ in range(30):
            other = u + scale * torch.randn(9, generator=generator, dtype=torch.float64)
            assert objective(u, v, t) < objective(other, v, t)


def test_steps_are_centred_at_the_identity_and_zeros_are_exact() -> None:
    weight, bias = torch.tensor([1.0, 1.05, 3.0]), torch.tensor([1e-3, -0.02, 0.03])
    moved, shifted = 1 + sparse_group_prox(weight - 1, 0.1), sparse_group_prox(bias, 0.1)
    shrink_to_identity(weight, bias, 0.1)
    assert torch.equal(weight, moved)
    assert torch.equal(bias, shifted)
    assert weight.tolist() == [1, 1, pytest.approx(3 - 0.1 - 0.1 * 3**0.5, abs=1e-5)]
    assert not bias.any()  # a group of its own
