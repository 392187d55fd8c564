"""Oracles: all splits on a grid, errors worked out by running the model with masks by hand, names written out."""

import copy
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.sparsity import sparsify
from evonas.studies.sparsity.allocation import LEVELS, Curve, block_curves, blocks_of, greedy
from evonas.studies.sparsity.build import Builder
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.scores import SCORE_METHODS
from evonas.studies.sparsity.selection import Prefill
from evonas.studies.sparsity.sites import linear_sites

CONVEX = {
    "a": Curve((0.0, 0.5, 1.0), (0.0, 0.1, 1.0)),
    "b": Curve((0.0, 0.5, 1.0), (0.0, 0.3, 0.8)),
    "c": Curve((0.0, 0.5, 1.0), (0.0, 0.0, 4.0)),
}
SIZES = {"a": 10, "b": 20, "c": 10}


def mean(shares: dict[str, float], sizes: dict[str, int]) -> float:
    return sum(sizes[part] * share for part, share in shares.items()) / sum(sizes[part] for part in shares)


@pytest.mark.parametrize("target", [0.0, 0.1, 0.25, 0.5, 0.7, 0.95, 1.0])
def test_no_split_on_a_grid_has_a_smaller_error_for_the_same_mean(target: float) -> None:
    shares = greedy(CONVEX, SIZES, target)
    assert mean(shares, SIZES) == pytest.approx(target)
    assert all(0 <= share <= 1 + 1e-9 for share in shares.values())
    grid = [
        sum(CONVEX[part].at(share) for part, share in zip("abc", split, strict=True))
        for split in product(np.linspace(0, 1, 21), repeat=3)
        if mean(dict(zip("abc", split, strict=True)), SIZES) >= target - 1e-9
    ]
    assert sum(CONVEX[part].at(share) for part, share in shares.items()) <= min(grid) + 0.03


@pytest.mark.parametrize("target", [0.1, 0.3, 0.5])
def test_quadratic_errors_are_split_as_lagrange_multipliers_say_and_not_at_levels(target: float) -> None:
    """The sum of a_i s_i^2 is least where all a_i s_i are equal, for layers of one size."""
    factors = {"a": 1.0, "b": 2.5, "c": 4.0}
    curves = {part: Curve(LEVELS, tuple(factor * level**2 for level in LEVELS)) for part, factor in factors.items()}
    shares = greedy(curves, dict.fromkeys(factors, 1000), target)
    slope = 3 * target / sum(1 / factor for factor in factors.values())
    assert shares == pytest.approx({part: slope / factor for part, factor in factors.items()}, abs=0.025)
    assert curves["b"].at(0.33) == pytest.approx(2.5 * 0.33**2)


def test_no_part_goes_beyond_its_last_level_and_small_parts_are_clamped() -> None:
    curves = {"small": Curve((0.0, 0.9), (0.0, 0.0)), "large": Curve((0.0, 0.9), (0.0, 1.0))}
    shares = greedy(curves, {"small": 1, "large": 7}, 0.5)
    assert shares["small"] == pytest.approx(0.9)
    assert mean(shares, {"small": 1, "large": 7}) == pytest.approx(0.5)
    assert greedy(curves, {"small": 1, "large": 7}, 0.99) == pytest.approx({"small": 0.9, "large": 0.9})


def test_blocks_are_named_by_the_first_number(llama: nn.Module, mlp: nn.Module) -> None:
    kinds = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    found = {block: [site.kind for site in held] for block, held in blocks_of(linear_sites(llama)).items()}
    assert found == {"model.layers.0": kinds, "model.layers.1": kinds}
    assert list(blocks_of(linear_sites(mlp))) == [""]
    assert list(blocks_of(linear_sites(nn.ModuleDict({"fc": nn.Linear(2, 2)})))) == [""]


def builder(model: nn.Module, method: str = "teal") -> Builder:
    return Builder(SCORE_METHODS[method], linear_sites(model), {}, Prefill(), 0)


