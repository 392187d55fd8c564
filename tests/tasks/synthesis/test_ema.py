"""Oracle: the average by hand, value by value."""

import pytest
import torch
from torch import Tensor, nn

from evonas.config import LayerConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.tasks.synthesis.biggan import build_biggan, put_layer
from evonas.tasks.synthesis.ema import Ema
from evonas.tasks.synthesis.spectral import power_iteration


def generator(layer: str | None = None) -> nn.Module:
    torch.manual_seed(0)
    model = build_biggan(32, classes=3, channels=2, latent=8, shared=4, attention=(16,))
    return (model if layer is None else put_layer(model, CATALOGUE[layer], LayerConfig())).generator.train()


def changed(model: nn.Module, step: int) -> None:
    """Other weights and running values, as after a step of training."""
    drawn = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=drawn), alpha=0.3)
    model(torch.randn((5, 8), generator=drawn), torch.randint(3, (5,), generator=drawn))


def values(model: nn.Module) -> dict[str, Tensor]:
    """Everything that the state dict holds but the vectors of power iterations."""
    return {n: v.clone() for n, v in model.state_dict().items() if not n.endswith(("weight.0._u", "weight.0._v"))}


@pytest.mark.parametrize("layer", [None, "evonorm-b0"])
def test_the_average_equals_one_by_hand_buffers_included(layer: str | None) -> None:
    model, decay = generator(layer), 0.8
    ema, expected = Ema(model, decay=decay), values(model)
    for step in range(1, 6):
        changed(model, step)
        ema.update(model, step)
        for name, value in values(model).items():
            if value.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * value
            else:
                expected[name] = value
    found = values(ema.network)
    assert sum("running" in name for name in found) == (14 if layer is None else 7)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_before_its_start_the_average_is_the_network_itself() -> None:
    model = generator()
    ema = Ema(model, decay=0.8, start=3)
    for step in (1, 2):
        changed(model, step)
        ema.update(model, step)
        assert all(torch.equal(value, values(model)[name]) for name, value in values(ema.network).items())
    kept = values(model)
    changed(model, 3)
    ema.update(model, 3)
    name = "image.bias"
    torch.testing.assert_close(values(ema.network)[name], 0.8 * kept[name] + 0.2 * values(model)[name])


def test_spectral_norms_of_the_average_are_one_although_its_weights_turned_around() -> None:
    """The mean of the vectors of the power iterations would be short, and the norms above 1."""
    model = generator()
    ema = Ema(model, decay=0.9)
    for step in range(1, 41):
        if step == 20:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.neg_()
        changed(model, step % 3)
        ema.update(model, step)
    norms = []
    for module in filter(power_iteration, ema.network.modules()):
        for name, vector in power_iteration(module).named_buffers():
            assert vector.norm().item() == pytest.approx(1, abs=1e-3), name
        norms.append(torch.linalg.svdvals(module.weight.flatten(1))[0].item())
    assert len(norms) > 20
    assert max(norms) < 1.1


def test_the_average_is_in_evaluation_takes_no_gradients_and_leaves_the_network_alone() -> None:
    model = generator()
    ema = Ema(model, decay=0.5)
    changed(model, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ema.update(model, 1)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module.training for module in ema.network.modules())
    assert not any(parameter.requires_grad for parameter in ema.network.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
