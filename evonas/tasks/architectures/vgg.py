"""VGG-16 with batch normalization: convolutions one after the other, without shortcuts; torchvision's blocks.

Nothing carries a signal around the layers here, so a layer's quality shows after few steps (runs/kept/truth).
Source: Simonyan & Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
arXiv:1409.1556, Table 1, configuration D.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

DEPTH = (2, 2, 3, 3, 3)
_CHANNELS = (64, 128, 256, 512, 512)


def make(*, width: float, depth: Sequence[int], head: int | None, num_classes: int) -> nn.Module:
    """The convolutional part of the network for three-channel images, then the mean over space and one linear layer.

    The published three linear layers, which hold nine tenths of the parameters and have no norm, are left out; ``head``
    has no counterpart and must be None. Its reductions are the 2x2 poolings after each stage.

    Args:
        width: multiplier of all channels, which are rounded to multiples of 8.
        depth: convolutions per published stage, 0 for a dropped one.
        head: None.
        num_classes: number of logits.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """
    from torchvision.models._utils import _make_divisible
    from torchvision.models.vgg import VGG, make_layers

    assert head is None
    layers: list[Any] = []
    for channels, convolutions in zip(_CHANNELS, depth, strict=True):
        last = int(_make_divisible(width * channels, 8))
        layers += [*(last,) * convolutions, "M"] if convolutions else []
    features = make_layers(layers, batch_norm=True)
    model: nn.Module = VGG(features, num_classes=num_classes, init_weights=False)
    model.avgpool, model.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(layers[-2], num_classes)
    _initialize(model)
    for module in model.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True  # a 1x1 map is then left as it is, not an error
    return model


def _initialize(model: nn.Module) -> None:
    """As torchvision's VGG does; it would draw the weights of the linear layers that are left out too."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
