"""Oracles: the products written out by hand; exact choices by trying all of them; the model before and after."""

from itertools import combinations

import pytest
import torch
from torch import nn

from evonas.training.topk import column_norms, inner_linear_layers, kept_count, largest, sparse_inputs


@pytest.fixture
def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5, bias=False), nn.Linear(5, 3)).eval()


@pytest.mark.parametrize(
    ("inputs", "sparsity", "keep"),
    [(10, 0.9, 1), (10, 0.5, 5), (7, 0.5, 3), (576, 0.65, 201), (1536, 0.25, 1152), (8, 0.99, 1), (8, 0.0, 8)],
)
def test_k_is_the_floor_of_what_remains_and_at_least_one(inputs: int, sparsity: float, keep: int) -> None:
    assert kept_count(inputs, sparsity) == keep


def test_masks_have_the_largest() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0], [5.0, 4.0, 6.0]])
    assert largest(scores, 2).tolist() == [[False, True, True], [True, False, True]]


def test_layers_see_the_inputs_with_the_largest_product_of_magnitude_and_column_norm(model: nn.Module) -> None:
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(1))
    layers = inner_linear_layers(model)
    assert layers == [model[0], model[2]]
    model.requires_grad_(False)
    with sparse_inputs(layers, 0.5):
        found = model(x)
    for token in range(8):
        h = x.flatten(0, 1)[token]
        for layer in layers:
            scores = [abs(float(h[i])) * float(layer.weight[:, i].square().sum().sqrt()) for i in range(len(h))]
            kept = sorted(range(len(h)), key=lambda i: -scores[i])[: len(h) // 2]
            h = layer.weight[:, kept] @ h[kept] + (layer.bias if layer.bias is not None else 0)
            h = h.tanh() if layer is model[0] else h
        assert found.flatten(0, 1)[token].tolist() == pytest.approx(model[3](h).tolist(), abs=1e-5)
    assert torch.equal(column_norms(layers[0].weight), layers[0].weight.norm(dim=0))


def test_with_orthogonal_columns_no_other_choice_is_better() -> None:
    basis = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2))).Q
    layer = nn.Linear(6, 6, bias=False)
    layer.weight.data = basis * torch.tensor([5.0, 0.1, 1.0, 3.0, 0.5, 2.0])
    x = torch.randn(6, generator=torch.Generator().manual_seed(3))
    with sparse_inputs([layer], 0.5), torch.no_grad():
        error = float((layer(x) - layer.weight @ x).norm())
    choices = (torch.zeros(6).index_fill(0, torch.tensor(kept), 1) for kept in combinations(range(6), 3))
    best = min(float((layer.weight @ (mask * x - x)).norm().detach()) for mask in choices)
    assert error == pytest.approx(best, abs=1e-6)


def test_nothing_stays_behind(model: nn.Module) -> None:
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    before = model(x)
    with sparse_inputs(inner_linear_layers(model), 0.9):
        assert not torch.equal(model(x), before)
    with pytest.raises(RuntimeError), sparse_inputs(inner_linear_layers(model), 0.9):
        raise RuntimeError
    assert torch.equal(model(x), before)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_head_alone_is_no_inner_layer() -> None:
    assert inner_linear_layers(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))) == []


def test_of_a_convolution_of_1x1_every_pixel_is_a_token() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        convolution, head, other = nn.Conv2d(6, 4, 1, stride=2), nn.Linear(4, 2), nn.Conv2d(6, 6, 1, groups=2)
    assert inner_linear_layers(nn.Sequential(other, convolution, head)) == [convolution]
    x = torch.randn(2, 6, 5, 3, generator=torch.Generator().manual_seed(1))
    dense = nn.Linear(6, 4)
    dense.load_state_dict({"weight": convolution.weight.flatten(1), "bias": convolution.bias})
    with sparse_inputs([convolution, dense], 0.5), torch.no_grad():
        found, pixels = convolution(x), dense(x[..., ::2, ::2].movedim(1, -1))
    assert torch.allclose(found, pixels.movedim(-1, 1), atol=1e-6)
