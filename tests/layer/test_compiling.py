"""Compiled layers. Oracles: the same layers in eager mode, within rounding; torch's count of compiled graphs."""

import copy
import pickle
import shutil
from collections.abc import Iterator

import pytest
import torch
import torch._dynamo
import torch._inductor
from torch import Tensor, nn
from torch._dynamo.utils import counters

from evonas.graph.catalogue import CATALOGUE
from evonas.layer.compiling import LayerCompiler, compiling_pays, shared_body
from evonas.layer.lower import lower


class Network(nn.Module):
    """Layers of different channels and map sizes, one of them affine alone."""

    def __init__(self, name: str) -> None:
        super().__init__()
        genome = CATALOGUE[name]
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 24, 3, stride=2, padding=1)
        self.large, self.small = lower(genome, 8, layout="bchw", groups=4), lower(genome, 24, layout="bchw", groups=4)
        self.affine = lower(genome, 24, layout="bchw", groups=4, act=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.affine(self.small(self.second(self.large(self.first(x)))))


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape or (6, 3, 9, 8), generator=torch.Generator().manual_seed(seed))


pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a C++ compiler"),
    pytest.mark.filterwarnings("ignore"),  # torch's own while it compiles
]


@pytest.fixture
def compiler() -> Iterator[LayerCompiler]:
    with LayerCompiler() as compiler:
        yield compiler


