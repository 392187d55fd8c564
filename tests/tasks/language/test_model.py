"""Oracles: the whole forward pass written out with torch's functions, scipy's truncated normal, counts by hand."""

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from evonas.errors import InputError
from evonas.tasks.language.model import TRUNCATED_STD, Transformer, build_transformer
from evonas.tasks.language.settings import LADDER, ModelConfig, sized

TINY = {"vocabulary": 11, "width": 12, "depth": 2, "head_size": 4, "context": 10}


def tokens(rows: int = 3, length: int = 10) -> Tensor:
    return torch.randint(11, (rows, length), generator=torch.Generator().manual_seed(0))


def by_hand(model: Transformer, ids: Tensor, norm_eps: float) -> Tensor:
    """GPT with pre-norm and rotary positions, by its weights."""
    weights = dict(model.named_parameters())

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], None, norm_eps)

    x = F.embedding(ids, weights["embedding.weight"])
    for number in range(2):
        at = f"blocks.{number}"
        normed = norm(x, f"{at}.attention_norm")
        q, k, v = (
            F.linear(normed, weights[f"{at}.attention.{name}.weight"]).view(*ids.shape, 3, 4).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        rotary = model.blocks[number].attention.rotary
        q, k = rotary(norm(q, f"{at}.attention.query_norm")), rotary(norm(k, f"{at}.attention.key_norm"))
        mask = torch.full((ids.shape[1], ids.shape[1]), -torch.inf).triu(1)
        attended = (q @ k.mT / 4**0.5 + mask).softmax(-1) @ v
        x = x + F.linear(attended.transpose(1, 2).reshape(*ids.shape, 12), weights[f"{at}.attention.out.weight"])
        inner = F.gelu(F.linear(norm(x, f"{at}.mlp_norm"), weights[f"{at}.mlp.up.weight"]))
        x = x + F.linear(inner, weights[f"{at}.mlp.down.weight"])
    return F.linear(norm(x, "norm"), weights["head.weight"])


def test_the_model_is_the_one_of_the_paper() -> None:
    model = build_transformer(ModelConfig(**TINY), seed=1)
    torch.testing.assert_close(model(tokens()), by_hand(model, tokens(), 1e-6), rtol=1e-4, atol=1e-5)
    assert not any("bias" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("settings", [{}, {"attention_softcap": 5.0}, {"qk_layernorm": False, "norm": "rmsnorm"}])
def test_no_position_sees_a_later_one(settings: dict) -> None:
    model = build_transformer(ModelConfig(**TINY, **settings), seed=1)
    ids = tokens()
    changed = ids.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 11
    before, after = model(ids), model(changed)
    torch.testing.assert_close(after[:, :6], before[:, :6])
    assert (after[:, 6:] - before[:, 6:]).abs().amin(-1).amax() > 1e-3


def test_depth_0_is_a_bigram_model() -> None:
    model = build_transformer(ModelConfig(**TINY | {"depth": 0}), seed=1)
    assert torch.equal(model(torch.tensor([[1, 2, 3]]))[0, 2], model(torch.tensor([[7, 7, 3]]))[0, 2])
    assert model.size == 12


@pytest.mark.parametrize("size", LADDER)
def test_parameters_are_counted_without_embedding_and_head(size: str) -> None:
    config = sized(size)
    with torch.device("meta"):
        model = Transformer(config)
    width, depth = config.width, config.depth
    linear, norms, qk_norms = 12 * depth * width**2, (2 * depth + 1) * width, 2 * depth * 16
    assert model.size == linear + norms + qk_norms
    assert sum(p.numel() for p in model.parameters()) == model.size + 2 * 256 * width


def test_weights_have_the_standard_deviations_of_the_paper() -> None:
    assert pytest.approx(stats.truncnorm(-2, 2).std(), rel=1e-12) == TRUNCATED_STD
    model = build_transformer(ModelConfig(width=128, depth=1), seed=1)
    assert model.embedding.weight.std().item() == pytest.approx(128**-0.5, rel=0.03)
    assert model.embedding.weight.abs().max() > 3.5 * 128**-0.5  # not cut
    for name, weight in model.linear_weights().items():
        std = weight.shape[1] ** -0.5
        assert weight.std().item() == pytest.approx(std, rel=0.03), name
        assert 1.9 * std / TRUNCATED_STD < weight.abs().max() <= 2 * std / TRUNCATED_STD, name
    gains = [p for name, p in model.named_parameters() if "norm" in name]
    assert len(gains) == 5
    assert all((p == 1).all() for p in gains)


@pytest.mark.parametrize("level", ["simple", "intermediate", "full"])
def test_mu_param_changes_head_and_queries(level: str) -> None:
    plain = build_transformer(ModelConfig(width=192, depth=1), seed=1)
    model = build_transformer(ModelConfig(width=192, depth=1, mu_param=level, base_width=48), seed=1)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, plain.get_parameter(name))}
    query = "blocks.0.attention.query.weight"
    expected = {"simple": set(), "intermediate": {"head.weight"}, "full": {"head.weight", query}}
    assert changed == expected[level]
    if level != "simple":
        assert model.head.weight.std().item() == pytest.approx(48**0.5 / 192, rel=0.03)
    assert model.get_parameter(query).count_nonzero() == (0 if level == "full" else 192**2)


