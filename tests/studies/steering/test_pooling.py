"""Oracles: numpy over the tokens that count, one sample at a time."""

import numpy as np
import pytest
import torch

from evonas.errors import InputError
from evonas.studies.steering.pooling import Pooling

Z = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 1, 0, 0, 0]])  # whole, padded on the left, on the right
FUNCTIONS = {"mean": lambda x: x.mean(0), "max": lambda x: x.max(0), "min": lambda x: x.min(0), "last": lambda x: x[-1]}


@pytest.mark.parametrize("skip_first", [True, False])
@pytest.mark.parametrize("pool", FUNCTIONS)
def test_tokens_that_are_padding_or_first_do_not_count(pool: str, skip_first: bool) -> None:
    found = Pooling(pool, skip_first)(Z, -1, MASK)
    for row, z, mask in zip(found, Z.numpy(), MASK.bool().numpy(), strict=True):
        np.testing.assert_allclose(row.numpy(), FUNCTIONS[pool](z[mask][int(skip_first) :]), rtol=1e-6)


@pytest.mark.parametrize("pool", FUNCTIONS)
def test_without_a_mask_all_tokens_count(pool: str) -> None:
    torch.testing.assert_close(Pooling(pool)(Z, -1), Pooling(pool)(Z, -1, torch.ones(3, 5)))


@pytest.mark.parametrize("pool", FUNCTIONS)
def test_padding_may_be_anything(pool: str) -> None:
    spoilt = torch.where(MASK.bool()[..., None], Z, torch.nan).requires_grad_()
    found = Pooling(pool)(spoilt, -1, MASK)
    assert torch.equal(found, Pooling(pool)(Z, -1, MASK))
    found.sum().backward()
    assert torch.isfinite(spoilt.grad).all()


def test_maps_are_pooled_over_space_and_vectors_stay() -> None:
    maps = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(Pooling()(maps, 1), maps.mean((2, 3)))
    torch.testing.assert_close(Pooling("max")(maps, 1), maps.amax((2, 3)))
    torch.testing.assert_close(Pooling()(maps, -1), maps.mean((1, 2)))
    torch.testing.assert_close(Pooling()(maps[..., 0], 1), maps[..., 0].mean(2))
    vectors = maps[..., 0, 0].clone()
    found = Pooling("last")(vectors, -1)
    vectors.relu_()  # as a layer that works in place does after the site
    assert torch.equal(found, maps[..., 0, 0])


def test_half_precision_is_pooled_in_single_and_double_in_double() -> None:
    large = torch.full((1, 3, 2), 6e4, dtype=torch.float16)  # their sum is no number of this type
    assert Pooling()(large, -1).dtype == torch.float32
    assert torch.isfinite(Pooling()(large, -1)).all()
    assert Pooling()(Z.double(), -1).dtype == torch.float64


def test_mistakes_are_named_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^pool: 'median'; accepted: mean, last, max, min$"):
        Pooling("median")
    with pytest.raises(InputError, match=r"attention_mask: \[3, 4\] for activations of \[3, 5\] tokens"):
        Pooling()(Z, -1, MASK[:, :4])
    alone = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [1, 1, 0, 0, 0]])
    with pytest.raises(InputError, match=r"sample 1 has no token to pool beside the first.*skip_first=False"):
        Pooling()(Z, -1, alone)
    with pytest.raises(InputError, match=r"sample 2 has no token to pool; give longer samples$"):
        Pooling(skip_first=False)(Z, -1, torch.tensor([[1] * 5, [1] * 5, [0] * 5]))
    with pytest.raises(InputError, match="a map has no last position"):
        Pooling("last")(torch.zeros(1, 2, 3, 3), 1)
