"""Lowered layers against other people's implementations and against the genome's own definition.

Oracles:

- timm's EvoNorm B0-B2, S0-S2 and FilterResponseNormTlu2d, torch's BatchNorm2d and GroupNorm followed by an activation:
  outputs and all gradients, training and evaluation;
- the published formulas written in plain torch, float64;
- for random genomes, the numpy interpreter of ``oracles`` and finite differences.

Where conventions differ, and a test says how:

- timm's B0 defaults to eps 1e-3, the publication and this package to 1e-5;
- timm and torch normalize by the biased variance but accumulate the unbiased one, n / (n - 1) times as large, in
  ``running_var``; this package accumulates the biased one, as the authors do;
- the trailing affine follows the whole layer here: FRN's threshold tau becomes v0 = (tau - beta) / gamma for gamma > 0,
  and BatchNorm's own affine becomes v1 and v0;
- without activation, EvoNorms are an affine map alone, here as in timm (whose FRN still normalizes).
"""

import math
import random
from collections.abc import Callable
from itertools import cycle

import numpy as np
import pytest
import timm.layers
import torch
from hypothesis import given
from oracles import MAP_LAYERS, genomes, interpret, random_parameters, viable_genomes
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.graph.variation import mutate
from evonas.layer.export import source_of
from evonas.layer.lower import NormActLayer, lower
from evonas.layer.plan import bounded_from_zero

CHANNELS, GROUPS = 12, 4
SHAPE = (5, CHANNELS, 6, 7)
VARIANCE = "body.std_bhw_0.running"

TIMM = {
    "evonorm-b0": timm.layers.EvoNorm2dB0,
    "evonorm-b1": timm.layers.EvoNorm2dB1,
    "evonorm-b2": timm.layers.EvoNorm2dB2,
    "evonorm-s0": timm.layers.EvoNorm2dS0,
    "evonorm-s1": timm.layers.EvoNorm2dS1,
    "evonorm-s2": timm.layers.EvoNorm2dS2,
}


