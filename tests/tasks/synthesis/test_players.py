"""Oracles: bit-equal copies of what must not move, the order of batches, and a second drawing under the same seed."""

import copy
from itertools import islice

import pytest
import torch
from synthesis_models import CLASSES, LATENT, small_synthesis, striped
from torch import Tensor, nn

from evonas.config import LayerConfig, TrainingConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.lower import NormActLayer
from evonas.tasks.synthesis.players import (
    DISCRIMINATOR_RATE,
    DISCRIMINATOR_STEPS,
    Batch,
    DiscriminatorBatch,
    GeneratorBatch,
    Players,
    as_players,
    batches,
    begin,
    frozen,
    loss,
    put_layer,
)
from evonas.tasks.task import first_samples

SETTINGS = TrainingConfig(steps=100, learning_rate=0.002)
CYCLE = 1 + DISCRIMINATOR_STEPS


def players() -> Players:
    return as_players(small_synthesis().build(1)).train()


def drawn(count: int, size: int = 4, **changes: int) -> list[Batch]:
    return list(islice(batches(striped(24), LATENT, CLASSES, size=size, seed=5, **changes), count))


def copied(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def moved(network: nn.Module, before: list[Tensor]) -> list[bool]:
    return [not torch.equal(now, was) for now, was in zip(network.parameters(), before, strict=True)]


def step(model: Players, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    optimizer.zero_grad()
    loss(model, batch).backward()
    optimizer.step()


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_for_the_generator_comes_before_those_for_the_discriminator() -> None:
    kinds = [type(batch) for batch in drawn(2 * CYCLE)]
    assert kinds == 2 * [GeneratorBatch, *[DiscriminatorBatch] * DISCRIMINATOR_STEPS]


def test_batches_of_one_optimizer_step_are_for_the_same_player() -> None:
    kinds = [type(batch) for batch in drawn(4 * CYCLE, accumulation=2)]
    assert kinds == 2 * [GeneratorBatch, GeneratorBatch, *[DiscriminatorBatch] * 2 * DISCRIMINATOR_STEPS]


def test_batches_hold_real_images_and_latents_of_a_size() -> None:
    generated, real = drawn(2, size=5)
    assert isinstance(generated, GeneratorBatch)
    assert isinstance(real, DiscriminatorBatch)
    assert generated.latents.shape == (5, LATENT)
    assert real.images.shape == (5, 3, 32, 32)
    assert real.latents.shape == (5, LATENT)
    source = striped(24)
    for image, label in zip(real.images, real.labels, strict=True):
        (place,) = (source.images == image).all((1, 2, 3)).nonzero()
        assert source.labels[place] == label


def test_latents_are_normal_and_labels_are_even_and_fresh_in_every_batch() -> None:
    found = [batch for batch in drawn(60 * CYCLE, size=24) if isinstance(batch, GeneratorBatch)]
    latents, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    assert abs(float(latents.mean())) < 0.05
    assert float(latents.std()) == pytest.approx(1, abs=0.05)
    assert len(latents.unique(dim=0)) == len(latents)
    assert torch.bincount(labels).tolist() == pytest.approx([480] * CLASSES, abs=60)  # 3 standard deviations


def test_the_same_seed_draws_the_same_whatever_the_global_generator() -> None:
    torch.manual_seed(1)
    one = drawn(2 * CYCLE)
    torch.manual_seed(2)
    for first, second in zip(one, drawn(2 * CYCLE), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# --- two players in one loop ------------------------------------------------------------------------------------------


def test_a_step_of_the_generator_leaves_the_discriminator_bit_equal() -> None:
    model = players()
    optimizer, (batch, *_) = begin(model, SETTINGS), drawn(1)
    before = {name: copied(getattr(model.gan, name)) for name in ("generator", "discriminator")}
    step(model, optimizer, batch)
    assert not any(moved(model.gan.discriminator, before["discriminator"]))
    assert sum(moved(model.gan.generator, before["generator"])) > len(before["generator"]) / 2


def test_a_step_of_the_discriminator_leaves_the_generator_bit_equal() -> None:
    model = players()
    optimizer, (_, batch) = begin(model, SETTINGS), drawn(2)
    before = {name: copied(getattr(model.gan, name)) for name in ("generator", "discriminator")}
    step(model, optimizer, batch)
    assert not any(moved(model.gan.generator, before["generator"]))
    assert sum(moved(model.gan.discriminator, before["discriminator"])) > len(before["discriminator"]) / 2


@pytest.mark.parametrize(("now", "rests"), [(0, "discriminator"), (1, "generator")])
def test_adams_state_of_the_player_who_rests_does_not_move(now: int, rests: str) -> None:
    model = players()
    optimizer, given = begin(model, SETTINGS), drawn(CYCLE)
    for batch in given:  # so that both have a state
        step(model, optimizer, batch)
    resting = list(getattr(model.gan, rests).parameters())
    known = [parameter for parameter in resting if parameter in optimizer.state]
    assert known
    before = copy.deepcopy([optimizer.state[parameter] for parameter in known])
    step(model, optimizer, given[now])
    for parameter, state in zip(known, before, strict=True):
        assert all(torch.equal(optimizer.state[parameter][name], value) for name, value in state.items())


def test_each_player_has_its_learning_rate_and_no_parameter_is_left_out() -> None:
    model = players()
    groups = begin(model, SETTINGS).param_groups
    assert [group["lr"] for group in groups] == [0.002, 0.002 * DISCRIMINATOR_RATE]
    given = [parameter for group in groups for parameter in group["params"]]
    assert sum(parameter.numel() for parameter in given) == sum(p.numel() for p in model.parameters())
    assert all(group["betas"] == (0.0, 0.999) and group["weight_decay"] == 0 for group in groups)


@torch.no_grad()
def test_losses_are_hinge_losses_of_the_logits() -> None:
    model = players().eval()  # no step of the power iteration between two passes
    generated, real = drawn(2)
    assert isinstance(real, DiscriminatorBatch)
    gan = model.gan
    torch.testing.assert_close(loss(model, generated), -gan(*generated).mean())
    of_real, of_generated = gan.discriminator(real.images, real.labels), gan(real.latents, real.wanted)
    torch.testing.assert_close(
        loss(model, real), (1 - of_real).clamp(min=0).mean() + (1 + of_generated).clamp(min=0).mean()
    )


def test_the_first_samples_of_a_batch_are_for_the_same_player() -> None:
    model = players()
    for batch, name in zip(drawn(2), ("generator", "discriminator"), strict=True):
        loss(model, first_samples(batch, 2))
        assert model.latest is not None
        assert model.latest[0] == name


def test_what_is_frozen_is_trainable_again_even_after_an_error() -> None:
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(requires_grad=False)
    with frozen(network):
        assert not network.weight.requires_grad
    assert network.weight.requires_grad
    with pytest.raises(ZeroDivisionError), frozen(network):
        raise ZeroDivisionError
    assert network.weight.requires_grad
    assert not network.bias.requires_grad  # as before


def test_a_layer_goes_into_the_generator_of_a_copy() -> None:
    model = players()
    before = copy.deepcopy(model.state_dict())
    found = as_players(put_layer(model, CATALOGUE["evonorm-s0"], LayerConfig()))
    assert any(isinstance(module, NormActLayer) for module in found.gan.generator.modules())
    assert not any(isinstance(module, NormActLayer) for module in found.gan.discriminator.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert before.keys() == model.state_dict().keys()
    loss(found, drawn(1)[0]).backward()
