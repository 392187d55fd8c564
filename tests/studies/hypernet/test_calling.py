"""Several gammas in one call. Oracles: a loop of calls for one gamma, and copies of the network for its statistics."""

import copy

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.hypernet import HyperNetwork
from evonas.layer.lower import lower
from evonas.studies.hypernet.network import PARAMETRIZATIONS
from evonas.surgery.recalibrate import recalibrate
from evonas.surgery.sites import replace_norm_act

GAMMAS = torch.tensor([[0.0, 1.0], [0.3, 0.9], [0.5, 0.5], [1.0, 0.2]])


def loop(model: HyperNetwork, *inputs: Tensor, **kwargs: object) -> Tensor:
    return torch.stack([model(gamma, *inputs, **kwargs) for gamma in GAMMAS])


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_predictions_equal_a_loop(text: nn.Module, parametrization: str) -> None:
    model = HyperNetwork(text, 2, parametrization=parametrization)
    for name, value in model.predict(GAMMAS).items():
        torch.testing.assert_close(value, torch.stack([model.predict(gamma)[name] for gamma in GAMMAS]))


@pytest.mark.parametrize("training", [True, False])
def test_outputs_equal_a_loop(
    text: nn.Module, images: nn.Module, tokens: Tensor, pictures: Tensor, training: bool
) -> None:
    for primary, inputs in ((text, tokens), (without_dropout(images), pictures)):
        model = HyperNetwork(primary, 2, correction=0.5).train(training)
        out = model(GAMMAS, inputs)
        assert len(out) == len(GAMMAS)
        torch.testing.assert_close(out, loop(model, inputs))


