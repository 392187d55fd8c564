"""Oracles: the closed formula for Gaussians, scipy's square root of matrices, torchmetrics' Inception score."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor

from evonas.tasks.synthesis.distance import DISTANCE, SCALE, Quality, class_score, frechet_distance, quality
from evonas.tasks.synthesis.features import Described

pytest.importorskip("torchmetrics", reason="pip install 'evonas[synthesis]'")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(mean: Tensor, covariance: Tensor, count: int, seed: int) -> Tensor:
    """Samples whose own mean and covariance are exactly these."""
    raw = drawn(count, len(mean), seed=seed)
    raw = raw - raw.mean(0)
    white = raw @ torch.linalg.inv(torch.linalg.cholesky(raw.T.cov())).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def covariance(size: int, seed: int) -> Tensor:
    factor = drawn(size, size, seed=seed)
    return factor @ factor.T / size + 0.1 * torch.eye(size)


def closed_form(means: tuple[Tensor, Tensor], covariances: tuple[Tensor, Tensor]) -> float:
    one, other = (matrix.numpy() for matrix in covariances)
    root: NDArray[np.complex128] = sqrtm(one @ other)
    return float((means[0] - means[1]).square().sum()) + float(np.trace(one + other - 2 * root.real))


def test_the_distance_of_gaussians_is_the_closed_formula() -> None:
    means = drawn(5, seed=1), drawn(5, seed=2)
    covariances = covariance(5, 3), covariance(5, 4)
    one, other = (with_moments(m, c, 60 + n, n) for n, (m, c) in enumerate(zip(means, covariances, strict=True)))
    assert frechet_distance(one, other) == pytest.approx(closed_form(means, covariances), rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(frechet_distance(one, other), rel=1e-9)


def test_with_equal_covariances_only_the_means_count() -> None:
    shared = covariance(4, 5)
    shift = torch.tensor([3.0, 0.0, -4.0, 0.0], dtype=torch.float64)
    one, other = with_moments(torch.zeros(4).double(), shared, 50, 6), with_moments(shift, shared, 50, 7)
    assert frechet_distance(one, other) == pytest.approx(25, rel=1e-9)


@pytest.mark.parametrize("count", [200, 5])  # fewer images than features: covariances have no inverse
def test_the_distance_of_identical_sets_is_about_zero(count: int) -> None:
    features = drawn(count, 8).float()
    assert 0 <= frechet_distance(features, features) < 1e-5


def test_single_precision_features_are_compared_in_double_precision() -> None:
    features = drawn(300, 6).float() + 1e4  # squares of 1e8, where float32 has steps of 8
    moved = features + 1
    assert frechet_distance(features, moved) == pytest.approx(6, rel=1e-3)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save", "ignore:std")
def test_the_class_score_is_torchmetrics_inception_score_in_one_split() -> None:
    from torchmetrics.image.inception import InceptionScore

    logits = 3 * drawn(40, 7)
    theirs = InceptionScore(feature=torch.nn.Identity(), splits=1)
    theirs.update(logits)
    assert class_score(logits.softmax(1)) == pytest.approx(float(theirs.compute()[0]), rel=1e-6)


def test_the_class_score_is_one_for_equal_rows_and_the_number_of_classes_for_sure_and_even_ones() -> None:
    assert class_score(torch.full((9, 4), 0.25)) == pytest.approx(1)
    assert class_score(drawn(1, 4).softmax(1).expand(9, 4)) == pytest.approx(1)
    assert class_score(torch.eye(4).repeat(3, 1)) == pytest.approx(4)


def test_quality_says_how_many_images_were_compared_and_at_which_size() -> None:
    one, other = (Described(drawn(n, 3, seed=n), drawn(n, 4, seed=n).softmax(1)) for n in (30, 50))
    found = quality(one, other)
    assert (found.generated, found.real) == (30, 50)
    assert found.distance == frechet_distance(one.features, other.features)
    assert found.classes == class_score(one.probabilities)
    text = str(Quality(1234.56, 7.891, 1000, 2000))
    assert text == f"{DISTANCE} 1234.6, class score 7.89 (1,000 generated and 2,000 real images at 64 x 64 pixels)"
    assert "FID" not in text


def test_the_score_falls_with_the_distance_from_one_to_zero() -> None:
    scores = [Quality(distance, 1.0, 2, 2).score for distance in (0.0, 10.0, SCALE, 1e5, math.inf)]
    assert scores[0] == 1
    assert scores[2] == 0.5
    assert scores[-1] == 0
    assert scores == sorted(scores, reverse=True)


def test_images_that_are_not_numbers_are_infinitely_far_away() -> None:
    real = Described(drawn(10, 3), drawn(10, 4).softmax(1))
    broken = Described(real.features.clone().fill_(math.nan), real.probabilities)
    assert quality(broken, real).distance == math.inf
    assert quality(broken, real).score == 0
