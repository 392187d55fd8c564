"""SpineNet: a backbone whose blocks come in an order of sizes that was searched, and that needs no pyramid.

Source: Du et al. 2020, arXiv:1912.05027, and its released code, ``spinenet.py`` of tensorflow/tpu, which makes maps
coarser by one strided convolution and one max pooling. SpineNet-190's stochastic depth and its swish are left out.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from evonas.extras import import_package
from evonas.tasks.detection.blocks import conv_norm, stage
from evonas.tasks.detection.spinenet_graph import BLOCKS, SCALINGS, STEM, Block, Scaling, spinenet_graph

OUTPUTS = tuple(sorted(block.output for block in BLOCKS if block.output))
"""Names of the maps, P3 to P7; the map Pl has 1 / 2^l of the image's height and width, rounded up."""
LEVELS = tuple(int(name.removeprefix("P")) for name in OUTPUTS)

_STEM_CHANNELS = 64  # whatever the scaling


def spinenet(name: str, *, width: float = 1.0, channels: int | None = None, where: str = "") -> "SpineNet":
    """A SpineNet with fresh weights, drawn from torch's global generator.

    Args:
        name: a key of ``SCALINGS``.
        width: multiplier of the widths of its blocks, on top of the scaling's own; the stem's first convolution keeps
            its 64 channels.
        channels: of the maps that it gives; None is as published.
        where: what needs the network; errors name it.

    Raises:
        InputError: torchvision is not installed.
    """
    published = SCALINGS[name]
    scaling = replace(published, width=published.width * width, channels=channels or published.channels)
    return SpineNet(scaling, import_package("torchvision.models.resnet", where or name))


class SpineNet(nn.Module):
    """The network of a scaling, with ``nn.BatchNorm2d`` and ``nn.ReLU``.

    The input of a block is the sum of its parents, resampled to its size and channels, and a ReLU. Blocks add before
    they activate, so that a norm without activation ends each branch and each resampling.

    The state dict names blocks and resamplings by the numbers of the table: ``resamplings.2_to_4``.

    Attributes:
        out_channels: of all maps that it gives.

    Shapes: images [b, 3, h, w] -> a dict of the maps ``P3`` to ``P7``, [b, out_channels, h / 2^l, w / 2^l], rounded up.
    """

    def __init__(self, scaling: Scaling, resnet: Any) -> None:
        super().__init__()
        self.out_channels = scaling.channels
        kinds = {"bottleneck": resnet.Bottleneck, "residual": resnet.BasicBlock}
        graph = spinenet_graph()
        widths = {number: max(1, int(width * scaling.width)) for number, width in graph.nodes(data="width")}
        edges = graph.edges(data="extra")
        self.parents = {n: tuple(p for p, to, extra in edges if to == n and not extra) for n in graph if n >= STEM}
        self.extra = {n: tuple(p for p, to, extra in edges if to == n and extra) for n in graph}
        self.stem = nn.Sequential(conv_norm(3, _STEM_CHANNELS, 7, 2), nn.MaxPool2d(3, 2, 1))
        self.resamplings, self.blocks, self.endpoints = nn.ModuleDict(), nn.ModuleList(), nn.ModuleDict()
        for number, block in enumerate(BLOCKS):
            outputs = widths[number] * block.expansion
            for parent in self.parents.get(number, ()):
                self.resamplings[_edge(parent, number)] = _Resampling(
                    BLOCKS[parent], widths[parent], scaling.alpha, block, outputs
                )
            inputs = outputs if number else _STEM_CHANNELS
            self.blocks.append(stage(kinds[block.kind], inputs, widths[number], scaling.repeats))
            if block.output:
                self.endpoints[block.output] = conv_norm(outputs, scaling.channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights of convolutions with the variance 1 / fan-in; norms start as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")

    def forward(self, images: Tensor) -> Mapping[str, Tensor]:
        """The maps by name, the finest first."""
        height, width = images.shape[2], images.shape[3]
        maps: list[Tensor] = []
        found: dict[str, Tensor] = {}
        x = self.stem(images)
        for number, (block, module) in enumerate(zip(BLOCKS, self.blocks, strict=True)):
            if number >= STEM:
                size = _over(height, 2**block.level), _over(width, 2**block.level)
                resampled = [self.resamplings[_edge(p, number)](maps[p], size) for p in self.parents[number]]
                x = F.relu(reduce(add, resampled + [maps[p] for p in self.extra[number]]))
            x = module(x)
            maps.append(x)
            if block.output:
                found[block.output] = self.endpoints[block.output](x)
        return {name: found[name] for name in OUTPUTS}


class _Resampling(nn.Module):
    """Brings the maps of a block to the size and the channels of another one; no activation at the end."""

    def __init__(self, source: Block, width: int, alpha: float, target: Block, outputs: int) -> None:
        super().__init__()
        inner = max(1, int(width * alpha))
        self.enter = conv_norm(width * source.expansion, inner)
        steps = target.level - source.level
        self.down = _coarser(inner, 2**steps) if steps > 0 else nn.Identity()
        self.finer = steps < 0
        self.leave = conv_norm(inner, outputs, act=False)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        x = self.down(self.enter(x))
        if self.finer:
            x = F.interpolate(x, size=size, mode="nearest")
        y: Tensor = self.leave(x)
        return y


def _coarser(channels: int, factor: int) -> nn.Sequential:
    """A strided convolution, and a pooling for the rest of the factor."""
    rest = nn.MaxPool2d(kernel := 5 if factor > 4 else 3, factor // 2, kernel // 2)
    return nn.Sequential(conv_norm(channels, channels, 3, 2), *([rest] if factor > 2 else []))


def _edge(parent: int, number: int) -> str:
    return f"{parent}_to_{number}"


def _over(size: int, factor: int) -> int:
    """The quotient rounded up, as strided convolutions and poolings give it."""
    return -(-size // factor)
