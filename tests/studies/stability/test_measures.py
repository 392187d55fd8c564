"""Oracle: the formulas in numpy over the whole [b, h, t, t] at once, in double precision."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from evonas.studies.stability.measures import ROWS, entropies, log_z, max_logits, tensor_rms
from evonas.tasks.language.attention import capped

SCALE = 0.3


def drawn(*shape: int, seed: int = 0, size: float = 1.0) -> Tensor:
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def whole(q: Tensor, k: Tensor, softcap: float = 0.0) -> np.ndarray:
    logits = SCALE * np.einsum("bhid,bhjd->bhij", q.double().numpy(), k.double().numpy())
    if softcap:
        logits = softcap * np.tanh(logits / softcap)
    return np.where(np.tri(q.shape[2], dtype=bool), logits, -np.inf)


@pytest.mark.parametrize("length", [1, 5, ROWS, ROWS + 1, 2 * ROWS + 7])
@pytest.mark.parametrize("softcap", [0.0, 1.5])
def test_attention_is_measured_as_if_it_were_there_at_once(length: int, softcap: float) -> None:
    q, k = (drawn(2, 3, length, 4, seed=seed, size=2) for seed in (1, 2))
    np.testing.assert_allclose(max_logits(q, k, SCALE), whole(q, k).max((0, 2, 3)), rtol=1e-5)
    weights = np.exp(logits := whole(q, k, softcap))
    weights /= weights.sum(-1, keepdims=True)
    logs = np.log(weights, where=np.isfinite(logits), out=np.zeros_like(weights))
    entropy = -(weights * logs).sum(-1).mean((0, 2))
    np.testing.assert_allclose(entropies(q, k, SCALE, softcap), entropy, rtol=1e-5, atol=1e-6)


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.elements = max(self.elements, result.numel())
        return result


@pytest.mark.parametrize("measure", [max_logits, entropies])
def test_the_whole_attention_is_never_in_memory(measure) -> None:  # type: ignore[no-untyped-def]
    q = drawn(1, 2, 8 * ROWS, 4)
    with Largest() as largest:
        measure(q, q, SCALE)
    assert 0 < largest.elements <= 2 * ROWS * 8 * ROWS


def test_the_future_does_not_count() -> None:
    q, k = drawn(1, 1, 6, 4, seed=1), drawn(1, 1, 6, 4, seed=2)
    k[:, :, -1] = 100 * q[:, :, 0]  # the largest of all products, and masked
    assert max_logits(q, k, SCALE).item() < SCALE * (k[0, 0, -1] @ q[0, 0, 0]).item() / 2


def test_logits_that_are_all_negative_have_a_negative_maximum() -> None:
    q = torch.ones(1, 1, 40, 4)
    assert max_logits(q, -q, 1.0).tolist() == [-4.0]


def test_what_is_not_a_number_is_not_hidden() -> None:
    q = torch.ones(1, 2, 40, 4)
    q[0, 1, 3, 2] = torch.nan
    assert max_logits(q, q, 1.0).isnan().tolist() == [False, True]


def test_equal_logits_have_the_entropy_of_a_uniform_distribution() -> None:
    q = torch.zeros(2, 1, 50, 4)
    assert entropies(q, q, 1.0).item() == pytest.approx(np.log(np.arange(1, 51)).mean())


def test_logits_are_in_single_precision_under_autocast() -> None:
    q = drawn(1, 1, 40, 16)
    with torch.autocast("cpu", torch.bfloat16):
        found = max_logits(q, q, SCALE)
    assert torch.equal(found, max_logits(q, q, SCALE))


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_squares_neither_vanish_nor_overflow(size: float) -> None:
    assert tensor_rms(torch.tensor([3.0, 4.0]) * size).item() == pytest.approx(12.5**0.5 * size)


def test_log_z_is_the_mean_logarithm_of_the_normalizer() -> None:
    logits = drawn(2, 3, 7)
    expected = np.log(np.exp(logits.double().numpy()).sum(-1)).mean()
    assert log_z(logits).item() == pytest.approx(expected, rel=1e-6)


def test_a_softcap_bounds_and_hardly_changes_small_logits() -> None:
    logits = torch.tensor([-1e6, -0.01, 0.0, 0.01, 1e6])
    assert capped(logits, 30.0).tolist() == pytest.approx([-30, -0.01, 0, 0.01, 30], rel=1e-5)
    assert capped(logits, 0.0) is logits
