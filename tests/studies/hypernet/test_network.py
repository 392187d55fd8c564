"""One gamma at a time.

Oracles: the primary network itself; a plain copy with the predicted weights (``materialize``), trained with the same
optimizer; the prediction written out with torch's functions; ratios of norms derived on paper, and those of the
publication's libraries.
"""

import copy
import math
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import evonas.hypernet
from evonas.errors import InputError
from evonas.hypernet import HyperNetwork
from evonas.studies.hypernet.inputs import cos_sin
from evonas.studies.hypernet.network import PARAMETRIZATIONS

GAMMA = torch.tensor([0.3, 0.9])


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def mean_norms(primary: nn.Module, seeds: int = 12, **options: object) -> dict[str, float]:
    """Root of the mean over seeds and gammas of ||theta_k - base_k||^2, over ||theta0_k||."""
    squares: dict[str, float] = {}
    for seed in range(seeds):
        model = HyperNetwork(primary, 2, seed=seed, **options)
        gammas = model.inputs.sample(64, torch.Generator().manual_seed(seed))
        for name, value in model.predict(gammas).items():
            correction = (value - model.base[name]).detach()
            squares[name] = squares.get(name, 0.0) + correction.square().sum().item() / 64 / seeds
    norms = {name: primary.get_parameter(name).detach().norm().item() for name in squares}
    return {name: square**0.5 / norms[name] if norms[name] else square for name, square in squares.items()}


# what the network is made of


@pytest.mark.parametrize("parametrization", ["mip", "additive-only"])
def test_theta0_is_the_networks_own_start_whatever_names_and_shapes(
    text: nn.Module, images: nn.Module, parametrization: str
) -> None:
    for primary in (text, images):
        model = HyperNetwork(primary, 2, parametrization=parametrization)
        assert same(dict(model.base), dict(primary.named_parameters()))
    assert model.base["1.weight"].tolist() == [1.0] * 6
    assert HyperNetwork(text, 2).base["weight"].tolist() == [2.0] * 6
    assert HyperNetwork(text, 2).base["film.gamma"].tolist() == [1.0] * 6


@pytest.mark.parametrize("parametrization", ["default", "encoding-only"])
def test_without_theta0_the_base_is_a_bias_that_starts_at_zero(images: nn.Module, parametrization: str) -> None:
    model = HyperNetwork(images, 2, parametrization=parametrization)
    assert not any(base.any() for base in model.base.values())
    assert all(base.requires_grad for base in model.base.values())


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_all_parametrizations_have_the_same_parameters_but_for_the_encoding(
    text: nn.Module, parametrization: str
) -> None:
    model = HyperNetwork(text, 2, parametrization=parametrization, hidden=(5, 7))
    predicted = sum(p.numel() for p in text.parameters())
    size = 4 if PARAMETRIZATIONS[parametrization].encoded else 2
    assert sum(p.numel() for p in model.parameters()) == predicted * (7 + 1) + 5 * size + 5 + 7 * 5 + 7


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_predictions_are_a_linear_map_of_the_hidden_layers(text: nn.Module, parametrization: str) -> None:
    model = HyperNetwork(text, 2, parametrization=parametrization, ranges=(0.0, 2.0), activation="tanh")
    state = model.state_dict()
    x = GAMMA / 2
    if PARAMETRIZATIONS[parametrization].encoded:
        x = cos_sin(x)
    for layer in ("0", "2"):
        x = torch.tanh(state[f"body.{layer}.weight"] @ x + state[f"body.{layer}.bias"])
    for name, value in model.predict(GAMMA).items():
        base = state[f"primary.{name}"]
        torch.testing.assert_close(value, base + (state[f"heads.{name}"] @ x).view(base.shape))


def test_the_given_network_is_left_alone_and_shares_nothing(images: nn.Module) -> None:
    before, state = values(images), torch.get_rng_state()
    model = HyperNetwork(images, 2, parametrization="default")
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    assert same(values(images), before)


