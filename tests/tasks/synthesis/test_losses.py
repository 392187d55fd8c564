"""Oracle: sums by hand."""

import pytest
import torch

from evonas.tasks.synthesis.losses import discriminator_hinge, generator_hinge


def test_the_discriminator_pays_for_what_is_within_the_margin() -> None:
    real, fake = torch.tensor([2.0, 0.5, -1.0, 1.0]), torch.tensor([-3.0, 0.0, 1.5])
    assert discriminator_hinge(real, fake).item() == pytest.approx((0 + 0.5 + 2 + 0) / 4 + (0 + 1 + 2.5) / 3)


def test_the_generator_wants_large_logits() -> None:
    fake = torch.tensor([-3.0, 0.0, 1.5], requires_grad=True)
    loss = generator_hinge(fake)
    assert loss.item() == pytest.approx(0.5)
    loss.backward()
    assert torch.equal(fake.grad, torch.full((3,), -1 / 3))
