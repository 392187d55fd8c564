"""Oracles: the Frechet distance with scipy's matrix root, real digits, a training of a few steps."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from evonas.errors import InputError
from evonas.studies.steering.generator import load_digits
from evonas.studies.steering.judge import DigitClassifier, concept_score, feature_distance, similarity, train_classifier

DIGITS = load_digits()


@pytest.fixture(scope="module")
def classifier() -> DigitClassifier:
    trained, _ = train_classifier(DIGITS, steps=80, width=16)
    return trained


def test_a_few_steps_tell_digits_apart(classifier: DigitClassifier) -> None:
    threes = DIGITS.of(3)
    assert concept_score(classifier, threes, 3) > 0.4
    assert concept_score(classifier, threes, 8) < 0.2
    assert sum(concept_score(classifier, threes, label) for label in range(10)) == pytest.approx(1, abs=1e-5)
    assert not classifier.training


def test_training_is_repeatable() -> None:
    one, two = (train_classifier(DIGITS, steps=3, width=16)[1] for _ in range(2))
    assert one == two


def test_the_feature_distance_is_that_of_gaussians(classifier: DigitClassifier) -> None:
    threes, eights = DIGITS.of(3)[:90], DIGITS.of(8)[:60]
    with torch.no_grad():
        a, b = (classifier.features(images).double().numpy() for images in (threes, eights))
    first, second = np.cov(a.T), np.cov(b.T)
    root = np.real(sqrtm(first @ second + 1e-12 * np.eye(16)))
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert feature_distance(classifier, threes, eights) == pytest.approx(wanted, rel=1e-3)
    assert feature_distance(classifier, threes, threes) == pytest.approx(0, abs=1e-4)
    assert feature_distance(classifier, threes[:45], threes[45:]) < 0.5 * wanted


def test_similarity_compares_pair_by_pair(classifier: DigitClassifier) -> None:
    images = DIGITS.images[:20]
    assert similarity(classifier, images, images) == pytest.approx(1, abs=1e-5)
    assert similarity(classifier, images, images.flip(0)) < 0.95


def test_sets_that_cannot_be_compared_are_refused(classifier: DigitClassifier) -> None:
    with pytest.raises(InputError, match=r"^others: \[3, 1, 8, 8\]; accepted: \[4, 1, 8, 8\], as the images$"):
        similarity(classifier, DIGITS.images[:4], DIGITS.images[:3])
    with pytest.raises(InputError, match=r"^images: fewer than 2 in a set; accepted: 2 or more$"):
        feature_distance(classifier, DIGITS.images[:4], DIGITS.images[:1])
