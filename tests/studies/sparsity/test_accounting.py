"""Oracles: multiply-accumulates of published models, as the papers print them, and sums written out by hand."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from sparsity_models import transformers
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.sparsity import sparsify
from evonas.studies.sparsity.accounting import LayerCost, decode_costs, total

# hidden, intermediate, layers, heads, key-value heads, vocabulary; 10^9 MACs dense and at 25, 40, 50 and 65 % as WINA
# prints them; and the change in percent once the rotations that it leaves out are counted: 2 d^2 a layer
PUBLISHED = {
    "Llama-2-7B": ((4096, 11008, 32, 32, 32, 32000), 6.61, (4.99, 4.02, 3.37, 2.40), (-8.3, -23.0, -32.8, -47.5)),
    "Llama-3-8B": ((4096, 14336, 32, 32, 8, 128256), 7.50, (5.76, 4.71, 4.01, 2.97), (-8.9, -22.9, -32.2, -46.1)),
    "Qwen2.5-7B": ((3584, 18944, 28, 28, 4, 152064), 7.07, (5.44, 4.46, 3.81, 2.83), (-12.9, -26.7, -36.0, -49.8)),
}


def weightless(hidden: int, intermediate: int, layers: int, heads: int, shared: int, vocabulary: int) -> Any:
    """A model of those shapes without numbers."""
    library = transformers()
    sizes = {"hidden_size": hidden, "intermediate_size": intermediate, "num_hidden_layers": layers}
    rest = {"num_attention_heads": heads, "num_key_value_heads": shared, "vocab_size": vocabulary}
    with torch.device("meta"):
        return library.LlamaForCausalLM(library.LlamaConfig(**sizes, **rest))


def by_kind(costs: Iterable[LayerCost]) -> dict[str, LayerCost]:
    kinds: dict[str, list[LayerCost]] = {}
    for cost in costs:
        kinds.setdefault(cost.kind, []).append(cost)
    return {kind: total(found) for kind, found in kinds.items()}


@pytest.mark.parametrize("name", PUBLISHED)
def test_multiply_accumulates_are_those_that_were_published(name: str) -> None:
    shapes, dense, at, changes = PUBLISHED[name]
    model = weightless(*shapes)
    for sparsity, macs, change in zip((0.25, 0.4, 0.5, 0.65), at, changes, strict=True):
        with sparsify(model, method="teal", sparsity=sparsity) as report:
            found = total(decode_costs(model, report))
        assert found.dense_macs / 1e9 == pytest.approx(dense, abs=0.0051)
        assert found.macs / 1e9 == pytest.approx(macs, abs=0.0151)  # printed figures are cut and rounded
        rotations = 2 * shapes[0] ** 2 * shapes[2]
        assert 100 * ((found.macs + rotations) / found.dense_macs - 1) == pytest.approx(change, abs=0.15)


def test_rotations_are_two_squares_a_block_and_keys_are_seen_apart(llama: nn.Module, ids: Tensor) -> None:
    with sparsify(llama, transform=True, allocation="uniform", calibration=[ids]) as report:
        kinds = by_kind(decode_costs(llama, report))
    assert kinds["rotation"].macs == 2 * 2 * 32**2
    assert kinds["rotation"].dense_macs == 0
    assert kinds["rotation"].sparsity is None
    assert (kinds["k_proj"].dense_macs, kinds["k_proj"].sparsity) == (2 * 16 * 32, 0.5)
    assert kinds["lm_head"].macs == kinds["lm_head"].dense_macs == 50 * 32
    assert list(kinds)[:2] == ["q_proj", "k_proj"]


def test_bytes_follow_the_type_of_the_weights_and_bound_the_speed(llama: nn.Module) -> None:
    llama.bfloat16()
    with sparsify(llama, method="teal") as report:
        found = total(decode_costs(llama, report))
    block = 32 * (32 + 16 + 16 + 32) + 3 * 32 * 48
    assert found.dense_bytes == 2 * (2 * block + 50 * 32)
    assert found.bytes == 2 * (block + 50 * 32)
    assert found.bound == pytest.approx((2 * block + 1600) / (block + 1600))


def test_attention_over_a_context_stays_dense(llama: nn.Module) -> None:
    cost = by_kind(decode_costs(llama, context=10))["attention"]
    assert cost.macs == cost.dense_macs == 2 * 2 * 32 * 10  # scores and values, two blocks, four heads of 8
    assert cost.bytes == 2 * 2 * 16 * 10 * 4  # keys and values of two heads
    with pytest.raises(InputError, match="context: 10, and Linear has no configuration"):
        decode_costs(nn.Linear(2, 2), context=10)


def test_as_run_only_kernels_save(llama: nn.Module) -> None:
    with sparsify(llama, sparse_when=lambda _inputs, outputs, _sparsity: outputs == 48) as report:
        kinds = by_kind(decode_costs(llama, report, as_run=True))
    assert {kind for kind, cost in kinds.items() if cost.sparsity} == {"gate_proj", "up_proj"}
    with sparsify(llama) as report:
        assert total(decode_costs(llama, report, as_run=True)).sparsity == 0
        assert total(decode_costs(llama, report)).sparsity > 0.4  # type: ignore[operator]


def test_a_low_rank_term_costs_its_two_factors_and_stays_in_the_budget(llama: nn.Module) -> None:
    with sparsify(llama, method="r-sparse") as report:
        kinds = by_kind(decode_costs(llama, report))
        blocks = [cost for kind, cost in kinds.items() if kind != "lm_head"]
        down = next(layer for layer in report.layers if layer.kind == "down_proj")
    assert down.rank == int(0.25 * 0.5 * 32 * 48 / (32 + 48))
    assert sum(cost.macs for cost in blocks) <= 0.5 * sum(cost.dense_macs for cost in blocks)
    assert sum(cost.macs for cost in blocks) > 0.4 * sum(cost.dense_macs for cost in blocks)


def test_cats_saves_rows_of_the_up_projection_too_but_not_as_it_runs(llama: nn.Module) -> None:
    with sparsify(llama, method="cats") as report:
        kinds = by_kind(decode_costs(llama, report))
        assert (kinds["up_proj"].sparsity, kinds["down_proj"].sparsity, kinds["gate_proj"].sparsity) == (0.5, 0.5, 0)
        assert by_kind(decode_costs(llama, report, as_run=True))["up_proj"].sparsity == 0


def test_achieved_counts_and_not_what_was_asked_for(llama: nn.Module, ids: Tensor) -> None:
    with sparsify(llama, method="teal", selection="threshold", allocation="uniform", calibration=[ids]) as report:
        with pytest.raises(InputError, match=r"q_proj: its threshold has not met an input yet"):
            decode_costs(llama, report)
        llama(ids)
        share = report.layers[-1].achieved
        assert share != 0.5
        down = next(cost for cost in decode_costs(llama, report) if cost.name == report.layers[-1].name)
        assert down.sparsity == pytest.approx(share)
