"""Oracles: ``torch.nn.init.calculate_gain`` and the layers written out with torch's functions."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from evonas.errors import InputError
from evonas.studies.hypernet.body import ACTIVATIONS, make_body

GAINS = {"relu": 2**0.5, "leaky_relu": (2 / 1.0001) ** 0.5, "tanh": 5 / 3, "gelu": 2**0.5, "silu": 2**0.5}
FUNCTIONS = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "tanh": torch.tanh,
    "gelu": functional.gelu,
    "silu": functional.silu,
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_hidden_layers_are_linear_maps_and_activations_with_fan_out_weights(activation: str) -> None:
    body = make_body(20, (300, 50), activation=activation, norm=None, seed=1)
    first, _, second, _ = body
    for linear in (first, second):
        assert linear.weight.std().item() == pytest.approx(GAINS[activation] / len(linear.weight) ** 0.5, rel=0.05)
        assert not linear.bias.any()
    x = torch.randn(7, 20)
    function = FUNCTIONS[activation]
    torch.testing.assert_close(body(x), function(function(x @ first.weight.T) @ second.weight.T))


def test_the_norm_of_the_input_is_kept_in_the_mean() -> None:
    x = torch.randn(4, 8)
    squares = [make_body(8, (64, 128), activation="relu", norm=None, seed=s)(x).square().sum(-1) for s in range(200)]
    torch.testing.assert_close(torch.stack(squares).mean(0), x.square().sum(-1), rtol=0.1, atol=0)


def test_layer_norm_comes_after_the_activation() -> None:
    body = make_body(3, (5, 4), activation="relu", norm="layer", seed=0)
    assert [type(layer) for layer in body] == 2 * [nn.Linear, nn.ReLU, nn.LayerNorm]
    torch.testing.assert_close(body(torch.rand(6, 3)).mean(-1), torch.zeros(6), atol=1e-5, rtol=0)


def test_weight_norm_changes_no_output_at_the_start_and_splits_length_from_direction() -> None:
    plain, normed = (make_body(3, (5, 4), activation="tanh", norm=norm, seed=0) for norm in (None, "weight"))
    x = torch.rand(6, 3)
    torch.testing.assert_close(normed(x), plain(x))
    assert sum(parameter.numel() for parameter in normed.parameters()) == 9 + sum(p.numel() for p in plain.parameters())


def test_no_hidden_layers_are_the_identity() -> None:
    x = torch.rand(6, 3)
    assert torch.equal(make_body(3, (), activation="relu", norm=None, seed=0)(x), x)


def test_weights_follow_the_seed_and_global_generators_are_left_alone() -> None:
    state = torch.get_rng_state()
    one, again, other = (make_body(3, (5, 5), activation="relu", norm=None, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one[0].weight, again[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"activation": "selu"}, ["activation", "'selu'", "leaky_relu"]),
        ({"norm": "batch"}, ["norm", "'batch'", "layer, weight"]),
        ({"hidden": (4, 0)}, ["hidden", "(4, 0)", "1 or more"]),
        ({"hidden": (), "norm": "layer"}, ["hidden", "()", "at least one"]),
    ],
)
def test_mistakes_are_named(settings: dict, named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        make_body(3, **{"hidden": (4,), "activation": "relu", "norm": None, "seed": 0, **settings})
    assert all(word in str(error.value) for word in named), error.value
