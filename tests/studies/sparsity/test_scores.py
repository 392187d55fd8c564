"""Oracles: formulas written out in numpy, sorting by hand, and all subsets there are."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.sparsity.rotation import right_singular_vectors
from evonas.studies.sparsity.scores import (
    SCORE_METHODS,
    ActivationMagnitudes,
    Magnitude,
    Noise,
    ScoreContext,
    method_named,
)
from evonas.studies.sparsity.selection import Selector
from evonas.training.topk import column_norms

TOKENS, OUTPUTS, INPUTS, KEEP = 20, 6, 8, 3


@pytest.fixture
def matrix(g: torch.Generator) -> Tensor:
    return torch.randn(OUTPUTS, INPUTS, generator=g) * torch.rand(INPUTS, generator=g).exp()


@pytest.fixture
def x(g: torch.Generator) -> Tensor:
    return torch.randn(TOKENS, INPUTS, generator=g)


def scored(matrix: Tensor, **changes: object) -> ScoreContext:
    return ScoreContext(**{"name": "fc", "matrix": matrix, "basis": None, "transformed": False, "seed": 0, **changes})  # type: ignore[arg-type]


def kept_by_hand(scores: np.ndarray, keep: int) -> list[set[int]]:
    return [set(sorted(range(len(row)), key=lambda place: -row[place])[:keep]) for row in scores]


def kept(selector: Selector, x: Tensor) -> list[set[int]]:
    return [set(np.flatnonzero(row).tolist()) for row in selector.masked(x).values.numpy()]


def test_every_method_is_described_and_credited() -> None:
    assert set(SCORE_METHODS) == {"teal", "wina", "cats", "r-sparse", "random"}
    assert all(method.formula and method.source and method.name == name for name, method in SCORE_METHODS.items())
    with pytest.raises(InputError, match="'wanda'; accepted: teal, wina"):
        method_named("wanda")


def test_masks_are_those_of_sorting_by_hand(matrix: Tensor, x: Tensor) -> None:
    a, w = x.numpy(), matrix.numpy()
    lengths = np.array([np.sqrt(sum(w[row, column] ** 2 for row in range(OUTPUTS))) for column in range(INPUTS)])
    for name, scores in {"teal": abs(a), "wina": abs(a) * lengths, "r-sparse": abs(a) * lengths}.items():
        selector = Selector(SCORE_METHODS[name].score(scored(matrix)), keep=KEEP)
        assert kept(selector, x) == kept_by_hand(scores, KEEP), name


def test_after_the_transform_only_layers_with_an_orthogonal_basis_are_weighed(matrix: Tensor, x: Tensor) -> None:
    score = SCORE_METHODS["wina"].score
    basis = torch.arange(1.0, INPUTS + 1)
    assert torch.equal(score(scored(matrix, transformed=True))(x), x.abs())
    assert torch.equal(score(scored(matrix, transformed=True, basis=basis))(x), x.abs() * basis)


def test_r_sparse_weighs_by_the_rows_of_v_s_which_are_the_column_norms(matrix: Tensor) -> None:
    _, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.allclose((vh.T * s).norm(dim=1), column_norms(matrix), atol=1e-5)


def test_with_orthogonal_columns_no_other_choice_of_inputs_has_a_smaller_error(matrix: Tensor, x: Tensor) -> None:
    matrix = matrix.double()
    turned = matrix @ right_singular_vectors(matrix)
    x = x.double()
    best = Selector(Magnitude(column_norms(turned)), keep=KEEP).masked(x).values
    plain = Selector(Magnitude(), keep=KEEP).masked(x).values
    error, plain_error = (((x - values) @ turned.T).norm(dim=1) for values in (best, plain))
    subsets = list(combinations(range(INPUTS), KEEP))
    for token, found in zip(x, error, strict=True):
        every = []
        for subset in subsets:
            rest = token.clone()
            rest[list(subset)] = 0
            every.append((turned @ rest).norm())
        assert found <= min(every) + 1e-9
    assert (error < plain_error - 1e-6).any()  # or the test could not tell the scores apart


def test_noise_depends_on_seed_name_and_call_alone(x: Tensor) -> None:
    first, second = Noise(1, "fc"), Noise(1, "fc")
    calls = [first(x), first(x)]
    assert torch.equal(second(2 * x), calls[0])
    assert not torch.equal(*calls)
    assert not torch.equal(Noise(2, "fc")(x), calls[0])
    assert not torch.equal(Noise(1, "other")(x), calls[0])


def test_an_activation_that_was_seen_scores_once(x: Tensor) -> None:
    score, silu = ActivationMagnitudes(), nn.SiLU()
    silu.register_forward_hook(score.see)
    h = silu(x)
    assert torch.equal(score(x), h.abs())
    with pytest.raises(AssertionError, match="has not run"):
        score(x)
