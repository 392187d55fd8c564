"""DenseNet-121: torchvision's class with dense blocks, batch norm and ReLU before each convolution.

Source: Huang et al. 2017, "Densely Connected Convolutional Networks", arXiv:1608.06993, Table 1.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

DEPTH = (6, 12, 24, 16)
_GROWTH, _STEM = 32, 64


def make(*, width: float, depth: Sequence[int], head: int | None, num_classes: int) -> nn.Module:
    """A network of three-channel images, without dropout; ``head`` has no counterpart here and must be None.

    Its first reductions are the 7x7 convolution and the 3x3 pooling of the stem; the others are the 2x2 poolings
    between blocks, which round odd sizes up as strided convolutions do.

    Args:
        width: multiplier of the growth rate and of the stem; both are rounded to multiples of 8.
        depth: layers per published dense block, 0 for a dropped one.
        head: None.
        num_classes: number of logits.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """
    from torchvision.models.densenet import DenseNet

    assert head is None
    blocks: Any = tuple(layers for layers in depth if layers)  # the class takes any number of them
    model: nn.Module = DenseNet(_rounded(width * _GROWTH), blocks, _rounded(width * _STEM), num_classes=num_classes)
    for module in model.modules():
        if isinstance(module, nn.AvgPool2d):
            module.ceil_mode = True  # a 1x1 map is then left as it is, not an error
    return model


def _rounded(channels: float) -> int:
    from torchvision.models._utils import _make_divisible

    return int(_make_divisible(channels, 8))
