"""Oracles: rotation as a product of complex numbers, attention written out in numpy, torch's fused kernel."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evonas.tasks.language.attention import Attend, Attention, FixedRms, Rotary
from evonas.tasks.language.settings import ModelConfig


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rotation_is_a_product_with_a_complex_number_of_modulus_1() -> None:
    x, size = drawn(2, 3, 9, 6), 6
    pairs = x[..., :3].numpy() + 1j * x[..., 3:].numpy()
    speeds = 10_000.0 ** (-2 * np.arange(3) / size)
    turned = pairs * np.exp(1j * np.arange(9)[:, None] * speeds)
    found = Rotary(size, context=12)(x).numpy()
    np.testing.assert_allclose(found, np.concatenate([turned.real, turned.imag], -1), atol=1e-6)


def test_products_depend_on_the_distance_alone() -> None:
    rotary = Rotary(8, context=20)
    q, k = (rotary(drawn(8, seed=seed).expand(1, 1, 20, 8)) for seed in (1, 2))
    products = (q @ k.mT)[0, 0].numpy()
    for distance in range(-19, 20):
        assert np.ptp(np.diag(products, distance)) < 1e-5
    assert np.ptp(products) > 0.1


def test_rotation_keeps_the_precision_of_its_input() -> None:
    x = drawn(1, 1, 4, 8)
    assert Rotary(8, 4)(x.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(Rotary(8, 4)(x)[:, :, 0], x[:, :, 0])


@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_attention_is_that_of_the_formula(softcap: float) -> None:
    q, k, v = (drawn(2, 3, 10, 4, seed=seed) for seed in range(3))
    logits = 0.7 * np.einsum("bhid,bhjd->bhij", q, k)
    logits = softcap * np.tanh(logits / softcap) if softcap else logits
    weights = np.exp(logits) * np.tri(10)
    weights /= weights.sum(-1, keepdims=True)
    found = Attend(0.7, softcap)(q, k, v).numpy()
    np.testing.assert_allclose(found, weights @ v.numpy(), atol=1e-6 if softcap else 1e-12)


def test_a_large_softcap_changes_nothing() -> None:
    q, k, v = (drawn(1, 2, 10, 4, seed=seed) for seed in range(3))
    torch.testing.assert_close(Attend(0.5, 1e6)(q, k, v), Attend(0.5, 0.0)(q, k, v), rtol=1e-5, atol=1e-6)


def test_queries_and_keys_are_normalized_per_head_with_one_gain_for_all_heads() -> None:
    attention = Attention(ModelConfig(width=24, head_size=4, context=8))
    seen = []
    attention.attend.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    for norm in (attention.query_norm, attention.key_norm):
        assert isinstance(norm, nn.LayerNorm)
        assert [(name, p.shape) for name, p in norm.named_parameters()] == [("weight", (4,))]
    assert attention.query_norm is not attention.key_norm
    attention(5 * drawn(2, 8, 24).float())
    for z in seen[:2]:
        assert z.shape == (2, 6, 8, 4)
        assert z.square().mean(-1).flatten().tolist() == pytest.approx([1.0] * 96, rel=1e-4)  # rotation keeps it
    assert seen[2].square().mean(-1).std() > 0.1


def test_without_qk_layernorm_nothing_normalizes() -> None:
    attention = Attention(ModelConfig(width=8, head_size=4, qk_layernorm=False))
    assert isinstance(attention.query_norm, nn.Identity)
    assert all(p.shape == (8, 8) for p in attention.parameters())
    x = drawn(1, 5, 8).float()
    assert not torch.allclose(attention(3 * x), 3 * attention(x))


def test_the_transplant_gives_each_head_a_mean_square_of_kappa() -> None:
    z = FixedRms(50.0)(drawn(2, 3, 5, 16))
    assert z.square().mean(-1).flatten().tolist() == pytest.approx([50.0] * 30)
    assert isinstance(Attention(ModelConfig(qk_layernorm=False, qk_kappa=50.0)).key_norm, FixedRms)
