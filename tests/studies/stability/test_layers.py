"""Oracles: torch's LayerNorm, and the promise that no token sees later ones."""

import pytest
import torch
from torch import nn

from evonas.studies.stability.layers import norm_of
from evonas.tasks.language.model import build_transformer
from evonas.tasks.language.settings import ModelConfig

TOKENS = torch.randint(7, (2, 9), generator=torch.Generator().manual_seed(0))
X = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(1))


def test_the_catalogues_layernorm_is_torchs() -> None:
    torch.testing.assert_close(norm_of("layernorm", 4, 1e-6)(8)(X), nn.LayerNorm(8, eps=1e-6)(X))


@pytest.mark.parametrize(
    "layer", ["rmsnorm", "dyt", "derf", "a = std[gd](x); b = sigmoid(x); c = mul(x, b); div(c, a)"]
)
def test_a_model_with_a_layer_at_its_norms_sees_no_later_token(layer: str) -> None:
    config = ModelConfig(vocabulary=7, width=8, depth=2, head_size=4, context=9, norm="mine")
    model = build_transformer(config, 1, norm_of(layer, 4, 1e-6)).eval()
    changed = TOKENS.clone()
    changed[:, 5:] = (changed[:, 5:] + 1) % 7
    torch.testing.assert_close(model(TOKENS)[:, :5], model(changed)[:, :5])
    assert not torch.equal(model(TOKENS)[:, 5:], model(changed)[:, 5:])
