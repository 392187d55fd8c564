"""EfficientNet-B0: torchvision's class with MBConv blocks, squeeze and excitation, batch norm and SiLU.

Source: Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for CNNs", arXiv:1905.11946, Table 1.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

# expansion, kernel, stride of the first block, channels
_STAGES = (
    *((1, 3, 1, 16), (6, 3, 2, 24), (6, 5, 2, 40), (6, 3, 2, 80)),
    *((6, 5, 1, 112), (6, 5, 2, 192), (6, 3, 1, 320)),
)
_STEM = 32
DEPTH = (1, 2, 2, 3, 3, 4, 1)


def make(*, width: float, depth: Sequence[int], head: int | None, num_classes: int) -> nn.Module:
    """A network of three-channel images, without dropout and stochastic depth.

    Args:
        width: channel multiplier; channels are rounded to multiples of 8.
        depth: blocks per published stage, 0 for a dropped one.
        head: channels of the last convolution; None follows torchvision, 4 times those of the last stage.
        num_classes: number of logits.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """
    from torchvision.models.efficientnet import EfficientNet

    model: nn.Module = EfficientNet(
        _rows(width, depth), 0.0, stochastic_depth_prob=0.0, num_classes=num_classes, last_channel=head
    )
    return model


def _rows(width: float, depth: Sequence[int]) -> list[Any]:
    from torchvision.models.efficientnet import MBConvConfig

    rows, channels = [], _STEM
    for (expansion, kernel, stride, out), blocks in zip(_STAGES, depth, strict=True):
        if blocks:
            rows.append(MBConvConfig(expansion, kernel, stride, channels, out, blocks, width_mult=width))
            channels = out
    return rows
