"""Oracle: the plain lowered layer, with the given gain and bias as its parameters."""

import copy

import pytest
import torch
from oracles import MAP_LAYERS, viable_genomes
from torch import Tensor

from evonas.graph.genome import Genome
from evonas.layer.conditional import ConditionalLayer, affine_of_norm
from evonas.layer.lower import NormActLayer, Recipe, lower
from evonas.layer.ops import BatchMoment

CHANNELS, GROUPS = 6, 2
OF_NORM = {"bn-relu", "bn-relu6", "bn-silu", "gn-relu"}  # whose v1 and v0 are the affine of the normalization


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def conditional(genome: Genome) -> ConditionalLayer:
    layer = ConditionalLayer(Recipe(genome, "bchw", GROUPS), CHANNELS).double()
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters(), 10):
            parameter.copy_(draw(CHANNELS, seed=seed))
    return layer


def plain(layer: ConditionalLayer, gain: Tensor, bias: Tensor) -> NormActLayer:
    made = lower(layer.genome, CHANNELS, layout="bchw", groups=GROUPS).double()
    given = {"v1": gain, "v0": bias} if affine_of_norm(layer.genome) else {"weight": gain, "bias": bias}
    with torch.no_grad():
        for name, value in {**dict(layer.named_parameters()), **given}.items():
            getattr(made, name).copy_(value)
    return made


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("genome", [*MAP_LAYERS.values(), *viable_genomes(12, seed=5)], ids=str)
def test_a_constant_condition_gives_the_plain_layer_with_that_affine(genome: Genome, training: bool) -> None:
    layer, gain, bias = conditional(genome).train(training), draw(CHANNELS, seed=1), draw(CHANNELS, seed=2)
    reference = plain(layer, gain, bias).train(training)
    x = draw(4, CHANNELS, 3, 5)
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    given = [part.expand(4, -1).clone().requires_grad_() for part in (gain, bias)]
    output, expected = layer(inputs[0], *given), reference(inputs[1])
    torch.testing.assert_close(output, expected)
    weights = draw(*x.shape, seed=3)
    (output * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    names = ("v1", "v0") if affine_of_norm(genome) else ("weight", "bias")
    for part, name in zip(given, names, strict=True):  # a sum over samples, as the plain layer has one for all
        torch.testing.assert_close(part.grad.sum(0), getattr(reference, name).grad)
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, getattr(reference, name).grad)
    assert dict(layer.named_buffers()).keys() == dict(reference.named_buffers()).keys()
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(layer.get_buffer(name), buffer)


@pytest.mark.parametrize("name", ["bn-relu", "gn-relu", "evonorm-b0", "evonorm-s0", "frn-tlu"])
def test_every_sample_has_the_affine_that_is_given_for_it(name: str) -> None:
    layer, x = conditional(MAP_LAYERS[name]), draw(4, CHANNELS, 3, 5)
    gain, bias = draw(4, CHANNELS, seed=1), draw(4, CHANNELS, seed=2)
    output = layer(x, gain, bias)
    for sample in range(4):
        torch.testing.assert_close(output[sample], plain(layer, gain[sample], bias[sample])(x)[sample])


def test_the_affine_of_a_normalization_is_found_in_the_layers_that_have_one() -> None:
    assert {name for name, genome in MAP_LAYERS.items() if affine_of_norm(genome)} == OF_NORM


@pytest.mark.parametrize(
    ("formula", "found"),
    [
        ("max(x / std[hw](x) * v1 + v0, 0)", True),
        ("tanh(v0 + v1 * (x / rms[ghw](x)))", True),
        ("max(x * v1 + v0, 0)", False),  # no normalization
        ("max(x / std[hw](x) * v1, 0)", False),  # no shift
        ("max(x / std[hw](x) + v0, 0)", False),  # no scale
        ("max(x / std[hw](x) * v1 + v1, v0)", False),  # v0 is a threshold
        ("max(x / std[hw](x) * v1 + v0, v1)", False),  # v1 occurs again
        ("max(x / std[hw](x) * v1 + v0, v0)", False),  # v0 occurs again
        ("max(std[hw](x) * v1 + v0, x)", False),  # of a statistic, not of the map
        ("(x / std[hw](x) * v1 + v0) / rms[chw](x / std[hw](x) * v1 + v0)", False),  # normalized again
        ("x / std[hw](x) * v1 * v1 + v0", False),
    ],
)
def test_what_counts_as_the_affine_of_a_normalization(formula: str, found: bool) -> None:
    assert affine_of_norm(Genome.from_formula(formula)) is found


def test_a_layer_holds_only_the_parameters_that_are_not_given() -> None:
    held = {
        name: [n for n, _ in conditional(genome).named_parameters()]
        for name, genome in MAP_LAYERS.items()
        if name in ("bn-relu", "gn-relu", "evonorm-b0", "evonorm-s0", "evonorm-s1", "frn-tlu")
    }
    assert held == {
        "bn-relu": [],
        "gn-relu": [],
        "evonorm-b0": ["v1"],
        "evonorm-s0": ["v1"],
        "evonorm-s1": [],
        "frn-tlu": ["v0"],
    }


def test_parameters_start_as_those_of_plain_layers_and_settings_reach_the_body() -> None:
    layer = ConditionalLayer(Recipe(MAP_LAYERS["evonorm-b0"], "bchw", groups=4, eps=1e-3, momentum=0.25), CHANNELS)
    assert layer.groups == 3  # the largest number up to 4 that divides the channels
    assert torch.equal(layer.v1, torch.ones(CHANNELS))
    (moment,) = (module for module in layer.modules() if isinstance(module, BatchMoment))
    assert (moment.eps, moment.momentum) == (1e-3, 0.25)


def test_a_copy_computes_the_same_and_shares_nothing() -> None:
    layer, x = conditional(MAP_LAYERS["evonorm-b0"]).eval(), draw(2, CHANNELS, 3, 3)
    gain, bias = draw(2, CHANNELS, seed=1), draw(2, CHANNELS, seed=2)
    twin, before = copy.deepcopy(layer), layer(x, gain, bias)
    torch.testing.assert_close(twin(x, gain, bias), before, rtol=0, atol=0)
    with torch.no_grad():
        twin.v1.zero_()
    torch.testing.assert_close(layer(x, gain, bias), before, rtol=0, atol=0)