def trained(model: nn.Module, steps: int = 2) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Output and gradients of every step, and the state at the end."""
    found = []
    for seed in range(steps):
        output = model(images(seed=seed))
        found += [output, *torch.autograd.grad(output.square().mean(), [*model.parameters()])]
    return found, model.state_dict()


def graphs() -> int:
    """How many graphs torch has compiled in this process."""
    return int(counters["stats"]["unique_graphs"])


@pytest.mark.parametrize("name", ["evonorm-s0", "evonorm-b0", "gn-relu"])
def test_one_compilation_serves_all_sites_networks_and_shapes(name: str, compiler: LayerCompiler) -> None:
    network, other, eager = Network(name), Network(name), Network(name)
    outcome = compiler.compile_layers(network)
    assert (outcome.layers, outcome.failure, len(outcome.functions)) == (3, "", 2)  # the layer, the affine alone
    assert outcome.seconds > 0
    before = graphs()
    assert compiler.compile_layers(other).seconds == 0
    torch.testing.assert_close(trained(other), trained(eager), rtol=1e-4, atol=1e-4)
    for shape in ((2, 3, 16, 16), (8, 3, 16, 16), (1, 3, 12, 4)):
        torch.testing.assert_close(other(images(*shape)), eager(images(*shape)), rtol=1e-4, atol=1e-4)
        other(images(*shape)).sum().backward()
    state = [value.clone() for value in other.state_dict().values()]
    assert other(images(0, 3, 16, 16)).shape == (0, 24, 8, 8)
    assert all(torch.equal(old, new) for old, new in zip(state, other.state_dict().values(), strict=True))
    assert graphs() == before
    assert not outcome.failure


def test_what_is_not_training_runs_as_before(compiler: LayerCompiler) -> None:
    layer, eager = (lower(CATALOGUE["evonorm-s0"], 8, groups=4) for _ in range(2))
    compiler.compile_layers(layer)
    before = graphs()
    x = images(2, 8, 4, 5).requires_grad_()
    with torch.no_grad():
        assert torch.equal(layer(x), eager(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), eager(x))
    pixel, last = images(2, 8, 1, 1).requires_grad_(), x.to(memory_format=torch.channels_last)
    for other in (x.detach(), pixel, last, x.bfloat16()):
        assert torch.equal(layer(other), eager(other))
    assert torch.equal(layer.eval()(x), eager.eval()(x))
    assert graphs() == before
    assert not compiler.compile_layers(layer).failure


def test_state_copies_and_pickles_are_as_if_nothing_had_been_compiled(compiler: LayerCompiler) -> None:
    network, eager = Network("evonorm-b0"), Network("evonorm-b0")
    compiler.compile_layers(network)
    assert network.state_dict().keys() == eager.state_dict().keys()
    for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert twin.large.compiled is None
        torch.testing.assert_close(trained(twin), trained(copy.deepcopy(eager)), rtol=0, atol=0)


def broken(*_: object, **__: object) -> None:
    raise RuntimeError("no C++ compiler\nand a long story")


def test_a_compiler_that_fails_is_reported_and_layers_run_as_before(
    monkeypatch: pytest.MonkeyPatch, compiler: LayerCompiler
) -> None:
    monkeypatch.setattr(torch, "compile", broken)
    network = Network("evonorm-s0")
    outcome = compiler.compile_layers(network)
    assert (outcome.layers, outcome.failure) == (0, "RuntimeError: no C++ compiler")
    torch.testing.assert_close(trained(network), trained(Network("evonorm-s0")), rtol=0, atol=0)


def test_a_missing_cpp_compiler_is_such_a_failure(monkeypatch: pytest.MonkeyPatch, compiler: LayerCompiler) -> None:
    def none(_: object) -> str:
        raise torch._inductor.exc.InvalidCxxCompiler

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none)
    network = Network("evonorm-s0")
    with torch._inductor.config.patch(force_disable_caches=True):
        outcome = compiler.compile_layers(network)
    assert outcome.layers == 0
    assert "C++" in outcome.failure or "compiler" in outcome.failure.lower()
    torch.testing.assert_close(trained(network), trained(Network("evonorm-s0")), rtol=0, atol=0)


def test_a_call_that_fails_is_reported_once_and_the_layer_goes_on(
    monkeypatch: pytest.MonkeyPatch, compiler: LayerCompiler
) -> None:
    calls = []

    def fails_later(function: object, **_: object) -> object:
        def call(*arguments: Tensor) -> Tensor:
            calls.append(1)
            if len(calls) > 1:
                raise RuntimeError("illegal instruction")
            return function(*arguments)

        return call

    monkeypatch.setattr(torch, "compile", fails_later)
    layer, eager = (lower(CATALOGUE["evonorm-s0"], 8, groups=4) for _ in range(2))
    outcome = compiler.compile_layers(layer)
    assert (outcome.layers, outcome.failure) == (1, "")
    for _ in range(3):
        x = images(2, 8, 4, 5).requires_grad_()
        assert torch.equal(layer(x), eager(x))
    assert outcome.failure == "RuntimeError: illegal instruction"
    assert len(calls) == 2


def test_a_closed_compiler_leaves_layers_that_run_as_before() -> None:
    layer, eager = (lower(CATALOGUE["evonorm-s0"], 8, groups=4) for _ in range(2))
    with LayerCompiler() as compiler:
        outcome = compiler.compile_layers(layer)
        assert not outcome.failure
    x = images(2, 8, 4, 5).requires_grad_()
    assert torch.equal(layer(x), eager(x))


def test_more_variants_than_torch_allows_are_a_failure_with_a_reason(compiler: LayerCompiler) -> None:
    layer = lower(CATALOGUE["evonorm-s0"], 4, groups=4)
    outcome = compiler.compile_layers(layer)
    with torch._dynamo.config.patch(recompile_limit=1):
        x = images(2, 4, 70, 70).requires_grad_()  # sums over more than 4,096 values are another variant
        torch.testing.assert_close(layer(x), lower(CATALOGUE["evonorm-s0"], 4, groups=4)(x))
    assert "FailOnRecompileLimitHit" in outcome.failure


def test_bodies_are_shared_whatever_the_channels_and_differ_by_groups() -> None:
    def code(channels: int, groups: int) -> str:
        return shared_body(lower(CATALOGUE["evonorm-b0"], channels, groups=groups).body).code

    def grouped(channels: int, groups: int) -> str:
        return shared_body(lower(CATALOGUE["gn-relu"], channels, groups=groups).body).code

    assert code(8, 4) == code(96, 32)
    assert grouped(8, 4) == grouped(96, 4)
    assert grouped(8, 4) != grouped(8, 2)


@pytest.mark.parametrize("steps", [0, 1, 100, 400, 10_000])
def test_compiling_pays_when_it_saves_more_than_it_costs(steps: int) -> None:
    pays = compiling_pays(0.08, steps, compile_seconds=6.0, saved_share=0.2, margin=1.0)
    assert pays is (steps * 0.08 * 0.2 > 6.0)


def test_a_margin_makes_compiling_rarer() -> None:
    for steps in range(0, 2000, 100):
        careful = compiling_pays(0.08, steps, compile_seconds=6.0, saved_share=0.2, margin=2.0)
        assert not careful or compiling_pays(0.08, steps, compile_seconds=6.0, saved_share=0.2, margin=1.0)
    assert not compiling_pays(0.08, 100_000, compile_seconds=6.0, saved_share=-0.1)