def test_what_is_not_predicted_stays_an_ordinary_parameter(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork(images, 2, predict=["0.weight", "1.*"], parametrization="default")
    assert list(model.predict(GAMMA)) == ["0.weight", "1.weight", "1.bias"]
    assert torch.equal(model.primary.get_parameter("6.weight"), images[6].weight)
    model(GAMMA, pictures).sum().backward()
    assert model.primary.get_parameter("6.weight").grad.any()


def test_the_seed_decides_and_a_tensor_starts_the_same_whatever_else_is_predicted(images: nn.Module) -> None:
    one, other = HyperNetwork(images, 2, seed=1), HyperNetwork(images, 2, seed=2)
    assert same(values(one), values(HyperNetwork(images, 2, seed=1)))
    assert not torch.equal(one.heads.weight, other.heads.weight)
    few = HyperNetwork(images, 2, seed=1, predict="6.weight")
    assert torch.equal(few.predict(GAMMA)["6.weight"], one.predict(GAMMA)["6.weight"])


# how large corrections are


@pytest.mark.parametrize("parametrization", ["mip", "additive-only"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
def test_corrections_start_at_the_stated_ratio(text: nn.Module, parametrization: str, activation: str) -> None:
    ratios = mean_norms(text, parametrization=parametrization, activation=activation, correction=0.3)
    assert ratios.pop("film.beta") == 0.0  # starts at 0
    assert ratios.pop("norm.bias") == 0.0
    assert len(ratios) == 5
    for name, ratio in ratios.items():
        # 12 draws of N numbers each; for tensors of 6 or 11 that is a standard error of up to 8 %
        assert ratio == pytest.approx(0.3, rel=0.1 if name == "embedding.weight" else 0.25), name


@pytest.mark.parametrize("parametrization", ["default", "encoding-only"])
def test_without_theta0_predictions_have_the_size_of_the_networks_own_start(
    images: nn.Module, parametrization: str
) -> None:
    ratios = mean_norms(images, parametrization=parametrization)
    assert ratios.pop("1.bias") == 0.0
    for name, ratio in ratios.items():
        assert ratio == pytest.approx(1.0, rel=0.1 if name == "0.weight" else 0.25), name


@pytest.mark.parametrize("norm", ["layer", "weight"])
@pytest.mark.parametrize("hidden", [(16, 128), (32,)])
def test_ratios_hold_under_a_norm(images: nn.Module, norm: str, hidden: tuple[int, ...]) -> None:
    ratios = mean_norms(images, norm=norm, hidden=hidden, correction=0.2)
    assert ratios["0.weight"] == pytest.approx(0.2, rel=0.1)


def test_heads_can_sit_on_the_encoding_itself(images: nn.Module) -> None:
    assert mean_norms(images, hidden=(), correction=0.2)["0.weight"] == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(("gain", "size"), [(2**0.5, 2.0), (1.0, 1.0)])
def test_fan_out_heads_reproduce_the_ratio_of_the_libraries(gain: float, size: float) -> None:
    # ||dtheta|| / ||theta0|| = sqrt(gain^2 / 2 D / out) for a Kaiming convolution, 64 x 64 x 3 x 3, D = 8
    primary = nn.Conv2d(64, 64, 3, bias=False)
    nn.init.kaiming_normal_(primary.weight, generator=torch.Generator().manual_seed(0))
    squares = []
    for seed in range(20):
        model = HyperNetwork(primary, 8, hidden=(16, 64, 32), activation="leaky_relu", head_gain=gain, seed=seed)
        gamma = model.inputs.sample(1, torch.Generator().manual_seed(seed))[0]
        correction = model.predict(gamma)["weight"] - model.base["weight"]
        squares.append((correction.norm() / primary.weight.norm()).item() ** 2)
    assert (sum(squares) / 20) ** 0.5 == pytest.approx(math.sqrt(size / 2 * 8 / 64), rel=0.25)


def test_correction_zero_is_the_network_bit_for_bit(text: nn.Module, images: nn.Module, pictures: Tensor) -> None:
    images.eval()
    for predict in ("**", "**.weight"):
        model = HyperNetwork.from_pretrained(images, 2, predict=predict)
        assert torch.equal(model(GAMMA, pictures), images(pictures))
    text.half()
    model = HyperNetwork.from_pretrained(text, 2)
    assert same(model.predict(GAMMA), dict(text.named_parameters()))


def test_a_trained_network_may_start_with_a_correction(images: nn.Module) -> None:
    for options in ({"correction": 0.1}, {"head_gain": 1.0}):
        model = HyperNetwork.from_pretrained(images, 2, **options)
        assert same(dict(model.base), dict(images.named_parameters()))
        assert model.heads.weight.any()


# what it computes


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_a_call_equals_the_plain_network_with_the_predicted_weights(
    text: nn.Module, images: nn.Module, tokens: Tensor, pictures: Tensor, parametrization: str
) -> None:
    for primary, inputs in ((text, tokens), (images.eval(), pictures)):
        model = HyperNetwork(primary, 2, parametrization=parametrization)
        plain = model.materialize(GAMMA)
        assert type(plain) is type(primary)
        assert torch.equal(model(GAMMA, inputs), plain(inputs))
    other = HyperNetwork(text, 2, correction=1.0)
    assert not torch.equal(other(GAMMA, tokens), other(1 - GAMMA, tokens))


def test_arguments_by_name_reach_the_network(text: nn.Module, tokens: Tensor) -> None:
    model = HyperNetwork(text, 2)
    assert torch.equal(model(GAMMA, tokens=tokens, power=2.0), model.materialize(GAMMA)(tokens, power=2.0))


def test_named_inputs_and_joined_ones_are_the_same(text: nn.Module, tokens: Tensor) -> None:
    model = HyperNetwork(text, {"a": 1, "b": 1}, ranges={"b": (0.0, 3.0)})
    assert torch.equal(model({"b": 0.9, "a": torch.tensor([0.3])}, tokens), model(GAMMA, tokens))


def test_tied_parameters_stay_tied(text: nn.Module, tokens: Tensor) -> None:
    model = HyperNetwork(text, 2, predict="decoder.weight", correction=1.0)
    plain = model.materialize(GAMMA)
    assert plain.decoder.weight is plain.embedding.weight
    assert torch.equal(model(GAMMA, tokens), plain(tokens))
    changed = copy.deepcopy(text)
    with torch.no_grad():
        changed.embedding.weight.copy_(model.predict(GAMMA)["embedding.weight"])
    assert torch.equal(model(GAMMA, tokens), changed(tokens))


def test_a_materialized_network_is_independent(images: nn.Module) -> None:
    model = HyperNetwork(images, 2)
    before, plain = values(model), model.materialize(GAMMA)
    with torch.no_grad():
        for tensor in (*plain.parameters(), *plain.buffers()):
            tensor.fill_(3)
    assert same(values(model), before)
    assert all(p.is_leaf and p.requires_grad for p in plain.parameters())


def test_running_statistics_move_as_in_the_plain_network(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork(images, 2)
    plain = model.materialize(GAMMA)
    model(GAMMA, pictures)
    plain(pictures)
    assert model.primary[1].running_mean.any()
    assert all(torch.equal(a, b) for a, b in zip(model.primary.buffers(), plain.buffers(), strict=True))


class Fragile(nn.Module):
    """Fails in the middle of a call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if not x.requires_grad:
            raise ValueError("no gradient")
        return self.second(x)


def test_an_exception_leaves_the_network_as_it_was() -> None:
    model = HyperNetwork(Fragile(), 2)
    before, base = values(model), model.base
    for gamma in (GAMMA, GAMMA.expand(3, 2)):
        with torch.no_grad(), pytest.raises(ValueError, match="no gradient"):
            model(gamma, torch.ones(2, 3))
        assert all(model.base[name] is base[name] for name in base)
        assert same(values(model), before)
    model(GAMMA, torch.ones(2, 3)).sum().backward()


def test_predictions_keep_their_precision_under_autocast(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork(images, 2)
    expected = model.predict(GAMMA)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(model.predict(GAMMA), expected)
        alone, several = model.eval()(GAMMA, pictures), model(GAMMA.expand(2, 2), pictures)
    assert alone.dtype == torch.bfloat16
    for output in several:
        torch.testing.assert_close(output, alone, atol=0.02, rtol=0, check_dtype=False)


def test_tensors_keep_their_own_types() -> None:
    primary = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3).double())
    predicted = HyperNetwork(primary, 2).predict(GAMMA)
    assert {name: value.dtype for name, value in predicted.items()} == {
        name: parameter.dtype for name, parameter in primary.named_parameters()
    }


def test_a_recurrent_network_is_called_for_one_gamma_at_a_time() -> None:
    model = HyperNetwork(nn.LSTM(3, 4), 2, correction=0.5)
    x = torch.randn(6, 2, 3)
    outputs = [model(gamma, x)[0] for gamma in (GAMMA, 1 - GAMMA)]
    assert not torch.equal(*outputs)
    torch.testing.assert_close(outputs[0], model.materialize(GAMMA)(x)[0])
    outputs[0].sum().backward()
    assert model.heads.weight.grad.any()
    with pytest.raises(RuntimeError, match=r"[Bb]atching rule"):
        model(torch.stack((GAMMA, 1 - GAMMA)), x)


# how it learns


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_gradients_reach_everything(text: nn.Module, tokens: Tensor, parametrization: str) -> None:
    model = HyperNetwork(text, 2, parametrization=parametrization)
    model(GAMMA, tokens).square().sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert not without
    gamma = GAMMA.clone().requires_grad_()
    model(gamma, tokens).square().sum().backward()
    assert gamma.grad.all()


def test_heads_of_zero_learn_from_the_first_step(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork.from_pretrained(images, 2)
    model(GAMMA, pictures).square().sum().backward()
    assert all(grad.any() for grad in model.heads.weight.grad.split(model.heads.sizes))
    assert all(base.grad.any() for base in model.base.values())


def test_with_frozen_hidden_layers_a_constant_gamma_trains_like_the_plain_network(seeded) -> None:
    model = HyperNetwork(seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))), 2).double()
    plain = model.materialize(GAMMA)
    x, y = (torch.randn((20, n), dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in (5, 2))
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (model.primary, plain)]
    for _ in range(10):
        for optimizer, call in zip(optimizers, (lambda: model(GAMMA, x), lambda: plain(x)), strict=True):
            optimizer.zero_grad()
            (call() - y).square().mean().backward()
            optimizer.step()
    for name, value in model.predict(GAMMA).items():
        torch.testing.assert_close(value, plain.get_parameter(name))


def test_a_state_dict_is_named_and_read_back(text: nn.Module, tokens: Tensor) -> None:
    model = HyperNetwork(text, 2, seed=1)
    state = model.state_dict()
    assert {"body.0.weight", "body.2.bias", "heads.film.gamma", "primary.film.gamma", "primary.offset"} <= state.keys()
    other = HyperNetwork(text, 2, seed=2)
    assert not torch.equal(other(GAMMA, tokens), model(GAMMA, tokens))
    other.load_state_dict(state)
    assert torch.equal(other(GAMMA, tokens), model(GAMMA, tokens))
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(copied(GAMMA, tokens), model(GAMMA, tokens))


def test_a_state_dict_of_a_network_that_predicts_something_else_is_refused(images: nn.Module) -> None:
    state = HyperNetwork(images, 2, predict="**.weight").state_dict()
    with pytest.raises(RuntimeError, match=r"heads\.1\.bias"):
        HyperNetwork(images, 2).load_state_dict(state)


def test_the_readme_example_runs() -> None:
    text = (Path(evonas.hypernet.__file__).parent / "studies" / "hypernet" / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)  # our own text
    assert names["curve"].shape == (5,)


# mistakes


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"parametrization": "MIP"}, ["parametrization", "'MIP'", "mip, default, encoding-only, additive-only"]),
        ({"activation": "elu"}, ["activation", "'elu'"]),
        ({"norm": "batch"}, ["norm", "'batch'"]),
        ({"predict": "**.wieght"}, ["'**.wieght'", "parameters of this Sequential", "0.weight"]),
        ({"correction": -0.1}, ["correction", "-0.1", "0 or more"]),
        ({"head_gain": math.nan}, ["head_gain", "nan", "finite"]),
        ({"correction": 0.1, "head_gain": 1.0}, ["correction, head_gain", "both"]),
        ({"randomness": "error"}, ["randomness", "'error'", "different, same"]),
        ({"ranges": (1.0, 0.0)}, ["ranges: gamma", "(1.0, 0.0)"]),
        ({"hidden": (0,)}, ["hidden", "(0,)"]),
    ],
)
def test_mistakes_are_named_in_one_line(images: nn.Module, options: dict, named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        HyperNetwork(images, 2, **options)
    assert all(word in str(error.value) for word in named), error.value
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("gamma", "named"),
    [
        (torch.zeros(3), ["gamma", "[3]", "[2]"]),
        (torch.tensor([0.5, 1.5]), ["gamma", "0.5 to 1.5", "from 0 to 1"]),
        (torch.tensor([0.5, math.nan]), ["gamma", "not finite"]),
        ({"delta": 0.5}, ["'delta'", "gamma"]),
    ],
)
def test_wrong_gammas_are_named(images: nn.Module, pictures: Tensor, gamma: object, named: list[str]) -> None:
    model = HyperNetwork(images, 2)
    for call in (lambda: model(gamma, pictures), lambda: model.predict(gamma), lambda: model.materialize(gamma)):
        with pytest.raises(InputError) as error:
            call()
        assert all(word in str(error.value) for word in named), error.value


def test_what_has_no_theta0_cannot_start_from_a_trained_network(images: nn.Module) -> None:
    with pytest.raises(InputError, match=r"'default' does not keep.*accepted: mip, additive-only"):
        HyperNetwork.from_pretrained(images, 2, parametrization="default")
    with pytest.raises(InputError, match="parametrization: 'none'"):
        HyperNetwork.from_pretrained(images, 2, parametrization="none")


def test_only_one_gamma_can_be_materialized(images: nn.Module) -> None:
    with pytest.raises(InputError, match=r"gamma: 3 of them; accepted: one"):
        HyperNetwork(images, 2).materialize(GAMMA.expand(3, 2))


def test_theta_must_be_what_predict_gives(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork(images, 2, predict="1.*")
    theta = model.predict(GAMMA)
    for wrong, named in (
        ({"1.weight": theta["1.weight"]}, "'1.bias' is missing"),
        ({**theta, "x": GAMMA}, "'x' is not"),
    ):
        with pytest.raises(InputError, match=named):
            model.call_primary(wrong, pictures)