def test_models_share_the_weights_that_they_both_have() -> None:
    one = build_transformer(ModelConfig(**TINY), seed=1)
    other = build_transformer(ModelConfig(**TINY | {"depth": 3, "qk_layernorm": False}), seed=1)
    shared = dict(other.named_parameters())
    same = [name for name, p in one.named_parameters() if name in shared and torch.equal(p, shared[name])]
    assert len(same) == len(list(one.named_parameters())) - 4  # all but the qk gains
    assert not torch.equal(build_transformer(ModelConfig(**TINY), seed=2).head.weight, one.head.weight)


def test_building_leaves_the_generator_of_torch_alone() -> None:
    state = torch.get_rng_state()
    models = [
        build_transformer(ModelConfig(**TINY, norm="noisy"), seed=1, make_norm=lambda n: nn.Linear(n, n))
        for _ in range(2)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(*(m.parameters() for m in models), strict=True))


def test_every_norm_is_made_by_the_factory() -> None:
    widths = []

    def make(width: int) -> nn.Module:
        widths.append(width)
        return nn.Hardtanh()

    model = build_transformer(ModelConfig(**TINY, norm="hardtanh"), seed=1, make_norm=make)
    assert widths == [12] * 5
    sites = ["blocks.0.attention_norm", "blocks.0.mlp_norm", "blocks.1.attention_norm", "blocks.1.mlp_norm", "norm"]
    assert [name for name, part in model.named_modules() if isinstance(part, nn.Hardtanh)] == sites
    seen = []
    model.norm.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape))
    assert model(tokens()).shape == (3, 10, 11)
    assert seen == [(3, 10, 12)]
    assert not set(model.linear_weights()) & {name for name, _ in model.norm.named_parameters()}


def test_rmsnorm_goes_by_name() -> None:
    model = Transformer(ModelConfig(**TINY, norm="rmsnorm", norm_eps=1e-3))
    norms = [part for part in model.modules() if isinstance(part, nn.RMSNorm)]
    assert len(norms) == 5
    assert {norm.eps for norm in norms} == {1e-3}


def test_output_logits_stay_below_their_softcap() -> None:
    model = build_transformer(ModelConfig(**TINY, output_softcap=0.5), seed=1)
    plain = build_transformer(ModelConfig(**TINY), seed=1)
    assert model(tokens()).abs().max() < 0.5
    torch.testing.assert_close(model(tokens()), 0.5 * torch.tanh(plain(tokens()) / 0.5))


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match=r"model\.norm: 'batchnorm'; accepted: layernorm, rmsnorm; or give make_norm"):
        Transformer(ModelConfig(norm="batchnorm"))
    with pytest.raises(InputError, match=r"model\.norm: 'layernorm', and a layer in its place"):
        Transformer(ModelConfig(), lambda _: nn.Identity())
    with pytest.raises(InputError, match=r"tokens: 11 positions; accepted: up to 10"):
        Transformer(ModelConfig(**TINY))(tokens(1, 11))