def test_gradients_equal_a_loop(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork(without_dropout(images).double(), 2, correction=0.5)
    pictures = pictures.double()
    batched, looped = (
        torch.autograd.grad(out.square().sum(), list(model.parameters()))
        for out in (model(GAMMAS, pictures), loop(model, pictures))
    )
    for one, other in zip(batched, looped, strict=True):
        torch.testing.assert_close(one, other)


def test_one_gamma_in_a_batch_equals_the_gamma_alone(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork(images.eval(), 2)
    torch.testing.assert_close(model(GAMMAS[:1], pictures), model(GAMMAS[0], pictures)[None])


def test_each_gamma_may_have_inputs_of_its_own(text: nn.Module) -> None:
    model = HyperNetwork(text, 2)
    tokens = torch.arange(4 * 2 * 3).view(4, 2, 3) % 11
    expected = torch.stack([model(gamma, own) for gamma, own in zip(GAMMAS, tokens, strict=True)])
    torch.testing.assert_close(model(GAMMAS, tokens, in_dims=0), expected)
    shared = torch.stack([model(gamma, tokens) for gamma in GAMMAS])
    torch.testing.assert_close(model(GAMMAS, tokens), shared)


class Scaled(nn.Module):
    """Takes an input and a factor, and gives a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor, factor: Tensor, shift: float = 0.0) -> dict[str, Tensor]:
        return {"out": self.linear(x) * factor + shift, "in": x}


def test_inputs_can_be_shared_one_by_one_and_outputs_may_be_nested() -> None:
    model = HyperNetwork(Scaled(), 2)
    x, factors = torch.randn(5, 3), torch.arange(4.0)
    out = model(GAMMAS, x, factors, in_dims=(None, 0), shift=1.0)
    for index, gamma in enumerate(GAMMAS):
        torch.testing.assert_close(out["out"][index], model(gamma, x, factors[index], shift=1.0)["out"])
    assert out["in"].shape == (4, 5, 3)


class Norms(nn.Module):
    """Two norms that share their scale and add their shift in place."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(3) for _ in range(3))
        for norm in self.norms:
            norm.weight = self.norms[0].weight
            norm.bias = nn.Parameter(torch.rand(3))
        self.norms[2].bias = self.norms[1].bias

    def forward(self, x: Tensor) -> Tensor:
        return sum((x * norm.weight).add_(norm.bias) for norm in self.norms)


@pytest.mark.parametrize("predict", ["norms.0.bias", "norms.1.bias", "norms.2.weight", "**.bias"])
def test_tied_vectors_and_writes_in_place(predict: str) -> None:
    model = HyperNetwork(Norms(), 2, predict=predict, correction=1.0)
    x = torch.randn(4, 3)
    torch.testing.assert_close(model(GAMMAS, x), loop(model, x))


# statistics and randomness


def test_running_statistics_move_once_to_the_mean_of_what_each_gamma_would_make_of_them(
    images: nn.Module, pictures: Tensor
) -> None:
    model = HyperNetwork(images, 2, correction=0.5)
    model(GAMMAS[1], pictures)  # away from their start
    alone = []
    for gamma in GAMMAS:
        one = copy.deepcopy(model)
        one(gamma, pictures)
        alone.append(one.primary[1])
    norm = model.primary[1]
    buffers = norm.running_mean, norm.running_var
    model(GAMMAS, pictures)
    assert norm.running_mean is buffers[0]
    torch.testing.assert_close(norm.running_mean, torch.stack([one.running_mean for one in alone]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([one.running_var for one in alone]).mean(0))
    assert norm.num_batches_tracked == 2


def test_cumulative_statistics_and_frozen_norms(images: nn.Module, pictures: Tensor) -> None:
    images[1].momentum = None
    model = HyperNetwork(without_dropout(images), 2)
    for _ in range(2):
        torch.testing.assert_close(model(GAMMAS, pictures), loop(copy.deepcopy(model), pictures))
    model.primary[1].eval()
    before = model.primary[1].running_var.clone()
    torch.testing.assert_close(model(GAMMAS, pictures), loop(model, pictures))
    assert torch.equal(model.primary[1].running_var, before)


def test_a_norm_can_be_the_network_itself(pictures: Tensor) -> None:
    model = HyperNetwork(nn.BatchNorm2d(3), 2)
    torch.testing.assert_close(model(GAMMAS, pictures), loop(copy.deepcopy(model), pictures))
    torch.testing.assert_close(model.primary.running_mean, 0.1 * pictures.mean((0, 2, 3)))


def test_evaluation_moves_nothing(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork(images, 2).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(GAMMAS, pictures)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_gamma_can_have_its_own_statistics(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork(images, 2)
    plain = model.materialize(GAMMAS[0])
    recalibrate(plain, [pictures])
    torch.testing.assert_close(plain[1].running_mean, plain[0](pictures).mean((0, 2, 3)))


class Counting(nn.Module):
    """Writes to a buffer that is no statistic."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("last", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.last.copy_((x * self.weight).detach())
        return x * self.weight


def test_other_writes_to_buffers_are_refused_for_several_gammas() -> None:
    model = HyperNetwork(Counting(), 2)
    model(GAMMAS[0], torch.ones(3))
    before = model.primary.last.clone()
    with pytest.raises(RuntimeError, match="vmap"):
        model(GAMMAS, torch.ones(3))
    assert torch.equal(model.primary.last, before)


def test_dropout_draws_different_or_the_same_masks() -> None:
    gammas = GAMMAS[:1].expand(3, 2)
    for randomness, equal in (("same", True), ("different", False)):
        model = HyperNetwork(nn.Sequential(nn.Linear(4, 50), nn.Dropout(0.5)), 2, randomness=randomness)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            out = model(gammas, torch.ones(1, 4))
        assert torch.equal(out[0], out[1]) is equal
        assert 0.3 < (out == 0).float().mean() < 0.7


# networks of others


@pytest.mark.parametrize("layer", ["evonorm-s0", "evonorm-b0", "bn-silu", "frn-tlu"])
def test_evolved_layers_equal_a_loop_with_their_gradients(layer: str, pictures: Tensor) -> None:
    def build(width: int) -> nn.Sequential:
        parts = [nn.Conv2d(3, width, 3), lower(CATALOGUE[layer], width, groups=4)]
        return nn.Sequential(*parts, nn.Conv2d(width, 2, 1)).double()

    model, pictures = HyperNetwork(build(8), 2, correction=0.3), pictures.double()
    looped = copy.deepcopy(model)
    out, expected = model(GAMMAS, pictures), loop(looped, pictures)
    torch.testing.assert_close(out, expected)
    grads, wanted = (
        torch.autograd.grad(o.square().sum(), list(m.parameters()), allow_unused=True)
        for o, m in ((out, model), (expected, looped))
    )
    assert {name for name, _ in model.heads.shapes.items()} >= {"0.weight", "1.weight", "1.bias"}
    for one, other in zip(grads, wanted, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(model.eval()(GAMMAS, pictures), loop(model, pictures))


@pytest.mark.parametrize("predict", ["1.bias", "1.weight", "1.v*"])
def test_parts_of_an_evolved_layer_can_be_predicted(predict: str, pictures: Tensor) -> None:
    layer = lower(CATALOGUE["gn-relu"], 8, groups=4)
    model = HyperNetwork(nn.Sequential(nn.Conv2d(3, 8, 3), layer).double(), 2, predict=predict, head_gain=1.0)
    looped, pictures = copy.deepcopy(model), pictures.double()
    out, expected = model(GAMMAS, pictures), loop(looped, pictures)
    torch.testing.assert_close(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    for one, other in zip(model.parameters(), looped.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_network_of_torchvision_with_evolved_layers_is_conditioned_by_its_norms() -> None:
    torchvision = pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    model = torchvision.models.squeezenet1_1(num_classes=7)
    conditioned = HyperNetwork(model, 2, predict="features.3.**.bias", hidden=(4,), correction=1.0).eval()
    x = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(conditioned(GAMMAS, x), loop(conditioned, x))

    resnet = torchvision.models.resnet18(num_classes=7)
    evolved = replace_norm_act(resnet, lambda s: lower(CATALOGUE["evonorm-s0"], s.num_features) if s.act else None)
    conditioned = HyperNetwork(evolved, 2, predict="**.*bn*.*", hidden=(4,), correction=0.3).eval()
    assert any(name.endswith("bn1.v1") for name in conditioned.heads.shapes)
    torch.testing.assert_close(conditioned(GAMMAS[:2], x), torch.stack([conditioned(g, x) for g in GAMMAS[:2]]))


def test_a_whole_network_of_timm_is_predicted() -> None:
    timm = pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    model = HyperNetwork(timm.create_model("test_resnet", pretrained=False, num_classes=5), 2, hidden=(4,))
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(GAMMAS[:2], x), torch.stack([copy.deepcopy(model)(g, x) for g in GAMMAS[:2]]))


# mistakes


@pytest.mark.parametrize(
    ("gamma", "in_dims", "named"),
    [
        (GAMMAS, 1, ["in_dims", "(1, 1)", "None, 0, or 2"]),
        (GAMMAS, (0,), ["in_dims", "(0,)", "None, 0, or 2"]),
        (GAMMAS, 0, ["input 0", "[5, 3]", "[4, ...]", "4 gammas"]),
        (GAMMAS, (None, 0), ["input 1", "float", "a tensor"]),
        (GAMMAS[0], 0, ["in_dims", "0 for a single gamma", "[n, d]"]),
    ],
)
def test_wrong_input_dimensions_are_named(gamma: Tensor, in_dims: object, named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        HyperNetwork(Scaled(), 2)(gamma, torch.randn(5, 3), 1.0, in_dims=in_dims)
    assert all(word in str(error.value) for word in named), error.value


def test_tensors_for_one_and_for_several_gammas_do_not_mix() -> None:
    model = HyperNetwork(nn.Linear(2, 2), 2)
    theta = {**model.predict(GAMMAS), "bias": model.predict(GAMMAS[0])["bias"]}
    with pytest.raises(InputError, match="several gammas beside others"):
        model.call_primary(theta, torch.ones(2))
