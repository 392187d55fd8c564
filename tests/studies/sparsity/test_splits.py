"""Splits that look at the sparse model: the Fisher split twice, and evolution.

Oracles: the divergence of the model's output, computed here; the share that is dropped on the calibration; the curves
of the dense model, from a model in whose sparse layers nothing is dropped.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from sparsity_models import make_llama, make_mlp
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.sparsity import SparsityReport, sparsify
from evonas.studies.sparsity import evolution, measuring
from evonas.studies.sparsity.build import Builder
from evonas.studies.sparsity.evolution import exchanged
from evonas.studies.sparsity.fisher import fisher_curves
from evonas.studies.sparsity.scores import method_named
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import linear_sites


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer candidates than in real use."""
    monkeypatch.setattr(evolution, "GENERATIONS", 4)
    monkeypatch.setattr(evolution, "OFFSPRING", 4)


def divergence(model: nn.Module, ids: Tensor, **how: Any) -> float:
    """Of the sparse model's output on the calibration, in nats."""
    with torch.no_grad():
        dense = model(ids).logits.log_softmax(-1)
        with sparsify(model, method="teal", sparsity=0.6, calibration=[ids], **how):
            sparse = model(ids).logits.log_softmax(-1)
    return float((dense.exp() * (dense - sparse)).sum(-1).mean())


def shares(report: SparsityReport) -> dict[str, float]:
    return {layer.name: layer.requested for layer in report.layers}


@pytest.mark.usefixtures("few")
def test_evolution_never_loses_to_the_split_that_it_begins_with(llama: nn.Module, ids: Tensor) -> None:
    begun = divergence(llama, ids, allocation="fisher")
    assert divergence(llama, ids, allocation="evolution") <= begun * (1 + 1e-6)


@pytest.mark.usefixtures("few")
def test_evolution_mends_a_split_that_is_bad(llama: nn.Module, ids: Tensor) -> None:
    """One block drops nearly all, the other one little."""
    sites = linear_sites(llama)
    build = Builder(method_named("teal"), sites, {}, Prefill(), 0)
    curves = fisher_curves(llama, sites, build, [ids])[""]
    start = {site: 0.9 if ".0." in site.name else 0.3 for site in sites}
    found = evolution.evolved(llama, sites, curves, start, build, [ids], seed=0)
    losses = []
    for shares in (start, found):
        with torch.no_grad():
            dense = llama(ids).logits.log_softmax(-1)
            with exchanged(llama, {site: build(site, share) for site, share in shares.items()}):
                sparse = llama(ids).logits.log_softmax(-1)
        losses.append(float((dense.exp() * (dense - sparse)).sum(-1).mean()))
    assert losses[1] < losses[0]
    weights = {site: site.inputs * site.outputs for site in sites}
    means = [sum(shares[site] * weights[site] for site in sites) for shares in (start, found)]
    assert means[0] == pytest.approx(means[1])


@pytest.mark.usefixtures("few")
def test_evolution_keeps_the_mean_and_the_model_and_depends_on_the_seed_alone(llama: nn.Module, ids: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in llama.state_dict().items()}

    def split(seed: int) -> Mapping[str, float]:
        with sparsify(llama, sparsity=0.6, calibration=[ids], allocation="evolution", seed=seed) as report:
            assert report.settings.sparsity == pytest.approx(0.6)
            assert report.settings.allocation == "evolution"
            return shares(report)

    assert split(0) == split(0)
    assert len({tuple(split(seed).values()) for seed in range(3)}) > 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in llama.state_dict().items())
    assert all(type(module) is nn.Linear for name, module in llama.named_modules() if name.endswith("_proj"))


@pytest.mark.usefixtures("few")
def test_evolution_of_a_network_without_logits_and_with_one_block_is_the_fisher_split() -> None:
    x = torch.randn(20, 12, generator=torch.Generator().manual_seed(0))
    found = []
    for allocation in ("fisher", "evolution"):
        with sparsify(make_mlp(), sparsity=0.5, calibration=[x], allocation=allocation) as report:
            found.append(shares(report))
    assert found[0] == found[1]


