"""Oracles: what scaling a layer does to every measure, exactly; a stack written out by hand; the known growth of
gradients under batch normalization; layers that are known to train and layers that cannot.
"""

import math
import random
import sys

import numpy as np
import pytest
import torch

from evonas.config import LayerConfig, PropagationConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.search import propagation as module
from evonas.search.outcome import Rejection
from evonas.search.propagation import Propagation, propagate, propagation

LAYER, ON = LayerConfig(), PropagationConfig(depth=20)
WIDE = {
    "activation": (0.0, 1e9),
    "gradient": (0.0, 1e9),
    "weight_gradient": (0.0, 1e9),
    "different": 2.0,
    "alike": -2.0,
}
IDENTITY = "mul(x, v1)"


def measure(text: str, depth: int = 20, seed: int = 0) -> Propagation:
    return propagate(Genome.from_text(text), LAYER, depth=depth, seed=seed)


def verdict(text: str, settings: PropagationConfig = ON) -> Rejection | None:
    return propagation(Genome.from_text(text), settings, LAYER)


def only(**limits: object) -> PropagationConfig:
    return PropagationConfig.model_validate({"depth": 20, **WIDE, **limits})


def test_doubling_a_layer_doubles_both_growths_and_leaves_directions() -> None:
    one, two = measure(IDENTITY), measure("add(x, x)")
    assert two.activation == pytest.approx(2 * one.activation, rel=1e-4)
    assert (two.different, two.alike) == pytest.approx((one.different, one.alike), abs=1e-4)
    # the loss is that of other logits, so the gradient at the top differs, but it goes down the same stack
    assert two.gradient == pytest.approx(2 * one.gradient, rel=0.05)


def test_a_sign_changes_nothing_in_an_even_number_of_layers() -> None:
    one, other = measure("a = neg(x); neg(a)"), measure(IDENTITY)
    for name in Propagation.__slots__:
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-4)


def test_measures_are_those_of_the_stack_written_out() -> None:
    setting = module._setting(5, 3)
    h = setting.h.double().requires_grad_()
    kernels = [k.detach().double().requires_grad_() for k in setting.kernels]
    states = []
    for kernel in kernels:
        h = torch.nn.functional.conv2d(torch.tanh(h), kernel, padding=1)
        h.retain_grad()
        states.append(h)
    logits = torch.einsum("bchw,kc->bk", torch.tanh(h), setting.head.double()) / h[0, 0].numel()
    (-logits.log_softmax(1)[torch.arange(8), setting.labels].mean()).backward()
    rms = [math.sqrt(s.detach().square().mean().item()) for s in states]
    slopes = [math.sqrt(s.grad.square().mean().item()) for s in states if s.grad is not None]
    rows = states[-1].detach().flatten(1).numpy()
    cosine = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in rows] for b in rows])
    twins = np.eye(8, k=4, dtype=bool) | np.eye(8, k=-4, dtype=bool)
    found = measure("tanh(x)", depth=5, seed=3)
    assert found.activation == pytest.approx((rms[-1] / rms[0]) ** (1 / 4), rel=1e-4)
    assert found.gradient == pytest.approx((slopes[0] / slopes[-1]) ** (1 / 4), rel=1e-4)
    assert found.weight_gradient == pytest.approx(
        min(k.grad.norm().item() for k in kernels if k.grad is not None), rel=1e-4
    )
    assert found.alike == pytest.approx(cosine[twins].mean(), abs=1e-4)
    assert found.different == pytest.approx(cosine[~twins & ~np.eye(8, dtype=bool)].mean(), abs=1e-4)


def test_near_copies_start_at_their_correlation() -> None:
    h = module._setting(1, 0).h.flatten(1)
    different, alike = module._cosines(h)
    assert alike == pytest.approx(0.9, abs=0.05)
    assert abs(different) < 0.2


def test_batch_normalization_makes_gradients_explode_as_mean_field_theory_says() -> None:
    # squared growth per layer pi / (pi - 1) in wide networks: Yang et al. 2019, arXiv 1902.08129
    text = CATALOGUE["bn-relu"].to_text()
    found = np.mean([measure(text, seed=seed).gradient for seed in range(5)])
    assert found == pytest.approx(math.sqrt(math.pi / (math.pi - 1)), abs=0.05)


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - {"dyt", "derf"}))
def test_published_layers_pass(name: str) -> None:
    assert propagation(CATALOGUE[name], ON, LAYER) is None