def test_errors_of_layers_are_those_of_the_blocks_output_with_the_rest_dense(llama: nn.Module, ids: Tensor) -> None:
    names = [site.name for site in linear_sites(llama)]
    curves = block_curves(llama, linear_sites(llama), builder(llama), [ids])
    assert [name for block in curves.values() for name in block] == names
    outputs: list[Tensor] = []
    name = "model.layers.1.mlp.up_proj"
    with torch.no_grad():
        handle = llama.model.layers[1].register_forward_hook(lambda _m, _i, y: outputs.append(y[:, -6:]))
        llama(ids)  # the first block is dense in both
        llama.get_submodule(name).register_forward_pre_hook(lambda _m, inputs: (half(inputs[0]),))
        llama(ids)
        handle.remove()
    dense, sparse = outputs
    expected = (sparse - dense).square().sum() / dense.square().sum()
    curve = curves["model.layers.1"][name]
    assert curve.errors[LEVELS.index(0.5)] == pytest.approx(expected.item(), rel=1e-4)
    assert curve.errors[0] == 0
    assert list(curve.errors) == sorted(curve.errors)


def half(x: Tensor) -> Tensor:
    median = x.abs().sort(dim=-1).values[..., x.shape[-1] // 2 - 1 : x.shape[-1] // 2]
    return torch.where(x.abs() > median, x, 0)


def test_the_model_is_as_before_and_every_run_of_a_block_counts_once(llama: nn.Module, ids: Tensor) -> None:
    modules, runs = dict(llama.named_modules()), [0]
    handle = llama.model.layers[0].register_forward_hook(lambda *_: runs.__setitem__(0, runs[0] + 1))
    block_curves(llama, linear_sites(llama), builder(llama), [ids, ids])
    handle.remove()
    assert dict(llama.named_modules()) == modules
    # a run of the model for each block and batch, and a run of this block for each of its seven layers and levels
    assert runs[0] == 2 * (2 + 1 + 7 * (len(LEVELS) - 1))


def test_a_layer_that_bears_no_loss_is_spared(llama: nn.Module, ids: Tensor) -> None:
    model = copy.deepcopy(llama)
    for name in ("gate_proj", "up_proj"):
        model.get_submodule(f"model.layers.0.mlp.{name}").weight.mul_(6.0)  # the MLP of block 0 is what matters there
    with sparsify(model, method="teal", allocation="greedy", calibration=[ids]) as report:
        model(ids)
        shares = {layer.name: layer.requested for layer in report.layers}
        assert report.settings.sparsity == pytest.approx(0.5)
        assert report.achieved == pytest.approx(0.5, abs=0.03)  # K is a whole number
        weights = {layer.name: layer.weights for layer in report.layers}
    means = [mean({n: s for n, s in shares.items() if f"layers.{block}." in n}, weights) for block in range(2)]
    assert means == pytest.approx([0.5, 0.5])
    assert shares["model.layers.0.mlp.up_proj"] < shares["model.layers.0.self_attn.q_proj"]


def test_a_split_that_was_measured_does_not_lose_to_the_same_for_all(llama: nn.Module, ids: Tensor) -> None:
    def loss(**options: object) -> float:
        with torch.no_grad():
            dense = llama(ids).logits.log_softmax(-1)
            with sparsify(llama, method="teal", **options):  # type: ignore[arg-type]
                sparse = llama(ids).logits.log_softmax(-1)
        return (dense.exp() * (dense - sparse)).sum(-1).mean().item()

    uniform = loss()
    assert loss(allocation="greedy", calibration=[ids]) < 1.02 * uniform


def test_numbered_layers_of_a_plain_network_are_one_block(mlp: nn.Module, g: torch.Generator) -> None:
    x = torch.randn(30, 12, generator=g)
    with sparsify(mlp, method="wina", sparsity=0.4, allocation="greedy", calibration=[x]) as report:
        assert report.settings.sparsity == pytest.approx(0.4)
        assert len({layer.requested for layer in report.layers}) > 1


def test_a_block_that_gives_infinities_is_named(mlp: nn.Module, g: torch.Generator) -> None:
    x = torch.randn(3, 12, generator=g)
    x[0, 0] = torch.inf
    with pytest.raises(InputError, match="Sequential: its output on the calibration batches is not finite"):
        sparsify(mlp, allocation="greedy", calibration=[x])
    assert not any(isinstance(layer, SparseLinear) for layer in mlp)
