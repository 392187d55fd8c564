"""Pre-activation ResNet-50: timm's ``ResNetV2`` with bottleneck blocks, batch normalization and ReLU.

Source: He et al. 2016, "Identity Mappings in Deep Residual Networks", arXiv:1603.05027.
"""

from collections.abc import Sequence

from torch import nn

DEPTH = (3, 4, 6, 3)
_CHANNELS = (256, 512, 1024, 2048)
_STEM = 64


def make(*, width: float, depth: Sequence[int], head: int | None, num_classes: int) -> nn.Module:
    """A network of three-channel images; ``head`` has no counterpart here and must be None.

    Its first reductions are the 7x7 convolution and the 3x3 pooling of the stem. The first stage that is kept
    does not reduce, as the first published stage.

    Args:
        width: channel multiplier; channels are rounded to multiples of 8.
        depth: blocks per published stage, 0 for a dropped one.
        head: None.
        num_classes: number of logits.

    Raises:
        ModuleNotFoundError: timm is not installed.
    """
    from timm.layers.create_conv2d import create_conv2d
    from timm.layers.norm_act import BatchNormAct2d
    from timm.models.resnetv2 import ResNetV2

    assert head is None
    kept = [(blocks, width * c) for blocks, c in zip(depth, _CHANNELS, strict=True) if blocks]
    return ResNetV2(
        layers=[blocks for blocks, _ in kept],
        channels=tuple(channels for _, channels in kept),  # type: ignore[misc]  # rounded by the class
        num_classes=num_classes,
        stem_chs=width * _STEM,  # type: ignore[arg-type]
        conv_layer=create_conv2d,  # plain convolutions: the default standardizes its weights
        norm_layer=BatchNormAct2d,
    )