def test_curves_of_a_model_that_drops_nothing_are_those_of_the_dense_one(llama: nn.Module, ids: Tensor) -> None:
    sites = linear_sites(llama)
    build = Builder(method_named("wina"), sites, {}, Prefill(), 0)
    dense = fisher_curves(llama, sites, build, [ids])
    placed = {site: build(site, 0.0) for site in sites}
    with exchanged(llama, placed):
        found = fisher_curves(llama, sites, build, [ids], placed)
    for name, curve in dense[""].items():
        assert found[""][name].errors == pytest.approx(curve.errors, rel=1e-3, abs=1e-9)
    placed = {site: build(site, 0.8) for site in sites}
    with exchanged(llama, placed):
        sparse = fisher_curves(llama, sites, build, [ids], placed)
    assert any(sparse[""][name].errors != pytest.approx(curve.errors, rel=0.1) for name, curve in dense[""].items())


@pytest.mark.parametrize("selection", ["topk", "threshold"])
def test_the_second_time_thresholds_and_costs_are_those_of_the_sparse_model(selection: str, ids: Tensor) -> None:
    """Inputs of late layers change when earlier ones drop theirs, and with them what a threshold drops."""
    dropped, splits = {}, {}
    for allocation in ("fisher", "fisher-twice"):
        llama = make_llama(num_hidden_layers=4)
        report = sparsify(llama, sparsity=0.7, calibration=[ids], allocation=allocation, selection=selection)
        llama(ids)
        dropped[allocation], splits[allocation] = report.achieved or 0.0, shares(report)
        assert report.settings.sparsity == pytest.approx(0.7)
    assert splits["fisher"] != splits["fisher-twice"]
    off = {allocation: abs(share - 0.7) for allocation, share in dropped.items()}
    if selection == "threshold":
        assert off["fisher-twice"] < off["fisher"]
    else:
        assert max(off.values()) < 0.02


@pytest.mark.parametrize("allocation", ["fisher-twice", "evolution"])
def test_what_they_need_is_said(allocation: str, llama: nn.Module, ids: Tensor) -> None:
    with sparsify(llama, allocation="fisher", calibration=[ids]) as report:
        costs = report.costs
    with pytest.raises(InputError, match=f"no batches, and allocation {allocation} needs them"):
        sparsify(llama, allocation=allocation, costs=costs)
    with pytest.raises(InputError, match=f"method cats has no {allocation}; accepted: uniform, greedy"):
        sparsify(llama, method="cats", allocation=allocation, calibration=[ids])


@pytest.mark.usefixtures("few")
def test_a_study_searches_once_for_all_texts(
    saved: Path, tmp_path: Path, evonas: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = measuring.made_sparse

    def made(*arguments: Any, **named: Any) -> SparsityReport:
        asked.append(arguments[1].allocation if isinstance(arguments[2], float) else "known")
        return real(*arguments, **named)

    monkeypatch.setattr(measuring, "made_sparse", made)
    text = tmp_path / "mine.txt"
    text.write_text("The cat sees the dog, and the dog sees the old house. " * 9)
    status, out, err = evonas(
        *("sparsify", saved, "--run", tmp_path / "run", "--no-speed", "--method", "teal", "--sparsity", 0.5),
        *("--allocation", "evolution", "--allocation", "fisher-twice", "--text", "topics", "--text", text),
        *("--tokens", 48, "--calibration-tokens", 48, "--context", 24, "--json"),
    )
    assert status == 0, err
    assert sorted(asked) == ["evolution", "fisher", "fisher", "fisher-twice", "known", "known"]
    rows = json.loads(out)["rows"]
    assert [row["allocation"] for row in rows] == [None, "evolution", "fisher-twice"]
    assert all(row["achieved"] == pytest.approx(0.5, abs=0.03) for row in rows[1:])
