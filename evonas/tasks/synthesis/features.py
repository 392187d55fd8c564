"""What EfficientNet-lite0 says of images: features and class probabilities, by which sets of images are compared."""

from collections.abc import Callable
from typing import NamedTuple

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


Describe = Callable[[Tensor], Described]  # of images [n, 3, h, w] in [-1, 1]


class EfficientNetFeatures(nn.Module):
    """The 320 channels of the last block of EfficientNet-lite0, each its mean over the map, and 1,000 probabilities.

    Images are resized to 64 x 64 pixels, where an image costs a tenth of what it costs at 224 x 224. Distances between
    sets of images keep their order; ``docs/synthesis.md`` has the table. The 1,280 channels of the layer that follows
    are not used: their covariance needs more images than a short evaluation has.

    Shapes: [n, 3, h, w] in [-1, 1] -> [n, 320], [n, 1000].
    """

    def __init__(self, where: str) -> None:
        """Load the network; ``where`` is what needs it, for errors."""
        super().__init__()
        self.network = efficientnet_lite0(where).requires_grad_(requires_grad=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Described:
        """Describe images, ``BATCH`` at a time."""
        parts = [self._described(part) for part in images.split(BATCH)]
        return Described(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _described(self, images: Tensor) -> Described:
        network = self.network.eval()
        pixels = (resized(images, SIDE) + 1) * 127.5
        maps = network.blocks(network.bn1(network.conv_stem((pixels - 127) / 128)))
        last = network.bn2(network.conv_head(maps)).mean((2, 3))
        return Described(maps.mean((2, 3)), network.classifier(last).softmax(1))


def resized(images: Tensor, side: int) -> Tensor:
    """[n, 3, h, w] -> [n, 3, side, side], bilinear; images that become smaller are smoothed first."""
    return functional.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)
