"""Oracles: names written out by hand, and quantiles counted on the very inputs of the calibration."""

import pytest
import torch
from sparsity_models import make_gpt2, make_phi3
from torch import Tensor, nn

from evonas.sparsity import sparsify
from evonas.studies.sparsity.calibration import normalized_groups, score_samples, threshold_at
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.sites import linear_sites


@pytest.mark.parametrize(
    ("make", "kinds"),
    [(make_phi3, [["qkv_proj"], ["gate_up_proj"]]), (make_gpt2, [["c_attn"], ["c_fc"]])],
)
def test_the_layers_behind_each_normalization_are_found(make: object, kinds: list[list[str]], ids: Tensor) -> None:
    model = make()  # type: ignore[operator]
    groups = normalized_groups(model, linear_sites(model), ids)
    assert [[site.kind for site in group.sites] for group in groups] == kinds * 2
    assert all(group.gain is not None and group.gain.shape == (32,) for group in groups)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


def test_a_normalization_without_gain_has_none(g: torch.Generator) -> None:
    net = nn.Sequential(nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 3))
    groups = normalized_groups(net, linear_sites(net), torch.randn(2, 6, generator=g))
    assert [(group.sites[0].name, group.gain) for group in groups] == [("1", None)]


def test_the_mode_of_the_model_is_kept_and_dropout_is_off(g: torch.Generator) -> None:
    net = nn.Sequential(nn.Dropout(0.9), nn.Linear(6, 3)).train()
    x = torch.randn(2, 6, generator=g)
    samples = score_samples(net, [(linear_sites(net)[0], torch.abs)], [x])
    assert torch.equal(samples["1"], x.abs().flatten().sort().values)
    assert all(part.training for part in net.modules())


@pytest.mark.parametrize("sparsity", [0.01, 0.25, 0.5, 0.9, 0.999])
def test_the_threshold_is_the_quantile(sparsity: float) -> None:
    samples = torch.arange(1.0, 1001.0)
    assert (samples <= threshold_at(samples, sparsity)).float().mean() == pytest.approx(sparsity)


def test_many_scores_are_sampled_and_their_quantiles_are_near(
    g: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evonas.studies.sparsity.calibration.SAMPLES", 4000)
    net = nn.Linear(50, 3)
    site = linear_sites(nn.Sequential(net))[0]
    batches = [torch.randn(400, 50, generator=g) for _ in range(2)]
    samples = score_samples(net, [(site, torch.abs)], batches)["0"]
    assert len(samples) == 4000
    everything = torch.cat(batches).abs()
    assert (everything <= threshold_at(samples, 0.5)).float().mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("method", ["teal", "wina", "r-sparse", "random"])
def test_on_the_calibration_text_thresholds_drop_what_was_asked_for(method: str, llama: nn.Module, ids: Tensor) -> None:
    """Of each layer alone: together, each changes what the next ones see."""
    for site in linear_sites(llama)[:7]:
        with sparsify(
            llama, method=method, selection="threshold", allocation="uniform", include=site.name, calibration=[ids]
        ) as report:
            llama(ids)
            wanted = 0.625 if method == "r-sparse" else 0.5  # a quarter of the budget goes to the low-rank term
            assert report.achieved == pytest.approx(wanted, abs=0.04 if method == "random" else 0.002)


def test_layers_that_share_an_input_share_threshold_and_selector(llama: nn.Module, ids: Tensor) -> None:
    with sparsify(llama, method="teal", selection="threshold", allocation="uniform", calibration=[ids]):
        attention = llama.model.layers[1].self_attn
        assert isinstance(attention.q_proj, SparseLinear)
        assert attention.q_proj.selector is attention.k_proj.selector is attention.v_proj.selector
        assert attention.q_proj.selector is not attention.o_proj.selector
