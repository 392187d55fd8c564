"""Layers for tokens [..., t, d], lowered and exported.

Oracles: torch's LayerNorm, RMSNorm and GroupNorm; DyT and Derf written in plain torch; for random genomes the numpy
interpreter of ``oracles`` on tokens seen as maps [b, d, t, 1]; and for causality, tokens changed one at a time.
"""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from oracles import interpret, random_parameters, viable_genomes
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.layer.export import source_of
from evonas.layer.lower import lower

D, GROUPS = 8, 4
WHOLE = SearchSpace(layout="btd", causal=False)
GENOMES = viable_genomes(25, seed=5, space=WHOLE)


def tokens(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2 + 0.5


def exported(genome: Genome, layout: str | None = None) -> nn.Module:
    names: dict[str, type[nn.Module]] = {"__name__": "exported"}  # type: ignore[dict-item]
    exec(source_of(genome, name="layer", layout=layout, groups=GROUPS), names)  # a file is code on purpose
    return names["Layer"](D).double()


NORMS: dict[str, Callable[[], nn.Module]] = {
    "layernorm": lambda: nn.LayerNorm(D),
    "rmsnorm": lambda: nn.RMSNorm(D, eps=1e-5),
}


@pytest.mark.parametrize("shape", [(3, 5, D), (2, 3, 4, D), (5, D)])
@pytest.mark.parametrize("name", NORMS)
def test_norms_of_transformers_equal_those_of_torch(name: str, shape: tuple[int, ...]) -> None:
    oracle, layer = NORMS[name]().double(), lower(CATALOGUE[name], D).double()
    generator = torch.Generator().manual_seed(2)
    for key, parameter in oracle.named_parameters():
        nn.init.normal_(parameter, generator=generator)
        layer.get_parameter(key).data.copy_(parameter.data)
    x, ours = tokens(*shape).requires_grad_(), tokens(*shape).requires_grad_()
    weights = tokens(*shape, seed=3)
    expected, found = oracle(x), layer(ours)
    torch.testing.assert_close(found, expected)
    (expected * weights).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(ours.grad, x.grad)
    torch.testing.assert_close(layer.weight.grad, oracle.weight.grad)
    assert found.shape == expected.shape
    assert found.is_contiguous()


def test_groups_of_features_are_groups_of_each_token_alone() -> None:
    x = tokens(3, 5, D)
    text = "a = mean[gd](x); b = neg(a); c = add(x, b); d = std[gd](x); div(c, d)"
    layer = lower(Genome.from_text(text), D, groups=GROUPS).double()
    expected = nn.functional.group_norm(x.reshape(15, D), GROUPS).reshape(3, 5, D)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("name", "function"), [("dyt", torch.tanh), ("derf", torch.erf)])
def test_layers_without_statistics_are_their_formula(name: str, function: Callable[[Tensor], Tensor]) -> None:
    x, layer = tokens(3, 5, D), lower(CATALOGUE[name], D, layout="btd").double()
    torch.testing.assert_close(layer(x), function(0.5 * x))
    assert layer.v1 is not None
    nn.init.constant_(layer.v1, 1.5)
    shift = torch.linspace(-1, 1, D, dtype=torch.float64)
    if layer.v0 is not None:
        layer.v0.data.copy_(shift)
    torch.testing.assert_close(layer(x), function(0.75 * x + (shift if name == "derf" else 0)))


@pytest.mark.parametrize("genome", GENOMES, ids=lambda genome: genome.key[:6])
def test_random_layers_equal_the_interpreter_lowered_and_exported(genome: Genome) -> None:
    x, parameters = tokens(3, 5, D), random_parameters(D, seed=7)
    expected = interpret(genome, x.transpose(1, 2).unsqueeze(3).numpy(), parameters, groups=GROUPS)
    for layer in (lower(genome, D, layout="btd", groups=GROUPS).double(), exported(genome, "btd")):
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                parameter.copy_(torch.from_numpy(parameters[name]))
            found = layer.train()(x)
        want = torch.from_numpy(np.ascontiguousarray(expected.squeeze(3).transpose(0, 2, 1)))
        torch.testing.assert_close(found, want, rtol=1e-8, atol=1e-8)


def test_an_affine_alone_takes_tokens_too() -> None:
    x, layer = tokens(2, 3, D), lower(CATALOGUE["layernorm"], D, act=False).double()
    nn.init.normal_(layer.weight)
    torch.testing.assert_close(layer(x), x * layer.weight)


def test_no_layer_of_a_causal_space_looks_at_other_tokens() -> None:
    space, rng = SearchSpace(layout="btd"), random.Random(1)
    assert space.index_sets == ("d", "gd")
    x = tokens(2, 5, D)
    changed, others = x.clone(), [0, 1, 2, 4]
    changed[:, 3] += 1
    for _ in range(100):
        layer = lower(space.sample(rng), D, layout="btd", groups=2).double()
        assert torch.equal(layer(x)[:, others], layer(changed)[:, others])


@pytest.mark.parametrize("axes", [name for name in WHOLE.index_sets if name not in ("d", "gd")])
def test_index_sets_over_tokens_do_look_at_them(axes: str) -> None:
    layer = lower(Genome.from_text(f"a = rms[{axes}](x); div(x, a)"), D, groups=GROUPS).double()
    x = tokens(2, 5, D)
    changed = x.clone()
    changed[:, 4] += 1
    assert not torch.allclose(layer(x)[:, 0], layer(changed)[:, 0])


@pytest.mark.parametrize(
    ("text", "layout", "words"),
    [
        ("rms[hw](x)", "btd", ["index sets of bchw", "not of btd", "d, gd"]),
        ("rms[d](x)", "bchw", ["index sets of btd", "chw"]),
        ("a = rms[d](x); b = rms[hw](x); add(a, b)", None, ["index sets of bchw, not of btd"]),
        ("tanh(x)", "bdt", ["'bdt'", "bchw, btd"]),
    ],
)
def test_a_layer_of_another_layout_is_refused(text: str, layout: str | None, words: list[str]) -> None:
    for make in (lambda genome: lower(genome, D, layout=layout), lambda genome: source_of(genome, layout=layout)):
        with pytest.raises(InputError, match="layout") as error:
            make(Genome.from_text(text))
        assert all(word in str(error.value) for word in words)


def test_the_exported_file_says_what_tokens_are() -> None:
    source = source_of(CATALOGUE["layernorm"], name="layernorm")
    assert "def forward(self, tokens: Tensor)" in source
    assert "tokens [..., t, d] -> the same" in source
    assert "torch.randn(8, 128, 64)" in source
    assert "d is per token" in source
