"""MobileNetV2: torchvision's class with inverted residual blocks, batch normalization and ReLU6.

Source: Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", arXiv:1801.04381,
Table 2.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

# expansion, channels, stride of the first block
_STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 2), (6, 64, 2), (6, 96, 1), (6, 160, 2), (6, 320, 1))
DEPTH = (1, 2, 3, 4, 3, 3, 1)


def make(*, width: float, depth: Sequence[int], head: int | None, num_classes: int) -> nn.Module:
    """A network of three-channel images, without dropout.

    Args:
        width: channel multiplier; channels are rounded to multiples of 8.
        depth: blocks per published stage, 0 for a dropped one.
        head: channels of the last convolution; None follows torchvision, 1280 times width but at least 1280.
        num_classes: number of logits.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """
    from torchvision.models import MobileNetV2

    rows = [[t, c, n, s] for (t, c, s), n in zip(_STAGES, depth, strict=True) if n]
    model: nn.Module = MobileNetV2(num_classes, width, rows, dropout=0.0)
    if head is not None:
        _set_head(model, head, num_classes)
    return model


def _set_head(model: Any, channels: int, num_classes: int) -> None:
    """Rebuilds the last convolution and the classifier, which the class does not let one narrow."""
    from torchvision.ops.misc import Conv2dNormActivation

    last = Conv2dNormActivation(model.features[-1][0].in_channels, channels, kernel_size=1, activation_layer=nn.ReLU6)
    classifier = nn.Linear(channels, num_classes)
    # as MobileNetV2 initializes them
    nn.init.kaiming_normal_(last[0].weight, mode="fan_out")
    nn.init.normal_(classifier.weight, 0.0, 0.01)
    nn.init.zeros_(classifier.bias)
    model.features[-1], model.classifier[-1], model.last_channel = last, classifier, channels