def randomize(module: nn.Module, seed: int = 0) -> None:
    """Parameters off their initial values; scales stay positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.copy_((0.3 * noise).exp() if name in ("weight", "v", "v1", "0.weight") else 0.5 * noise)


def images(shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    """Inputs whose mean and size differ between channels."""
    generator = torch.Generator().manual_seed(seed)
    size = 1 + torch.rand(1, shape[1], 1, 1, generator=generator, dtype=dtype)
    shift = torch.randn(1, shape[1], 1, 1, generator=generator, dtype=dtype)
    return torch.randn(shape, generator=generator, dtype=dtype) * size + shift


def gradients(function: Callable[[Tensor], Tensor], x: Tensor, parameters: list[Tensor]) -> tuple[Tensor, ...]:
    """The output, and the gradients of a random projection of it."""
    x = x.clone().requires_grad_()
    output = function(x)
    projection = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=output.dtype)
    return output.detach(), *torch.autograd.grad((output * projection).sum(), [x, *parameters])


def assert_equal_with_gradients(
    layer: NormActLayer, names: list[str], oracle: Callable[[Tensor], Tensor], others: list[Tensor], x: Tensor
) -> None:
    ours = gradients(layer, x, [layer.get_parameter(name) for name in names])
    theirs = gradients(oracle, x, others)
    tolerance = 1e-10 if x.dtype == torch.float64 else 2e-5
    for what, one, other in zip(["output", "input", *names], ours, theirs, strict=True):
        torch.testing.assert_close(
            one, other, rtol=tolerance, atol=tolerance * (1 + other.abs().max().item()), msg=what
        )


# --- other people's implementations -----------------------------------------------------------------------------------


def timm_pair(name: str) -> tuple[NormActLayer, nn.Module]:
    oracle = TIMM[name](CHANNELS, groups=GROUPS, eps=1e-5)
    randomize(oracle)
    layer = lower(CATALOGUE[name], CHANNELS, layout="bchw", groups=GROUPS)
    with torch.no_grad():
        for ours, theirs in (("weight", "weight"), ("bias", "bias"), ("v1", "v")):
            if hasattr(oracle, theirs):
                layer.get_parameter(ours).copy_(oracle.get_parameter(theirs))
    return layer, oracle


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", TIMM)
def test_evonorms_equal_those_of_timm(name: str, training: bool) -> None:
    layer, oracle = timm_pair(name)
    if "running_var" in dict(oracle.named_buffers()):
        running = torch.rand(CHANNELS, generator=torch.Generator().manual_seed(3)) + 0.5
        oracle.running_var.copy_(running)
        layer.get_buffer(VARIANCE).copy_(running.view(1, -1, 1, 1))
    layer.train(training)
    oracle.train(training)
    names = ["weight", "bias"] + (["v1"] if layer.v1 is not None else [])
    others = [oracle.get_parameter("v" if n == "v1" else n) for n in names]
    assert_equal_with_gradients(layer, names, oracle, others, images())


@pytest.mark.parametrize("name", ["evonorm-b0", "evonorm-b1", "evonorm-b2"])
def test_timm_accumulates_the_unbiased_variance_and_this_package_the_biased_one(name: str) -> None:
    layer, oracle = timm_pair(name)
    n = SHAPE[0] * SHAPE[2] * SHAPE[3]
    layer(images())
    oracle(images())
    ours, theirs = layer.get_buffer(VARIANCE).flatten(), oracle.running_var
    torch.testing.assert_close(theirs - 0.9, (ours - 0.9) * n / (n - 1))
    assert (theirs > ours).all()


def test_timm_uses_a_larger_eps_for_b0_unless_told() -> None:
    assert timm.layers.EvoNorm2dB0(4).eps == 1e-3
    assert timm.layers.EvoNorm2dS0(4).eps == 1e-5


@pytest.mark.parametrize("name", TIMM)
def test_without_activation_evonorms_are_affine_here_and_in_timm(name: str) -> None:
    oracle = TIMM[name](CHANNELS, groups=GROUPS, apply_act=False)
    randomize(oracle)
    layer = lower(CATALOGUE[name], CHANNELS, layout="bchw", groups=GROUPS, act=False)
    layer.load_state_dict({key: value for key, value in oracle.state_dict().items() if key != "running_var"})
    assert torch.equal(layer(images()), oracle(images()))


def test_frn_with_tlu_equals_that_of_timm_for_positive_scales() -> None:
    oracle = timm.layers.FilterResponseNormTlu2d(CHANNELS)
    randomize(oracle)
    layer = lower(CATALOGUE["frn-tlu"], CHANNELS)
    with torch.no_grad():
        layer.weight.copy_(oracle.weight)
        layer.bias.copy_(oracle.bias)
        layer.v0.copy_((oracle.tau - oracle.bias) / oracle.weight)
    torch.testing.assert_close(layer(images()), oracle(images()))

    # the parameters differ, so their gradients are compared through timm's: v0 = (tau - bias) / weight
    gamma, beta, tau = (p.detach().clone().requires_grad_() for p in (oracle.weight, oracle.bias, oracle.tau))

    def ours(x: Tensor) -> Tensor:
        threshold = {"v0": (tau - beta) / gamma, "weight": gamma, "bias": beta}
        return torch.func.functional_call(layer, threshold, (x,))

    for one, other in zip(
        gradients(ours, images(), [gamma, beta, tau]),
        gradients(oracle, images(), [oracle.weight, oracle.bias, oracle.tau]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


class Normalized(nn.Sequential):
    """A normalization followed by an activation."""

    def __init__(self, norm: nn.Module, act: nn.Module) -> None:
        super().__init__(norm, act)
        randomize(self)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("name", "act"), [("bn-relu", nn.ReLU()), ("bn-relu6", nn.ReLU6()), ("bn-silu", nn.SiLU())])
def test_batch_normalization_and_activation_equal_those_of_torch(name: str, act: nn.Module, training: bool) -> None:
    oracle = Normalized(nn.BatchNorm2d(CHANNELS), act).double().train(training)
    norm = oracle[0]
    norm(images(dtype=torch.float64, seed=9))  # running values off their initial ones
    layer = lower(CATALOGUE[name], CHANNELS, layout="bchw").double().train(training)
    with torch.no_grad():
        layer.v1.copy_(norm.weight)
        layer.v0.copy_(norm.bias)
        layer.get_buffer("body.mean_bhw_0.running").copy_(norm.running_mean.view(1, -1, 1, 1))
        layer.get_buffer("body.std_bhw_1.running").copy_(norm.running_var.view(1, -1, 1, 1))
    assert_equal_with_gradients(layer, ["v1", "v0"], oracle, [norm.weight, norm.bias], images(dtype=torch.float64))


def test_torch_batch_normalization_accumulates_the_same_mean_and_the_unbiased_variance() -> None:
    norm, layer = nn.BatchNorm2d(CHANNELS), lower(CATALOGUE["bn-relu"], CHANNELS)
    n = SHAPE[0] * SHAPE[2] * SHAPE[3]
    norm(images())
    layer(images())
    mean, variance = (layer.get_buffer(f"body.{name}.running").flatten() for name in ("mean_bhw_0", "std_bhw_1"))
    torch.testing.assert_close(mean, norm.running_mean)
    torch.testing.assert_close((variance - 0.9) * n / (n - 1), norm.running_var - 0.9)


def test_group_normalization_and_relu_equal_those_of_torch() -> None:
    oracle = Normalized(nn.GroupNorm(GROUPS, CHANNELS), nn.ReLU()).double()
    layer = lower(CATALOGUE["gn-relu"], CHANNELS, groups=GROUPS).double()
    with torch.no_grad():
        layer.v1.copy_(oracle[0].weight)
        layer.v0.copy_(oracle[0].bias)
    others = [oracle[0].weight, oracle[0].bias]
    assert_equal_with_gradients(layer, ["v1", "v0"], oracle, others, images(dtype=torch.float64))


# --- published formulas -----------------------------------------------------------------------------------------------


def spread(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return torch.sqrt(x.var(axes, unbiased=False, keepdim=True) + 1e-5)


def size(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return torch.sqrt((x * x).mean(axes, keepdim=True) + 1e-5)


def by_group(statistic: Callable[[Tensor, tuple[int, ...]], Tensor], x: Tensor) -> Tensor:
    grouped = x.reshape(x.shape[0], GROUPS, -1, *x.shape[2:])
    return statistic(grouped, (2, 3, 4)).expand_as(grouped).reshape(x.shape)


PUBLISHED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "evonorm-b0": lambda x, v: x / torch.max(spread(x, (0, 2, 3)), v * x + spread(x, (2, 3))),
    "evonorm-b1": lambda x, _: x / torch.max(spread(x, (0, 2, 3)), (x + 1) * size(x, (2, 3))),
    "evonorm-b2": lambda x, _: x / torch.max(spread(x, (0, 2, 3)), size(x, (2, 3)) - x),
    "evonorm-s0": lambda x, v: x * torch.sigmoid(v * x) / by_group(spread, x),
    "evonorm-s1": lambda x, _: x * torch.sigmoid(x) / by_group(spread, x),
    "evonorm-s2": lambda x, _: x * torch.sigmoid(x) / by_group(size, x),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_evonorms_equal_the_published_formulas(name: str) -> None:
    layer = lower(CATALOGUE[name], CHANNELS, layout="bchw", groups=GROUPS).double()
    randomize(layer)
    names = ["weight", "bias"] + (["v1"] if layer.v1 is not None else [])
    others = [layer.get_parameter(n).detach().clone().requires_grad_() for n in names]
    weight, bias = (p.view(1, -1, 1, 1) for p in others[:2])
    v1 = others[2].view(1, -1, 1, 1) if len(others) == 3 else torch.ones(1, dtype=torch.float64)

    def published(x: Tensor) -> Tensor:
        return PUBLISHED[name](x, v1) * weight + bias

    assert_equal_with_gradients(layer, names, published, others, images(dtype=torch.float64))


@pytest.mark.parametrize("name", ["evonorm-b0", "evonorm-b1", "evonorm-b2"])
def test_the_running_variance_is_the_biased_one_as_the_authors_keep_it(name: str) -> None:
    layer = lower(CATALOGUE[name], CHANNELS, layout="bchw")
    expected = torch.ones(CHANNELS)
    for seed in range(3):
        layer(images(seed=seed))
        expected = 0.9 * expected + 0.1 * images(seed=seed).var((0, 2, 3), unbiased=False)
    torch.testing.assert_close(layer.get_buffer(VARIANCE).flatten(), expected)


# --- the genome's own definition --------------------------------------------------------------------------------------


def lowered(genome: Genome, channels: int, groups: int, momentum: float = 0.1, seed: int = 0) -> NormActLayer:
    """A float64 layer with random parameters."""
    layer = lower(genome, channels, layout="bchw", groups=groups, momentum=momentum).double()
    with torch.no_grad():
        for name, value in random_parameters(channels, seed).items():
            if getattr(layer, name) is not None:
                getattr(layer, name).copy_(torch.from_numpy(value))
    return layer


def is_well_posed(genome: Genome, x: np.ndarray, parameters: dict[str, np.ndarray], groups: int) -> bool:
    """Rounding errors stay small: a division by a difference of equal numbers has no value to compare with."""
    output = interpret(genome, x, parameters, groups=groups)
    disturbed = interpret(genome, x * (1 + 1e-12 * np.sign(x)), parameters, groups=groups)
    return bool(np.isfinite(output).all()) and bool(np.allclose(output, disturbed, rtol=1e-8, atol=1e-8))


def assert_as_interpreted(genome: Genome, x: Tensor, groups: int, fitted: int) -> None:
    layer, parameters = lowered(genome, x.shape[1], groups), random_parameters(x.shape[1], seed=0)
    assert layer.groups == fitted
    expected = torch.from_numpy(interpret(genome, x.numpy(), parameters, groups=fitted))
    torch.testing.assert_close(
        layer(x), expected, rtol=1e-7, atol=1e-7, msg=lambda message: f"{genome.to_text()}\n{message}"
    )


def mutants(count: int) -> list[Genome]:
    """Known layers, each mutated six times: more active nodes than random genomes have."""
    space, rng = SearchSpace(), random.Random(0)
    known = cycle(genome for genome in CATALOGUE.values() if not space.violations(genome))
    found = [space.padded(genome) for genome, _ in zip(known, range(count), strict=False)]
    for _ in range(6):
        found = [mutate(genome, space, rng)[0] for genome in found]
    return found


@pytest.mark.parametrize("genomes", [viable_genomes(400, seed=0), mutants(200)], ids=["random", "mutants"])
def test_layers_equal_the_numpy_interpreter(genomes: list[Genome]) -> None:
    settings = cycle([(12, 32, 12), (12, 8, 6), (7, 32, 7), (7, 5, 1), (32, 32, 32), (32, 5, 4), (1, 32, 1)])
    compared = 0
    for genome, (channels, groups, fitted) in zip(genomes, settings, strict=False):
        x = images((3, channels, 5, 4), torch.float64)
        if is_well_posed(genome, x.numpy(), random_parameters(channels, seed=0), fitted):
            assert_as_interpreted(genome, x, groups, fitted)
            compared += 1
    assert compared > 0.95 * len(genomes)


@pytest.mark.parametrize(
    "text",
    ["neg(zero)", "exp(v1)", "std[bhw](v0)", "std[ghw](v1)", "mean[chw](v1)", "std[bhw](x)", "rms[hw](x)",
     "std[ghw](x)", "a = rms[chw](x); mul(a, v0)", "a = rms[chw](x); std[ghw](a)", "a = rms[chw](x); mean[bhw](a)",
     "a = std[ghw](x); rms[ghw](a)", "a = add(zero, zero); max(a, zero)", "mean[bhw](zero)", "div(v1, zero)"],
)  # fmt: skip
def test_layers_that_do_not_vary_over_all_axes_equal_the_numpy_interpreter(text: str) -> None:
    assert_as_interpreted(Genome.from_text(text), images((3, 12, 5, 4), torch.float64), groups=4, fitted=4)


@pytest.mark.parametrize("axes", ["ghw", "chw", "hw"])
def test_standardizing_in_one_call_equals_the_numpy_interpreter(axes: str) -> None:
    standardized = f"a = mean[{axes}](x1); b = neg(a); c = add(x1, b); d = std[{axes}](x1); e = div(c, d)"
    genome = Genome.from_text(f"x1 = exp(x); {standardized}; max(e, x1)")
    assert "standardize" in calls(lower(genome, 12, layout="bchw", groups=4))
    assert_as_interpreted(genome, images((3, 12, 5, 4), torch.float64), groups=4, fitted=4)


def test_gradients_of_random_layers_equal_finite_differences() -> None:
    x = images((2, 4, 3, 2), torch.float64)
    for genome in viable_genomes(40, seed=1):
        layer = lowered(genome, 4, groups=2)
        parameters = {name: p.detach().clone().requires_grad_() for name, p in layer.named_parameters()}

        def call(
            x: Tensor, *values: Tensor, layer: nn.Module = layer, names: tuple[str, ...] = (*parameters,)
        ) -> Tensor:
            return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

        inputs = (x.clone().requires_grad_(), *parameters.values())
        assert torch.autograd.gradcheck(call, inputs, rtol=1e-2, atol=1e-4), genome.to_text()


def test_layers_without_batch_statistics_do_the_same_in_training_and_evaluation() -> None:
    genomes = [g for g in (*MAP_LAYERS.values(), *viable_genomes(100, seed=2)) if not g.uses_batch_statistics]
    for genome in genomes:
        layer = lowered(genome, CHANNELS, GROUPS)
        assert not list(layer.buffers())
        trained = layer(images(dtype=torch.float64))
        assert torch.equal(layer.eval()(images(dtype=torch.float64)), trained)


def test_with_momentum_one_evaluation_repeats_the_last_training_batch() -> None:
    space = SearchSpace(index_sets=("bhw",))
    for genome in (*MAP_LAYERS.values(), *viable_genomes(100, seed=3, space=space)):
        layer = lowered(genome, CHANNELS, GROUPS, momentum=1.0)
        trained = layer(images(dtype=torch.float64))
        evaluated = layer.eval()(images(dtype=torch.float64))
        torch.testing.assert_close(evaluated, trained, rtol=1e-6, atol=1e-6, msg=genome.to_text())


# --- what the lowered graph looks like --------------------------------------------------------------------------------


def calls(layer: NormActLayer) -> list[str]:
    """Names of functions, methods and modules the body calls, without the trailing affine."""
    nodes = [n for n in layer.body.graph.nodes if n.op.startswith("call")]
    names = [n.target if isinstance(n.target, str) else n.target.__name__ for n in nodes]
    return [name for name in names if name not in ("per_channel", "narrow")][:-1]


CENTRED = "a = mean[{}](x); b = neg(a); c = add(x, b)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = std[hw](x); b = std[hw](x); add(a, b)", ["std", "add", "expand_as"]),
        ("a = mul(x, v1); b = mul(v1, x); add(a, b)", ["mul", "add"]),
        ("max(x, zero)", ["relu"]),
        ("a = exp(x); max(zero, a)", ["exp", "relu"]),
        ("max(x, v0)", ["maximum"]),
        ("a = std[hw](x); div(x, a)", ["std", "div"]),
        ("a = std[bhw](x); b = neg(x); c = max(b, a); div(x, c)", ["std_bhw_0", "neg", "maximum", "quotient"]),
        ("a = std[ghw](x); b = div(x, a); c = mul(b, v1); d = mul(c, v0); tanh(d)",
         ["split_groups", "std", "merge_groups", "div", "mul", "mul", "tanh"]),
        ("a = std[hw](x); b = div(x, a); c = tanh(b); mul(b, c)", ["std", "reciprocal", "mul", "tanh", "mul"]),
        ("a = std[hw](x); b = mul(x, v1); c = div(b, a); d = mul(b, v0); add(c, d)",
         ["std", "div", "mul", "mul", "mul", "add"]),
        ("a = exp(x); tanh(x)", ["tanh"]),
        ("std[ghw](x)", ["split_groups", "std", "merge_groups", "expand_as"]),
        ("std[ghw](zero)", ["new_zeros", "std", "expand_as"]),
        ("a = std[bhw](x); b = mean[bhw](x); c = std[bhw](x); d = add(a, b); add(c, d)",
         ["std_bhw_0", "mean_bhw_1", "add", "add", "expand_as"]),
        (f"{CENTRED.format('ghw')}; d = std[ghw](x); e = div(c, d); tanh(e)", ["standardize", "tanh"]),
        (f"{CENTRED.format('hw')}; d = std[hw](x); e = div(c, d); mul(e, v1)", ["size", "standardize", "mul"]),
        (f"{CENTRED.format('chw')}; d = std[chw](x); e = div(c, d); mul(c, e)",
         ["mean", "neg", "add", "standardize", "mul"]),
        ("x1 = tanh(x); a = mean[chw](x1); b = neg(a); c = add(b, x1); d = std[chw](x1); div(c, d)",
         ["tanh", "standardize"]),
    ],
)  # fmt: skip
def test_the_body_calls_each_different_expression_once_and_nothing_else(text: str, expected: list[str]) -> None:
    layer = lower(Genome.from_text(text), 8, layout="bchw")
    assert calls(layer) == expected
    assert all(node.users or node.op == "output" for node in layer.body.graph.nodes)


@pytest.mark.parametrize(("text", "guarded"), [("a = std[hw](x); div(x, a)", False), ("div(x, v1)", True)])
def test_only_divisions_that_need_it_are_guarded(text: str, guarded: bool) -> None:
    layer = lower(Genome.from_text(text), 8, layout="bchw")
    (division,) = [n for n in layer.body.graph.nodes if n.op == "call_function" and n.target.__name__ == "div"]
    assert (division.target is not torch.div) is guarded


@pytest.mark.parametrize(
    ("text", "bounded"),
    [
        ("std[bhw](x)", True),
        ("rms[hw](x)", True),
        ("mean[hw](x)", False),
        ("a = std[hw](x); mean[chw](a)", True),
        ("a = std[hw](x); max(x, a)", True),
        ("max(x, v1)", False),
        ("a = std[hw](x); b = rms[hw](x); add(a, b)", True),
        ("a = std[hw](x); add(a, x)", False),
        ("a = std[hw](x); abs(a)", True),
        ("abs(x)", False),
        ("a = std[hw](x); neg(a)", False),
        ("a = std[hw](x); mul(a, a)", False),
        ("a = std[hw](x); log(a)", False),
    ],
)
def test_values_that_are_bounded_from_zero_are_known(text: str, bounded: bool) -> None:
    assert bounded_from_zero(Genome.from_text(text).nodes)[-1] is bounded


@given(genomes(max_nodes=6))
def test_a_value_said_to_be_bounded_from_zero_is(genome: Genome) -> None:
    x = 3 * images((2, 4, 3, 2), torch.float64).numpy()
    parameters = {**random_parameters(4, seed=0), "weight": np.ones(4), "bias": np.zeros(4)}
    value = interpret(genome, x, parameters, groups=2)
    if bounded_from_zero(genome.nodes)[-1]:
        assert not (value < 0.999 * math.sqrt(1e-5)).any()


def test_factors_are_multiplied_while_they_are_small() -> None:
    layer = lower(CATALOGUE["bn-relu"], 8)
    parameters = [layer.v0, layer.v1, layer.weight, layer.bias]
    ShapeProp(layer.body).propagate(images((2, 8, 5, 3)), *parameters)
    large = [n.name for n in layer.body.graph.nodes if n.op == "call_function" and n.meta["tensor_meta"].shape[3] == 3]
    assert large == ["add", "mul", "add_1", "relu", "affine"]  # x - mean, * (v1 / std), + v0


def test_statistics_keep_their_reduced_shape() -> None:
    layer = lower(CATALOGUE["evonorm-b0"], 8)
    parameters = [layer.v1, layer.weight, layer.bias]
    ShapeProp(layer.body).propagate(images((2, 8, 5, 3)), *parameters)
    shapes = {
        node.name: tuple(node.meta["tensor_meta"].shape) for node in layer.body.graph.nodes if node.op != "output"
    }
    assert shapes["std_bhw_0"] == (1, 8, 1, 1)
    assert shapes["std"] == (2, 8, 1, 1)


def test_a_batch_moment_has_one_running_value_for_each_channel_or_one_for_all() -> None:
    per_channel, single = "std[bhw](x)", "a = rms[chw](x); std[bhw](a)"
    assert [b.shape for b in lower(Genome.from_text(per_channel), 8, layout="bchw").buffers()] == [(1, 8, 1, 1)]
    assert [b.shape for b in lower(Genome.from_text(single), 8, layout="bchw").buffers()] == [(1, 1, 1, 1)]


@pytest.mark.parametrize("name", MAP_LAYERS)
def test_a_layer_has_the_parameters_its_genome_uses(name: str) -> None:
    layer = lower(CATALOGUE[name], 6, layout="bchw")
    used = {CATALOGUE[name].nodes[p].op for p in CATALOGUE[name].active_positions}
    assert {n for n, _ in layer.named_parameters()} == {"weight", "bias"} | (used & {"v0", "v1"})
    start = {"weight": 1.0, "bias": 0.0, "v0": 0.0, "v1": 1.0}
    assert all(torch.equal(p, torch.full((6,), start[n])) for n, p in layer.named_parameters())


@pytest.mark.parametrize("channels", [1, 7, 12, 32])
@pytest.mark.parametrize("name", MAP_LAYERS)
def test_known_layers_work_for_any_number_of_channels(name: str, channels: int) -> None:
    x = images((2, channels, 3, 4))
    layer = lower(CATALOGUE[name], channels, layout="bchw")
    assert layer(x).shape == x.shape
    assert torch.isfinite(layer(x)).all()


@pytest.mark.parametrize(
    ("groups", "channels", "fitted"), [(32, 48, 24), (32, 12, 12), (5, 7, 1), (8, 12, 6), (1, 9, 1)]
)
def test_groups_are_lowered_until_they_divide_the_channels(groups: int, channels: int, fitted: int) -> None:
    layer, norm = lower(CATALOGUE["gn-relu"], channels, groups=groups), nn.GroupNorm(fitted, channels)
    assert layer.groups == fitted
    x = images((2, channels, 3, 4))
    torch.testing.assert_close(layer(x), torch.relu(norm(x)), rtol=1e-4, atol=1e-5)


def test_a_layer_says_what_it_computes() -> None:
    layer = lower(CATALOGUE["evonorm-s0"], 64)
    assert "64, (x * sigmoid(x * v1) / std[ghw](x)) * weight + bias, layout=bchw, groups=32" in repr(layer)
    assert isinstance(layer.body, fx.GraphModule)
    assert "(x) * weight + bias" in repr(lower(CATALOGUE["evonorm-s0"], 64, act=False))


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"layout": "bhwc"}, ["layout", "'bhwc'", "bchw"]),
        ({"groups": 0}, ["groups", "0", "1 or more"]),
        ({"num_features": 0}, ["num_features", "0", "1 or more"]),
        ({"num_features": -3}, ["num_features", "-3"]),
    ],
)
def test_impossible_settings_are_refused(arguments: dict, names: list[str]) -> None:
    with pytest.raises(InputError) as error:
        lower(CATALOGUE["evonorm-s0"], **{"num_features": 8, **arguments})
    assert all(name in str(error.value) for name in names)


def test_a_layer_without_moments_needs_a_layout_unless_it_was_published_for_one() -> None:
    """Its channels may be in either place: nothing but the user knows."""
    genome = Genome.from_text("a = mul(x, v1); sigmoid(a)")
    for make in (lower, lambda genome, _: source_of(genome)):
        with pytest.raises(InputError) as error:
            make(genome, 8)
        assert str(error.value) == (
            "layout: not given, and sigmoid(x * v1) has no moment that tells which axis holds the channels; accepted: "
            "bchw, where channels come second, or btd, where features come last"
        )
    assert lower(genome, 8, layout="btd").layout == "btd"
    assert lower(CATALOGUE["dyt"], 8).layout == lower(CATALOGUE["derf"].active(), 8).layout == "btd"
    assert lower(CATALOGUE["dyt"], 8, layout="bchw").layout == "bchw"


def test_a_layer_may_be_given_by_its_catalogue_name_or_text() -> None:
    for text in ("evonorm-s0", CATALOGUE["evonorm-s0"].to_text()):
        assert lower(text, 64).genome == CATALOGUE["evonorm-s0"]
        assert source_of(text) == source_of(CATALOGUE["evonorm-s0"])
    for layer, words in (
        ("evonorm-s9", "'evonorm-s9'; accepted: a formula or text form"),
        (3, "is a int; accepted: a Genome"),
    ):
        with pytest.raises(InputError, match=f"^layer.*{words}"):
            lower(layer, 64)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [
        ("evonorm-s0", (2, 8), "[b, 6, h, w]"),
        ("evonorm-s0", (2, 8, 4, 4), "[b, 6, h, w]"),
        ("bn-relu", (2, 8, 4, 4), "[b, 6, h, w]"),
        ("layernorm", (2, 6, 4, 4), "[..., t, 6]"),
        ("dyt", (6,), "[..., t, 6]"),
    ],
)
def test_an_input_without_the_layers_channels_is_refused_in_one_line(
    name: str, shape: tuple[int, ...], wanted: str
) -> None:
    with pytest.raises(InputError) as error:
        lower(name, 6)(torch.ones(shape))
    assert str(error.value).startswith(f"x: has the shape {list(shape)}; accepted: {wanted}; ")
