"""Oracles: dense linear algebra on small matrices and Jacobians, and matrices whose spectra are known."""

import math

import pytest
import torch
from torch import Tensor, nn

from evonas.studies.stability.settings import OptimizerConfig, TrainingRunConfig
from evonas.studies.stability.spectral import alignments, leading, qk_spectral_entropy, stable_rank
from evonas.studies.stability.study import condensed
from evonas.studies.stability.train import train_transformer
from evonas.tasks.language.model import build_transformer
from evonas.tasks.language.settings import ModelConfig
from evonas.tasks.language.text import Text

CONFIG = ModelConfig(vocabulary=5, width=8, depth=3, head_size=4, context=6)


def orthogonal(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed))).Q


def test_the_stable_rank_counts_equal_directions() -> None:
    weight = orthogonal(6, 1)[:, :4] @ torch.diag(torch.tensor([3.0, 3.0, 3.0, 0.0])) @ orthogonal(4, 2)
    assert float(stable_rank(weight)) == pytest.approx(3, rel=1e-5)
    assert float(stable_rank(torch.outer(torch.arange(1.0, 4), torch.ones(5)))) == pytest.approx(1, rel=1e-5)


def test_the_stable_rank_of_a_large_matrix_is_near_the_exact_one() -> None:
    weight = torch.randn(400, 300, generator=torch.Generator().manual_seed(9)) + 0.2
    values = torch.linalg.svdvals(weight)
    assert float(stable_rank(weight)) == pytest.approx(float(values.square().sum() / values[0] ** 2), rel=0.01)


def test_entropies_are_those_of_the_product_of_each_head() -> None:
    query, key = (torch.randn(8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4))
    found = qk_spectral_entropy(query, key, 2)
    for head, value in enumerate(found.tolist()):
        rows = slice(4 * head, 4 * head + 4)
        energy = torch.linalg.svdvals(query[rows].mT @ key[rows]).square()[:4]
        share = energy / energy.sum()
        assert value == pytest.approx(float(-(share * share.log()).sum()) / math.log(4), rel=1e-4)
    flat = orthogonal(4, 5).repeat(2, 2)[:, :4]
    assert qk_spectral_entropy(flat, flat, 2).tolist() == pytest.approx([1, 1], abs=1e-4)


def test_the_leading_directions_are_those_of_the_whole_jacobian() -> None:
    block = build_transformer(CONFIG, seed=1).blocks[1]
    x = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(6))
    jacobian = torch.autograd.functional.jacobian(lambda z: block(z) - z, x).view(x.numel(), x.numel())
    u, s, vh = torch.linalg.svd(jacobian.detach())
    found = leading(lambda z: block(z) - z, x)
    assert float(found.value) == pytest.approx(float(s[0]), rel=0.03)
    assert abs(float(found.into.flatten() @ u[:, 0])) > 0.9
    assert abs(float(found.of.flatten() @ vh[0])) > 0.9


class Adds(nn.Module):
    """Adds what a matrix makes of it."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, x: Tensor) -> Tensor:
        return x + x @ self.matrix.mT


def test_blocks_that_amplify_the_same_direction_are_aligned_and_others_are_not() -> None:
    basis = orthogonal(8, 7)
    along = [torch.outer(basis[:, 0], basis[:, place]) * 5 for place in (0, 0, 1)]
    x = torch.randn(1, 1, 8, generator=torch.Generator().manual_seed(8))
    values, between = alignments([Adds(matrix) for matrix in along], [x, x, x])
    assert [float(value) for value in values] == pytest.approx([5, 5, 5], rel=1e-4)
    assert [float(value) for value in between] == pytest.approx([1, 0], abs=1e-3)


@pytest.mark.parametrize("layer", ["", "rmsnorm", "dyt"])
def test_a_training_reads_them_and_is_the_same_as_without(layer: str) -> None:
    tokens = torch.randint(5, (300,), generator=torch.Generator().manual_seed(0))
    text = Text("made up", tokens, tokens[:60], 5)
    shared = TrainingRunConfig(
        model=CONFIG,
        steps=5,
        batch_size=3,
        validation=4,
        probe_every=2,
        layer=layer,
        optimizer=OptimizerConfig(warmup=2),
    )
    plain = train_transformer(shared, text)
    read = train_transformer(shared.model_copy(update={"spectral": True}), text)
    assert read.losses == plain.losses
    added = read.readings[0].values.keys() - plain.readings[0].values.keys()
    assert {"blocks.0.alignment", "blocks.1.alignment", "blocks.2.jacobian", "blocks.0.qk_spectral_entropy"} <= added
    assert "blocks.2.alignment" not in added
    assert sum(name.startswith("stable_rank.") for name in added) == 3 * 6
    kept = condensed(read.readings[-1])
    ranks = [value for name, value in read.readings[-1].values.items() if name.startswith("stable_rank.")]
    assert kept["least stable_rank"] == min(ranks)
    assert kept["blocks.1.alignment"] == read.readings[-1].values["blocks.1.alignment"]
    for reading in read.readings:
        for name in added:
            assert math.isfinite(reading.values[name])
            assert 0 <= reading.values[name] <= (1.0001 if name.endswith(("alignment", "entropy")) else 1e6)