@pytest.mark.parametrize("name", ["dyt", "derf"])
def test_layers_that_live_on_a_residual_stream_do_not(name: str) -> None:
    found = propagation(CATALOGUE[name], ON, LAYER)  # nothing in a plain stack restores the scale
    assert found is not None
    assert found.reason == "activations vanish"


def test_a_layer_for_tokens_takes_positions_for_them() -> None:
    found = measure("a = rms[d](x); div(x, a)")
    assert found.activation == pytest.approx(1.0, abs=0.02)
    assert found.gradient == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("square(x)", "activations explode"),
        ("exp(x)", "activations explode"),
        ("a = square(x); b = std[ghw](x); div(a, b)", "activations explode"),
        ("max(x, zero)", "activations vanish"),
        ("mul(x, v0)", "activations vanish"),  # v0 is 0 at the start
        ("a = sigmoid(x); mul(a, x)", "activations vanish"),
        ("sigmoid(x)", "gradient vanishes"),
        ("log(x)", "gradient explodes"),
    ],
)
def test_layers_that_deep_networks_cannot_train_with_are_rejected(text: str, reason: str) -> None:
    found = verdict(text)
    assert found is not None
    assert (found.stage, found.reason) == ("propagation", reason)
    assert found.measured is not None
    assert found.limit is not None
    assert math.isfinite(found.measured)


@pytest.mark.parametrize(
    ("text", "settings", "rejection"),
    [
        ("sigmoid(x)", only(different=0.98), "inputs collapse"),
        ("log(x)", only(alike=0.1), "inputs decorrelate"),
        ("max(x, zero)", only(weight_gradient=(0.01, 10.0)), "weight gradient too small"),
        ("log(x)", only(weight_gradient=(0.01, 10.0)), "weight gradient too large"),
    ],
)
def test_each_limit_holds_by_itself(text: str, settings: PropagationConfig, rejection: str) -> None:
    found = verdict(text, settings)
    assert found is not None
    assert found.reason == rejection
    assert verdict(text, only()) is None


def test_numbers_that_overflow_are_rejected_however_wide_the_limits() -> None:
    for text in ("exp(x)", "square(x)"):
        found = verdict(text, only())
        assert found is not None
        assert found.reason == "activations explode"


def test_depth_zero_lets_everything_pass() -> None:
    assert verdict("exp(x)", PropagationConfig()) is None


def test_an_error_in_torch_is_a_rejection(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no memory\nmore")

    monkeypatch.setattr(module, "lower", fail)
    assert verdict("neg(x)") == Rejection("propagation", "error", detail="no memory")


def test_a_measurement_repeats_and_leaves_global_generators_alone() -> None:
    torch.manual_seed(5)
    states = torch.get_rng_state(), random.getstate()
    first = measure("tanh(x)")
    module._setting.cache_clear()
    assert measure("tanh(x)") == first
    assert measure("tanh(x)", seed=1) != first
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]


def test_where_the_activations_decide_the_backward_pass_is_left_out(rng: random.Random) -> None:
    """The oracle is the verdict by all measures, of which the activations' growth is the first."""
    space, ends = SearchSpace(), set()
    for _ in range(60):
        genome = space.sample(rng)
        whole = propagate(genome, LAYER, depth=20)
        short = propagate(genome, LAYER, depth=20, activation=ON.activation)
        low, high = ON.activation
        within = low <= whole.activation <= high
        ends.add(within)
        assert same(short.activation, whole.activation)
        if within:
            assert all(map(same, *([getattr(p, name) for name in Propagation.__slots__] for p in (short, whole))))
        else:
            assert math.isnan(short.gradient)
            rejection = propagation(genome, ON, LAYER)
            assert rejection is not None
            assert rejection.reason in ("activations vanish", "activations explode")
            assert rejection.measured == (whole.activation if math.isfinite(whole.activation) else sys.float_info.max)
    assert ends == {True, False}


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
