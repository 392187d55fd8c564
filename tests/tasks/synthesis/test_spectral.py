"""Oracle: the singular values of the weights, by torch.linalg."""

import pytest
import torch
from torch import Tensor, nn

from evonas.tasks.synthesis.spectral import conv, embedding, iterate, linear

MAKERS = {
    "conv": (lambda: conv(3, 5, 3), torch.zeros(2, 3, 4, 4)),
    "linear": (lambda: linear(7, 4, bias=False), torch.zeros(2, 7)),
    "embedding": (lambda: embedding(6, 4), torch.zeros(2, dtype=torch.int64)),
}


def singular_values(weight: Tensor) -> Tensor:
    return torch.linalg.svdvals(weight.detach().flatten(1))


@pytest.mark.parametrize("kind", MAKERS)
def test_weights_start_orthogonal_and_biases_at_zero(kind: str) -> None:
    torch.manual_seed(0)
    module = MAKERS[kind][0]()
    values = singular_values(module.weight)
    torch.testing.assert_close(values, torch.ones_like(values), rtol=1e-4, atol=1e-4)
    if getattr(module, "bias", None) is not None:
        assert not module.bias.any()


@pytest.mark.parametrize("kind", MAKERS)
def test_spectral_norms_are_one_after_some_forward_passes_whatever_the_weights(kind: str) -> None:
    torch.manual_seed(0)
    make, x = MAKERS[kind]
    module = make()
    nn.init.normal_(module.parametrizations.weight.original, std=3.0)
    assert singular_values(module.eval().weight)[0] > 1.05  # the iteration has seen other weights
    module.train()
    for _ in range(60):
        module(x)
    assert singular_values(module.eval().weight)[0].item() == pytest.approx(1, abs=0.01)


def test_evaluation_takes_no_step_of_the_power_iteration_and_training_takes_one() -> None:
    torch.manual_seed(0)
    module = linear(5, 4)
    nn.init.normal_(module.parametrizations.weight.original)
    (vector,) = (b for name, b in module.named_buffers() if name.endswith("_u"))
    before = vector.clone()
    module.eval()(torch.zeros(1, 5))
    assert torch.equal(vector, before)
    module.train()(torch.zeros(1, 5))
    assert not torch.equal(vector, before)


def test_iterating_takes_the_step_in_evaluation_and_keeps_modes_and_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(linear(5, 4), nn.Dropout(), linear(4, 4)).eval()
    model[1].train()
    for place in (0, 2):
        nn.init.normal_(model[place].parametrizations.weight.original)
    weights = [model[place].parametrizations.weight.original.clone() for place in (0, 2)]
    modes = [module.training for module in model.modules()]
    for _ in range(60):
        iterate(model)
    assert [module.training for module in model.modules()] == modes
    for place, weight in zip((0, 2), weights, strict=True):
        assert torch.equal(model[place].parametrizations.weight.original, weight)
        assert singular_values(model[place].weight)[0].item() == pytest.approx(1, abs=1e-3)
