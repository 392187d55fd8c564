"""What EfficientNet-lite0 says of images: features and class probabilities, by which sets of images are compared.

Images are resized to 64 x 64 pixels. At 224 x 224, for which the network was trained, an image costs about 15 times as
much, and the class score of 400 images of CIFAR-10 is 6.1 there; at 64 x 64 that of 1,000 is 138.

At 64 x 64 distances keep their order. Below are distances between 1,000 images of CIFAR-10 and 1,000 others that were
changed more and more. Noise and blur are given by their standard deviation, of pixels in [0, 1] and in pixels; squares
by how many pairs of 8 x 8 pixels change places; contrast by what is left of it; repeats by how many different images
there are.

| side | none | noise 0.05 0.1 0.2 0.4 | blur 0.5 1 2 | squares 1 3 9 | contrast 0.7 0.4 0.1 | repeats 200 50 10 |
|---|---|---|---|---|---|---|
| 32 | 27 | 89, 165, 316, 547 | 34, 93, 238 | 33, 96, 366 | 54, 172, 576 | 80, 227, 543 |
| 48 | 182 | 504, 1005, 1641, 2310 | 202, 503, 1117 | 221, 617, 2097 | 261, 624, 1917 | 560, 1444, 2648 |
| 64 | 228 | 643, 1213, 1910, 2463 | 241, 496, 1150 | 279, 773, 2226 | 305, 692, 2041 | 720, 1786, 3065 |
| 96 | 178 | 499, 934, 1505, 2059 | 185, 411, 975 | 231, 667, 1922 | 223, 468, 1499 | 574, 1507, 2352 |

The rank correlation of all of these between 64 and 96 pixels is 0.98, and between 32 and 96 it is 0.92. At 32 pixels
the class score of real images is 1.1, so that it says nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.tasks.synthesis.efficientnet_lite0 import efficientnet_lite0

SIDE = 64  # pixels
BATCH = 100


class Described(NamedTuple):
    """Features [n, d] and class probabilities [n, k] of n images."""

    features: Tensor
    probabilities: Tensor

    def __len__(self) -> int:
        return len(self.features)


def joined(parts: Sequence[Described]) -> Described:
    """What is said of several sets of images, as of one."""
    return Described(*(torch.cat(values) for values in zip(*parts, strict=True)))


Describe = Callable[[Tensor], Described]  # of images [n, 3, h, w] in [-1, 1]


class EfficientNetFeatures(nn.Module):
    """The 320 channels of the last block of EfficientNet-lite0, each its mean over the map, and 1,000 probabilities.

    Images are resized to 64 x 64 pixels. The 1,280 channels of the layer that follows are not used: their covariance
    needs more images than a short evaluation has. Between two halves of the same 2,000 images their distance is 716, a
    fifth of that between images and noise, and with the 320 channels it is 228, a thirteenth.

    Shapes: [n, 3, h, w] in [-1, 1] -> [n, 320], [n, 1000].
    """

    def __init__(self, where: str) -> None:
        """Load the network; ``where`` is what needs it, for errors."""
        super().__init__()
        self.network = efficientnet_lite0(where).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Described:
        """Describe images, ``BATCH`` at a time."""
        return joined([self._described(part) for part in images.split(BATCH)])

    def _described(self, images: Tensor) -> Described:
        network: Any = self.network.eval()
        pixels = (resized(images, SIDE) + 1) * 127.5
        maps = network.blocks(network.bn1(network.conv_stem((pixels - 127) / 128)))
        last = network.bn2(network.conv_head(maps)).mean((2, 3))
        return Described(maps.mean((2, 3)), network.classifier(last).softmax(1))


def resized(images: Tensor, side: int) -> Tensor:
    """[n, 3, h, w] -> [n, 3, side, side], bilinear; images that become smaller are smoothed first."""
    return functional.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
