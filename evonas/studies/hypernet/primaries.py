"""Small primary networks of the tasks: convolutions, each followed by a layer that is given as a genome."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.graph.genome import Genome
from evonas.layer.lower import lower

GROUPS = 4
POOLED = 2  # pixels a side that the classifier looks at


class ImageClassifier(nn.Module):
    """Two convolutions with rescaled maps in between; then pooling to 2 x 2 pixels, dropout and a linear layer.

    Shapes: images [b, 3, h, w] -> logits [b, classes].
    """

    def __init__(self, layer: Genome, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.stem = _convolution(3, width, layer)
        self.block = _convolution(width, 2 * width, layer)
        self.head = nn.Linear(2 * width * POOLED**2, num_classes)

    def forward(self, images: Tensor, rate: Tensor | float = 0.0, *, factor: float = 0.5) -> Tensor:
        """Logits.

        Args:
            images: [b, 3, h, w].
            rate: of dropout, below 1; in training only.
            factor: from 0 to 1, what the sides of the maps are multiplied with, rounded to whole
                pixels, 1 at least.
        """
        height, width = (max(1, round(side * factor)) for side in images.shape[-2:])
        maps = functional.adaptive_avg_pool2d(self.stem(images), (height, width))
        features = functional.adaptive_avg_pool2d(self.block(maps), POOLED).flatten(1)
        if self.training:
            features = features * (torch.rand_like(features) >= rate) / (1 - rate)
        logits: Tensor = self.head(features)
        return logits


class Displacement(nn.Module):
    """Three convolutions from a pair of grey images to a displacement field in pixels.

    Shapes: pairs [b, 2, h, w] -> [b, 2, h, w], channels (x, y).
    """

    def __init__(self, layer: Genome, *, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(_convolution(2, width, layer), _convolution(width, width, layer))
        self.head = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, pairs: Tensor) -> Tensor:
        """The displacement field of a pair of images."""
        field: Tensor = self.head(self.blocks(pairs))
        return field


def _convolution(channels: int, width: int, layer: Genome) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), lower(layer, width, layout="bchw", groups=GROUPS)
    )
