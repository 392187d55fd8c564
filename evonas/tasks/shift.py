"""Scoring images that were corrupted: the images of a shift that a network was not trained for.

Noise, blur and contrast are corruptions of Hendrycks & Dietterich 2019 (arXiv 1903.12261), in the implementations of
``torchvision.transforms.v2``. They are applied to pixels between 0 and 1, before the normalization by mean and standard
deviation that all images get. So a lower contrast reaches the network as a lower contrast.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from torch import Tensor, nn

from evonas.extras import import_package
from evonas.tasks.data import ImageData, LabelledImages
from evonas.tasks.task import accuracy
from evonas.training.modes import seeded

NOISE = 0.2  # standard deviation, where pixels are between 0 and 1
BLUR = 1 / 16  # standard deviation of the Gaussian, of the shorter side: 1 pixel of 16
CONTRAST = 0.5  # what is left of the difference to the mean grey of the image
SEED = 0  # of the noise: every network sees the same
_WHERE = "objectives.shift"


def noisy(pixels: Tensor) -> Tensor:
    """Gaussian noise in every channel, cut off below 0 and above 1."""
    transforms = import_package("torchvision.transforms.v2", _WHERE)
    with seeded(SEED):
        corrupted: Tensor = transforms.GaussianNoise(sigma=NOISE)(pixels.contiguous())
    return corrupted


def blurred(pixels: Tensor) -> Tensor:
    """Gaussian blur over a window of two standard deviations to each side."""
    transforms = import_package("torchvision.transforms.v2", _WHERE)
    side = min(pixels.shape[-2:])
    reach = min(math.ceil(2 * BLUR * side), side - 1)  # the border is mirrored, and a mirror has no more than this
    corrupted: Tensor = transforms.functional.gaussian_blur(pixels, [2 * reach + 1] * 2, [BLUR * side] * 2)
    return corrupted


def faded(pixels: Tensor) -> Tensor:
    """Less contrast: every pixel comes closer to the mean grey of its image."""
    transforms = import_package("torchvision.transforms.v2", _WHERE)
    corrupted: Tensor = transforms.functional.adjust_contrast(pixels, CONTRAST)
    return corrupted


CORRUPTIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {"noise": noisy, "blur": blurred, "contrast": faded}
)


def corrupted(data: ImageData) -> tuple[LabelledImages, ...]:
    """The scoring images under each of ``CORRUPTIONS``, normalized as all images are.

    Raises:
        InputError: torchvision is not installed.
    """
    scoring, preparation = data.scoring, data.preparation
    channels = len(preparation.mean)  # grey images have one, three times
    pixels = preparation.pixels(scoring.images[:, :channels].cpu())
    return tuple(
        LabelledImages(preparation.normalized(corrupt(pixels)), scoring.labels.cpu()).to(scoring.images.device)
        for corrupt in CORRUPTIONS.values()
    )


def mean_accuracy(parts: Sequence[LabelledImages], model: nn.Module) -> float:
    """Mean over sets of images of the share that is classified correctly, in evaluation mode."""
    return sum(accuracy(images, model) for images in parts) / len(parts)
