"""Weights of 8 bits.

Oracles: products with the rounded matrices in float32; the bound that rounding to 255 steps sets; bytes by hand.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sparsity_models import make_gpt2, make_llama
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.sparsity import sparsify
from evonas.studies.sparsity.accounting import decode_costs, total
from evonas.studies.sparsity.int8 import Int8Linear, weights_to_int8
from evonas.studies.sparsity.kernels import Int8Columns
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.sites import site_at
from evonas.studies.sparsity.speed_table import measure_speeds
from studies import assert_one_line


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("threads", [1, 3])
def test_gathered_columns_are_those_of_the_rounded_matrix(threads: int) -> None:
    columns, before = drawn(40, 17), torch.get_num_threads()
    product = Int8Columns(columns)
    rounded = product.unpacked()
    step = (columns.amax(1) - columns.amin(1)) / 255
    assert ((rounded - columns).abs() <= 0.51 * step[:, None]).all()
    assert product.packed.dtype is torch.uint8
    torch.set_num_threads(threads)
    try:
        for count in (0, 1, 2, 25, 40):
            indices = torch.randperm(40, generator=torch.Generator().manual_seed(count))[:count]
            values = drawn(count, seed=7)
            torch.testing.assert_close(product(indices, values), values @ rounded[indices], rtol=1e-4, atol=1e-4)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("bias", [True, False])
def test_a_dense_layer_is_that_of_the_rounded_matrix(bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(32, 24, bias=bias)
    found = Int8Linear(site_at("", layer))
    rounded = found.weight.float() * found.scales[:, None]
    assert ((rounded - layer.weight).abs() <= 0.51 * layer.weight.abs().amax(1, keepdim=True) / 127).all()
    for shape in ((32,), (1, 1, 32), (2, 5, 32)):
        x = drawn(*shape, seed=3)
        wanted = x @ rounded.T + (layer.bias if bias else 0.0)
        torch.testing.assert_close(found(x), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", [make_llama, make_gpt2])
def test_a_rounded_model_says_nearly_the_same_and_its_kernel_the_same_as_its_mask(
    make: Callable[[], nn.Module], ids: Tensor
) -> None:
    model = make()
    plain = model(ids).logits
    weights_to_int8(model)
    assert sum(isinstance(part, Int8Linear) for part in model.modules()) > 4
    assert not any(type(part) is nn.Linear for part in model.modules())
    assert (model(ids).logits - plain).abs().mean() < 0.05 * plain.abs().mean()
    outputs = []
    for pays in (None, lambda *_: True):
        model = make()
        sparsify(model, method="teal", sparsity=0.5, sparse_when=pays)
        before = model(ids[:1, :1]).logits
        weights_to_int8(model)
        outputs.append(model(ids[:1, :1]).logits)
        assert not torch.equal(outputs[-1], before)
        assert (outputs[-1] - before).abs().mean() < 0.1 * before.abs().mean()
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-3, atol=1e-3)


def test_bytes_to_read_are_one_a_weight(llama: nn.Module) -> None:
    weights_to_int8(llama)
    dense = total(decode_costs(llama))
    linear = sum(part.weight.numel() for part in llama.modules() if isinstance(part, Int8Linear))
    assert (dense.dense_bytes, dense.bytes) == (linear, linear)
    other = make_llama()
    report = sparsify(other, method="teal", sparsity=0.5, sparse_when=lambda *_: True)
    weights_to_int8(other)
    sparse = total(decode_costs(other, report, as_run=True))
    head = other.get_submodule("lm_head").get_buffer("weight").numel()
    assert sparse.dense_bytes == linear
    assert sparse.bytes == head + (linear - head) / 2
    assert all(part.int8 is not None for part in other.modules() if isinstance(part, SparseLinear))


def test_the_table_of_sizes_has_one_for_rounded_layers(tmp_path: Path) -> None:
    plain = measure_speeds([(16, 24)], folder=tmp_path, cold=1)
    rounded = measure_speeds([(16, 24)], folder=tmp_path, cold=1, int8=True)
    assert (plain.machine["dtype"], rounded.machine["dtype"]) == ("float32", "int8")
    assert len(list(tmp_path.glob("sparse-*.json"))) == 2
    assert all(ratio > 0 for ratio in rounded.ratios[16, 24])


def test_other_types_are_refused() -> None:
    with pytest.raises(InputError, match=r"int8, .*: bfloat16 on cpu; accepted: float32 on cpu"):
        weights_to_int8(make_llama().bfloat16())


def test_a_study_of_rounded_weights(saved: Path, tmp_path: Path, evonas: Callable[..., Any]) -> None:
    small = ("--tokens", 48, "--calibration-tokens", 48, "--context", 24, "--no-speed", "--method", "teal")
    found = {}
    for name, options in (("plain", ()), ("rounded", ("--int8",))):
        status, out, err = evonas(
            "sparsify", saved, "--run", tmp_path / name, "--sparsity", 0.5, *small, *options, "--json"
        )
        assert status == 0, err
        found[name] = json.loads(out)
    assert "weights rounded to 8 bits" in found["rounded"]["settings"]["model"]
    for plain, rounded in zip(found["plain"]["rows"], found["rounded"]["rows"], strict=True):
        (one,), (two,) = plain["texts"].values(), rounded["texts"].values()
        assert one["perplexity"] != two["perplexity"]
        assert one["perplexity"] == pytest.approx(two["perplexity"], rel=0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--compile",), ("int8: together with compiled", "eager")),
        (("--dtype", "bfloat16"), ("int8: together with dtype bfloat16",)),
        (("--sparsity", 0.5, "--save", "out"), ("int8: of a model to be saved",)),
    ],
)
def test_what_does_not_go_with_rounded_weights(
    options: tuple[object, ...], words: tuple[str, ...], saved: Path, tmp_path: Path, evonas: Callable[..., Any]
) -> None:
    run = () if "--save" in options else ("--run", tmp_path / "run")
    assert_one_line(evonas("sparsify", saved, "--int8", *run, *options), words)
    assert list(tmp_path.iterdir()) == []
