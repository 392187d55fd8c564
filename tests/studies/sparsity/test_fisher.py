"""Oracles: the divergence and the squared error of outputs, measured with one layer sparse; the expectation over all
tokens, summed by hand; the model before and after.
"""

import pytest
import torch
from sparsity_models import make_llama, seeded
from torch import Tensor, nn
from torch.nn import functional

from evonas.errors import InputError
from evonas.sparsity import sparsify
from evonas.studies.sparsity.allocation import LEVELS
from evonas.studies.sparsity.build import Builder
from evonas.studies.sparsity.fisher import fisher_curves
from evonas.studies.sparsity.scores import SCORE_METHODS
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import linear_sites

DRAWS = 64


def builder(model: nn.Module) -> Builder:
    return Builder(SCORE_METHODS["teal"], linear_sites(model), {}, Prefill(), 0)


def test_the_error_of_a_last_layer_is_half_the_squared_error_of_the_output(mlp: nn.Module, g: torch.Generator) -> None:
    x = torch.randn(40, 12, generator=g)
    curves = fisher_curves(mlp, linear_sites(mlp), builder(mlp), [x] * DRAWS)
    with sparsify(mlp, method="teal", sparsity={"4": 0.5}):
        sparse = mlp(x)
    expected = (sparse - mlp(x)).square().sum(-1).mean() / 2
    curve = curves[""]["4"]
    assert curve.errors[LEVELS.index(0.5)] == pytest.approx(expected.item(), rel=0.1)
    assert curve.errors[0] == 0
    assert set(curves[""]) == {"0", "2", "4"}


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj", "model.layers.0.self_attn.q_proj"])
def test_the_error_of_a_language_model_is_the_divergence_from_its_distribution(name: str, ids: Tensor) -> None:
    llama = make_llama()
    llama.get_submodule("lm_head").weight.mul_(0.3)  # small changes: the second order is all there is
    curves = fisher_curves(llama, linear_sites(llama), builder(llama), [ids] * DRAWS)
    dense = llama(ids).logits.log_softmax(-1)
    with sparsify(llama, method="teal", sparsity={name: 0.4}):
        sparse = llama(ids).logits.log_softmax(-1)
    divergence = functional.kl_div(sparse, dense, reduction="none", log_target=True).sum(-1).mean()
    assert curves[""][name].errors[LEVELS.index(0.4)] == pytest.approx(divergence.item(), rel=0.3)


def test_draws_are_those_of_the_models_distribution() -> None:
    """A model that is one layer: the gradient for token t is softmax - onehot(t), whose expectation is summed here."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(8, 6, bias=False)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.head(x)}

    model = seeded(Model)
    x = torch.randn(1, 30, 8, generator=torch.Generator().manual_seed(3))
    curves = fisher_curves(model, linear_sites(model, exclude=()), builder(model), [x] * DRAWS)
    with torch.no_grad():
        p = model(x)["logits"].softmax(-1)
        kept = x.abs() >= x.abs().sort(dim=-1, descending=True).values[..., 3:4]  # 4 of 8
        change = functional.linear(torch.where(kept, 0.0, -x), model.get_submodule("head").weight)
        gradients = p[..., None, :] - torch.eye(6)  # [1, 30, t, 6]
        slopes = (gradients * change[..., None, :]).sum(-1)
        expected = (p * slopes.square()).sum(-1).mean() / 2
    assert curves[""]["head"].errors[LEVELS.index(0.5)] == pytest.approx(expected.item(), rel=0.1)


def test_the_model_is_left_as_it_was(llama: nn.Module, ids: Tensor) -> None:
    llama.train()
    parameter = llama.get_parameter("model.layers.0.mlp.up_proj.weight").requires_grad_(True)
    modules, modes = dict(llama.named_modules()), [part.training for part in llama.modules()]
    state = torch.random.get_rng_state()
    first = fisher_curves(llama, linear_sites(llama), builder(llama), [ids])
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert fisher_curves(llama, linear_sites(llama), builder(llama), [ids]) == first
    assert torch.equal(torch.random.get_rng_state(), state)
    assert dict(llama.named_modules()) == modules
    assert [part.training for part in llama.modules()] == modes
    assert parameter.grad is None
    assert not any(part._forward_hooks for part in llama.modules())


def test_a_layer_that_matters_more_is_spared_whatever_its_block(llama: nn.Module, ids: Tensor) -> None:
    for name in ("gate_proj", "up_proj"):
        llama.get_submodule(f"model.layers.0.mlp.{name}").weight.mul_(6.0)
    with sparsify(llama, method="teal", allocation="fisher", calibration=[ids]) as report:
        shares = {layer.name: layer.requested for layer in report.layers}
        assert report.settings.sparsity == pytest.approx(0.5)
    assert shares["model.layers.0.mlp.up_proj"] < shares["model.layers.1.mlp.up_proj"]
    assert report.costs is not None
    with sparsify(llama, method="teal", allocation="fisher", costs=report.costs) as again:
        assert {layer.name: layer.requested for layer in again.layers} == shares


def test_convolutions_have_errors_at_every_pixel(g: torch.Generator) -> None:
    net = seeded(lambda: nn.Sequential(nn.Conv2d(6, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)))
    x = torch.randn(2, 6, 5, 5, generator=g)
    curves = fisher_curves(net, linear_sites(net), builder(net), [x] * DRAWS)
    with sparsify(net, method="teal", sparsity={"2": 0.5}):
        sparse = net(x)
    expected = (sparse - net(x)).square().sum() / 2
    positions = x[:, 0].numel() * 4 / 5  # the output's without its last axis
    assert curves[""]["2"].errors[LEVELS.index(0.5)] == pytest.approx(expected.item() / positions, rel=0.15)


def test_a_layer_without_influence_is_named() -> None:
    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(12, 4), nn.Linear(12, 4)

        def forward(self, x: Tensor) -> Tensor:
            self.unused(x)
            out: Tensor = self.used(x)
            return out

    model = seeded(Cut)
    with pytest.raises(InputError, match="unused: does not reach the model's output"):
        fisher_curves(model, linear_sites(model), builder(model), [torch.ones(3, 12)])
