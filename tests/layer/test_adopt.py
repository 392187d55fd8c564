"""Oracle: the trained batch norm itself, followed by torch's activation."""

import pytest
import torch
from torch import nn

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.adopt import adopt_batch_norm
from evonas.layer.lower import lower


def trained(features: int = 6) -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(features, eps=1e-3)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        tensor.uniform_(0.5, 3.0)
    return norm.eval()


@pytest.mark.parametrize(("name", "act"), [("bn-relu", nn.ReLU()), ("bn-relu6", nn.ReLU6()), ("bn-silu", nn.SiLU())])
def test_the_layer_computes_what_the_trained_norm_does(name: str, act: nn.Module) -> None:
    norm, x = trained(), 5 * torch.randn(4, 6, 3, 3, generator=torch.Generator().manual_seed(1))
    layer = adopt_batch_norm(lower(CATALOGUE[name], 6, eps=1e-3), norm).eval()
    torch.testing.assert_close(layer(x), act(norm(x)), rtol=1e-5, atol=1e-5)
    norm.weight.data.zero_()
    assert layer.v1.detach().abs().min() > 0.1  # a copy


@pytest.mark.parametrize(
    ("layer", "norm", "words"),
    [
        ("evonorm-b0", trained(), "normalizes over the batch"),
        ("gn-relu", trained(), "normalizes over the batch"),
        ("bn-relu", trained(5), "5 features.*6 features"),
        ("bn-relu", nn.BatchNorm2d(6, affine=False), "no affine"),
    ],
)
def test_what_does_not_fit_is_refused(layer: str, norm: nn.BatchNorm2d, words: str) -> None:
    with pytest.raises(InputError, match=words):
        adopt_batch_norm(lower(CATALOGUE[layer], 6), norm)
