"""LinEAS with held-out samples.

Oracles: trainings by hand on the same samples; sources and targets of one distribution, of which there is nothing to be
learned; the held-out distance of every factor, computed neuron by neuron.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evonas.steering import Intervention, fit
from evonas.studies.steering.evaluation import distances
from evonas.studies.steering.held_out import FACTORS
from evonas.studies.steering.wasserstein import squared_wasserstein

OPTIONS: dict[str, Any] = {"sites": "0", "steps": 40, "optimizer": "adam", "lr": 0.05, "skip_first": False}


def drawn(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model() -> nn.Sequential:
    return nn.Sequential(nn.Identity(), nn.Tanh()).double()


def trained(source: Tensor, target: Tensor, **changes: Any) -> Intervention:
    return fit(model(), [source], [target], **OPTIONS | changes)


def distance(found: Intervention, source: Tensor, target: Tensor) -> float:
    return distances(found, model(), [source], [target], skip_first=False)["0"]


def test_held_out_samples_say_after_which_step_to_end() -> None:
    """Of source and target that differ by chance alone, little is learned; of others, more."""
    source, target, fresh = drawn(16, 30, 0), drawn(16, 30, 1), (drawn(400, 30, 2), drawn(400, 30, 3))
    plain, held = trained(source, target), trained(source, target, held_out=0.5)
    assert distance(plain, *fresh) > 2 * distance(held, *fresh)
    assert min(held.held) == held.held[len(held.held) - 1 - 8]  # ends eight steps, a fifth, after the least one
    assert len(held.losses) == len(held.held) - 1 < 40
    moved = trained(source, target + 2, held_out=0.25)
    assert distance(moved, source, target + 2) < 0.4 * distance(moved.at(0.0), source, target + 2)


def test_the_maps_are_those_of_the_training_that_has_seen_the_others_only() -> None:
    """Every fourth sample is held out: 0, 4, 8 of source and target."""
    source, target = drawn(12, 3, 0), drawn(12, 3, 1) + 1
    out = torch.arange(12) % 4 == 0
    held = trained(source, target, held_out=0.25, steps=20)
    steps = held.held.index(min(held.held))
    assert steps > 0
    by_hand = [
        distance(found, source[out], target[out]) * 3 for found in (held.at(0.0), held)
    ]  # the loss of code is n times the mean distance
    assert held.held[0] == pytest.approx(by_hand[0])
    assert held.held[steps] == pytest.approx(by_hand[1])
    assert held.losses[:steps] == pytest.approx(trained(source[~out], target[~out], steps=20).losses[:steps])


def test_folds_choose_the_number_of_steps_and_fit_all_samples() -> None:
    source, target = drawn(12, 3, 0), drawn(12, 3, 1) + 1
    found = trained(source, target, folds=3, steps=20)
    assert len(found.held) == 21
    steps = found.held.index(min(found.held))
    assert len(found.losses) == steps
    assert found.losses == pytest.approx(trained(source, target, steps=20).losses[:steps])


def test_nothing_to_be_learned_is_the_identity() -> None:
    """With the loss of held-out samples rising from the first step on, no step is taken."""
    source = drawn(12, 3, 0)
    out = torch.arange(12) % 3 == 0
    target = source.clone()
    target[~out] += 5  # what the training sees leads away from what it does not
    found = trained(source, target, held_out=0.34, steps=5)
    assert found.held.index(min(found.held)) == 0
    assert all(affine.is_identity for affine in found.maps)


def test_each_neuron_moves_as_far_as_held_out_samples_say() -> None:
    source, target = drawn(16, 6, 0), drawn(16, 6, 1)
    target[:, :3] += 3.0  # three neurons have something to learn
    out = torch.arange(16) % 4 == 0
    whole = trained(source, target, held_out=0.25, steps=60)
    shrunk = trained(source, target, held_out=0.25, steps=60, shrink=True)
    before, after = source[out], whole.maps[0](source[out])
    table = torch.stack([squared_wasserstein(before + factor * (after - before), target[out]) for factor in FACTORS])
    wanted = torch.tensor(FACTORS)[table.argmin(0)].double()
    torch.testing.assert_close(shrunk.maps[0].bias, wanted * whole.maps[0].bias)
    torch.testing.assert_close(shrunk.maps[0].weight, 1 + wanted * (whole.maps[0].weight - 1))
    assert wanted[:3].tolist() == [1.0, 1.0, 1.0]
    fresh = drawn(500, 6, 5), drawn(500, 6, 6) + torch.tensor([3.0] * 3 + [0.0] * 3)
    assert distance(shrunk, *fresh) < distance(whole, *fresh)


def test_the_steps_of_batches_of_mappings_are_split_with_their_masks() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Identity()

        def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
            assert len(x) == len(attention_mask)
            out: Tensor = self.inner(x)
            return out

    x = drawn(20, 3, 0).view(10, 2, 3)
    batches = [{"x": part, "attention_mask": torch.ones(len(part), 2)} for part in x.split(5)]
    options = OPTIONS | {"sites": "inner", "steps": 3}
    found = fit(Masked(), batches, [{**batch, "x": batch["x"] + 1} for batch in batches], **options, folds=2)
    assert len(found.held) == 4
    assert found.losses[-1] < found.losses[0]
