"""ResNet with a feature pyramid: torchvision's blocks and its pyramid, scaled in width, with norms in both.

Sources: He et al. 2015, "Deep Residual Learning", arXiv:1512.03385, Table 1; Lin et al. 2016, "Feature Pyramid
Networks", arXiv:1612.03144.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import nn

from evonas.extras import import_package
from evonas.tasks.detection.blocks import stage

# the block of torchvision, and the number of blocks per stage
RESNETS: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {"resnet18": ("BasicBlock", (2, 2, 2, 2)), "resnet50": ("Bottleneck", (3, 4, 6, 3))}
)
MAPS = ("0", "1", "2", "3")
"""Names of the maps that regions are pooled from, of the levels 2 to 5; the level 6 follows as ``pool``."""

_PLANES = (64, 128, 256, 512)


def resnet_fpn(name: str, *, width: float, channels: int, where: str) -> nn.Module:
    """A ResNet whose stages feed a pyramid; ``out_channels`` says how many channels its maps have.

    Norms of the pyramid have no activation behind them. All norms are ``nn.BatchNorm2d``.

    Shapes: images [b, 3, h, w] -> a mapping of five maps [b, channels, h / s, w / s], rounded up, s = 4, 8, 16, 32, 64.

    Args:
        name: a key of ``RESNETS``.
        width: multiplier of the ResNet's channels, which are rounded to multiples of 8.
        channels: of the pyramid.
        where: what needs the network; errors name it.

    Raises:
        InputError: torchvision is not installed.
    """
    detection = import_package("torchvision.models.detection.backbone_utils", where)
    resnet = import_package("torchvision.models.resnet", where)
    kind, blocks = RESNETS[name]
    body, planes = _body(getattr(resnet, kind), blocks, width)
    network: nn.Module = detection.BackboneWithFPN(
        body,
        {f"layer{number}": map_name for number, map_name in enumerate(MAPS, 1)},
        planes,
        channels,
        norm_layer=nn.BatchNorm2d,
    )
    return network


def _body(block: Any, blocks: tuple[int, ...], width: float) -> tuple[nn.Sequential, list[int]]:
    """The stem and the stages under torchvision's names, and the channels of each stage."""
    last = _scaled(_PLANES[0], width)
    body = nn.Sequential()
    body.add_module("conv1", nn.Conv2d(3, last, 7, 2, 3, bias=False))
    body.add_module("bn1", nn.BatchNorm2d(last))
    body.add_module("relu", nn.ReLU(inplace=True))
    body.add_module("maxpool", nn.MaxPool2d(3, 2, 1))
    outputs = []
    for number, (count, published) in enumerate(zip(blocks, _PLANES, strict=True), 1):
        planes = _scaled(published, width)
        body.add_module(f"layer{number}", stage(block, last, planes, count, stride=1 if number == 1 else 2))
        last = planes * block.expansion
        outputs.append(last)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body, outputs


def _scaled(planes: int, width: float) -> int:
    return max(8, round(width * planes / 8) * 8)
