"""What a classifier of digits says of made images: whether they show a class, and how far they are from others."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.steering.generator import CLASSES, Digits
from evonas.training.fit import Trace, fit
from evonas.training.modes import seeded


class DigitClassifier(nn.Module):
    """Two convolutions and a dense layer. Shapes: images [b, 1, 8, 8] -> logits [b, 10].

    Args:
        width: of its features.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * width, width),
            nn.ReLU(),
        )
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of the ten classes."""
        logits: Tensor = self.head(self.features(images))
        return logits


def train_classifier(
    digits: Digits, *, steps: int = 600, seed: int = 0, width: int = 64, batch_size: int = 64, lr: float = 2e-3
) -> tuple[DigitClassifier, Trace]:
    """A classifier trained on real images with Adam."""
    with seeded(derive_seed(seed, "weights")):
        classifier = DigitClassifier(width)
    optimizer = torch.optim.Adam(classifier.parameters(), lr)

    def batches() -> Iterator[Tensor]:
        rng = torch.Generator().manual_seed(derive_seed(seed, "batches"))
        while True:
            yield torch.randint(len(digits.images), (batch_size,), generator=rng)

    def loss(index: Tensor) -> Tensor:
        return functional.cross_entropy(classifier(digits.images[index]), digits.labels[index])

    trace = fit(loss, batches(), optimizer, steps=steps)
    return classifier.eval(), trace


@torch.no_grad()
def concept_score(classifier: DigitClassifier, images: Tensor, label: int) -> float:
    """Mean probability of a class, in [0, 1]. Shapes: images [b, 1, 8, 8]."""
    return float(classifier(images).softmax(1)[:, label].mean())


@torch.no_grad()
def similarity(classifier: DigitClassifier, images: Tensor, others: Tensor) -> float:
    """Mean cosine between features of images and those of the same number of others, pair by pair.

    Steered images against unsteered ones of the same noise: how much of them is kept. Source: IMGScore, Rodriguez et
    al. 2025, there with features of DINOv2.

    Raises:
        InputError: other shapes.
    """
    if images.shape != others.shape:
        raise InputError("others", str(list(others.shape)), accepted=f"{list(images.shape)}, as the images")
    pairs = (classifier.features(part) for part in (images, others))
    return float(functional.cosine_similarity(*pairs).mean())


@torch.no_grad()
def feature_distance(classifier: DigitClassifier, images: Tensor, others: Tensor) -> float:
    r"""Frechet distance between Gaussians fitted to the features of two sets of images.

    $\lVert\mu_1 - \mu_2\rVert^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1^{1/2} \Sigma_2 \Sigma_1^{1/2})^{1/2})$,
    covariances divided by n - 1. Shapes: [n, 1, 8, 8] and [m, 1, 8, 8].

    Raises:
        InputError: fewer than two images in a set.

    Source: Heusel et al. 2017 (FID), there with features of Inception.
    """
    if min(len(images), len(others)) < 2:
        raise InputError("images", "fewer than 2 in a set", accepted="2 or more")
    one, two = (classifier.features(part).double() for part in (images, others))
    first, second = one.mT.cov(), two.mT.cov()
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.mT
    overlap = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    gap = (one.mean(0) - two.mean(0)).square().sum()
    return float(gap + first.trace() + second.trace() - 2 * overlap)
