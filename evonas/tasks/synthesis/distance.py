"""How near generated images are to real ones, by what a feature network says of both.

The distance is named after its features, FD(EfficientNet-lite0). It is not the FID, whose features are those of
Inception v3, and the values of the two cannot be compared.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evonas.extras import import_package
from evonas.tasks.synthesis.features import SIDE, Described

DISTANCE = "FD(EfficientNet-lite0)"
SCALE = 1000.0  # the distance at which the score is 0.5


@dataclass(frozen=True, slots=True)
class Quality:
    """How good generated images are.

    Attributes:
        distance: FD(EfficientNet-lite0) to the real images; lower is better.
        classes: see ``class_score``; higher is better.
        generated: the number of generated images.
        real: the number of real images.
    """

    distance: float
    classes: float
    generated: int
    real: int

    @property
    def score(self) -> float:
        """1 / (1 + distance / 1000): in (0, 1], higher is better."""
        return 1 / (1 + self.distance / SCALE)

    def __str__(self) -> str:
        images = f"{self.generated:,} generated and {self.real:,} real images at {SIDE} x {SIDE} pixels"
        return f"{DISTANCE} {self.distance:.1f}, class score {self.classes:.2f} ({images})"


def quality(generated: Described, real: Described) -> Quality:
    """Compare generated images with real ones; images that are not numbers are infinitely far away."""
    if not generated.features.isfinite().all():
        return Quality(math.inf, 1.0, len(generated), len(real))
    distance = frechet_distance(generated.features, real.features)
    return Quality(distance, class_score(generated.probabilities), len(generated), len(real))


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """The Frechet distance between Gaussians with the moments of two sets of features, [n, d] and [m, d].

    d = |mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)), as torchmetrics computes it, in double precision. It
    is too high for few samples: compare only values that were computed from the same numbers of samples.

    Raises:
        InputError: torchmetrics is not installed.
    """
    metric = import_package("torchmetrics.image.fid", DISTANCE).FrechetInceptionDistance(_Features(one.shape[1]))
    metric.to(one.device)
    metric.update(one.double(), real=False)
    metric.update(other.double(), real=True)
    return max(0.0, float(metric.compute()))  # rounding can make that of equal sets negative


def class_score(probabilities: Tensor) -> float:
    """exp(mean over images of KL(p(class | image), p(class))): between 1 and the number of classes.

    The Inception score in the probabilities of another network: high where each image is surely of one class and the
    classes of all images differ. ``p(class)`` is the mean over the images, and all images are one split.

    Args:
        probabilities: [n, k].
    """
    p = probabilities.double()
    return float(torch.special.entr(p.mean(0)).sum().sub(torch.special.entr(p).sum(1).mean()).exp())


class _Features(nn.Module):
    """Takes features for images: what torchmetrics calls the feature network."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
