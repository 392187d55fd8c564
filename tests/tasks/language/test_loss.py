"""Oracle: the formula written plainly in double precision, torch's autograd of it, and its derivative by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from evonas.tasks.language.loss import z_loss_cross_entropy


def drawn(size: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = size * torch.randn(2, 5, 7, generator=generator, dtype=torch.float64)
    return logits, torch.randint(7, (2, 5), generator=generator)


def plain(logits: Tensor, targets: Tensor, z: float) -> Tensor:
    normalizer = logits.exp().sum(-1)
    chosen = logits.gather(-1, targets[..., None])[..., 0]
    return (normalizer.log() - chosen + z * normalizer.log() ** 2).mean()


@pytest.mark.parametrize("z", [0.0, 1e-4, 0.5])
def test_loss_and_gradient_are_those_of_the_formula(z: float) -> None:
    logits, targets = drawn()
    ours, theirs = (logits.clone().requires_grad_() for _ in range(2))
    loss, expected = z_loss_cross_entropy(ours, targets, z), plain(theirs, targets, z)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    (gradient,), (wanted,) = torch.autograd.grad(loss, ours), torch.autograd.grad(expected, theirs)
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-8)
    share = logits.softmax(-1)
    by_hand = share - functional.one_hot(targets, 7) + 2 * z * logits.logsumexp(-1, keepdim=True) * share
    torch.testing.assert_close(gradient, by_hand / 10, rtol=1e-5, atol=1e-8)


def test_only_z_loss_sees_a_common_shift() -> None:
    logits, targets = drawn()
    assert z_loss_cross_entropy(logits + 50, targets).item() == pytest.approx(
        z_loss_cross_entropy(logits, targets).item(), rel=1e-5
    )
    assert z_loss_cross_entropy(logits + 50, targets, 1e-2) > z_loss_cross_entropy(logits, targets, 1e-2) + 20


def test_large_and_half_precision_logits_are_finite() -> None:
    logits, targets = drawn(1e4)
    assert z_loss_cross_entropy(logits, targets, 1e-4).isfinite()
    assert z_loss_cross_entropy(logits.bfloat16(), targets, 1e-4).dtype == torch.float32
