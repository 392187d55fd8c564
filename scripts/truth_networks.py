"""Small networks of kinds that no search file uses, in which ``truth.py`` trains layers, for images of 16x16.

In the blocks of timm-bottleneck the norms before a sum have no activation. In all others every norm has one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evonas.tasks.architectures import unstride

Row = dict[str, Any]


def conv_norm_act(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the size but for its stride, and a site."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution where shapes differ."""
    if (inputs, stride) == (outputs, 1):
        return nn.Identity()
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


class PostActivation(nn.Module):
    """Norm and activation after the sum, so that none is without the other."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm_act(inputs, outputs, stride=stride)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = shortcut(inputs, outputs, stride)
        self.norm, self.act = nn.BatchNorm2d(outputs), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] -> [b, outputs, h / stride, w / stride]."""
        return self.act(self.norm(self.second(self.first(x)) + self.shortcut(x)))


class PreActivation(nn.Module):
    """He et al. 2016, arXiv 1603.05027: the sum is left alone."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(inputs), nn.ReLU()
        self.first = conv_norm_act(inputs, outputs, stride=stride)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] -> [b, outputs, h / stride, w / stride]."""
        return self.second(self.first(self.act(self.norm(x)))) + self.shortcut(x)


class Mixing(nn.Module):
    """ConvMixer's block (Trockman & Kolter 2022, arXiv 2201.09792), with norms before activations and ReLU."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.space = conv_norm_act(width, width, kernel, groups=width)
        self.channels = conv_norm_act(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        return self.channels(self.space(x) + x)


class Dense(nn.Module):
    """A layer of DenseNet (Huang et al. 2017, arXiv 1608.06993), without the 1x1 convolution of its larger ones."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(inputs), nn.ReLU()
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[b, inputs, h, w] -> [b, inputs + growth, h, w]."""
        return torch.cat([x, self.conv(self.act(self.norm(x)))], 1)


def classifier(body: Sequence[nn.Module], features: int, classes: int) -> nn.Module:
    """Logits from the mean over space of what the body gives."""
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(features, classes))


def chained(make: Callable[[int, int, int], nn.Module], inputs: int, widths: Sequence[int]) -> list[nn.Module]:
    """Blocks of these widths; a block wider than what it reads halves the size."""
    pairs = zip((inputs, *widths), widths, strict=False)
    return [make(before, width, 2 if width > before else 1) for before, width in pairs]


def plain(classes: int, *, stem: int, widths: Sequence[int]) -> nn.Module:
    """Convolutions one after the other."""
    body = chained(lambda inputs, outputs, stride: conv_norm_act(inputs, outputs, stride=stride), stem, widths)
    return classifier([conv_norm_act(3, stem), *body], widths[-1], classes)


def post_activation(classes: int, *, stem: int, widths: Sequence[int]) -> nn.Module:
    """A residual network that normalizes and activates its sums."""
    return classifier([conv_norm_act(3, stem), *chained(PostActivation, stem, widths)], widths[-1], classes)


def pre_activation(classes: int, *, stem: int, widths: Sequence[int]) -> nn.Module:
    """A residual network that normalizes and activates what its branches read."""
    body = [nn.Conv2d(3, stem, 3, padding=1, bias=False), *chained(PreActivation, stem, widths)]
    return classifier([*body, nn.BatchNorm2d(widths[-1]), nn.ReLU()], widths[-1], classes)


def mixer(classes: int, *, patch: int, width: int, blocks: int, kernel: int) -> nn.Module:
    """Patches, then depthwise and 1x1 convolutions at one size."""
    stem = nn.Sequential(nn.Conv2d(3, width, patch, patch, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    return classifier([stem, *(Mixing(width, kernel) for _ in range(blocks))], width, classes)


def dense(classes: int, *, stem: int, stride: int, growth: int, layers: Sequence[int]) -> nn.Module:
    """Blocks whose layers read all that was computed before; between blocks half of the channels and of the size."""
    body: list[nn.Module] = [nn.Conv2d(3, stem, 3, stride, 1, bias=False)]
    width = stem
    for count in layers:
        if len(body) > 1:
            half = nn.Conv2d(width, width // 2, 1, bias=False)
            body += [nn.BatchNorm2d(width), nn.ReLU(), half, nn.AvgPool2d(2)]
            width //= 2
        body += [Dense(width + growth * index, growth) for index in range(count)]
        width += growth * count
    return classifier([*body, nn.BatchNorm2d(width), nn.ReLU()], width, classes)


def timm_byobnet(
    classes: int,
    *,
    block: str,
    stem: int,
    widths: Sequence[int],
    ratio: float,
    unstrided: int,
    size: int,
    group: int = 0,
    shortcut: str = "conv1x1",
) -> nn.Module:
    """Timm's ByobNet with a block of a kind per width, each halving the size, as its stem does.

    Args:
        classes: number of logits.
        block: a kind of timm's.
        stem: channels of the stem.
        widths: channels of the blocks.
        ratio: of the channels inside of a block to those of the block.
        unstrided: how many of the first reductions have stride 1.
        size: of the images.
        group: channels of a group in 3x3 convolutions; 0 for all.
        shortcut: what shortcuts do where shapes differ; none if it is empty.
    """
    from timm.models.byobnet import ByoBlockCfg, ByobNet, ByoModelCfg

    blocks = tuple(ByoBlockCfg(type=block, d=1, c=width, s=2, gs=group, br=ratio) for width in widths)
    plan = ByoModelCfg(blocks, downsample=shortcut, stem_chs=stem, stem_type="3x3", stem_pool="")
    model = ByobNet(plan, num_classes=classes)
    unstride(model, unstrided, size, 3)
    return model


NETWORKS: Mapping[str, tuple[Callable[..., nn.Module], Row]] = {
    "plain": (plain, {"stem": 8, "widths": [16, 16, 32, 32, 32]}),
    "mixer": (mixer, {"patch": 2, "width": 32, "blocks": 3, "kernel": 3}),
    "post-activation": (post_activation, {"stem": 8, "widths": [16, 32, 32]}),
    "pre-activation": (pre_activation, {"stem": 8, "widths": [16, 32, 32]}),
    "timm-bottleneck": (
        timm_byobnet,
        {"block": "bottle", "stem": 8, "widths": [24, 48], "ratio": 0.5, "unstrided": 1, "size": 16},
    ),
    "densenet": (dense, {"stem": 16, "stride": 2, "growth": 12, "layers": [2, 2]}),
    "grouped": (
        timm_byobnet,
        {
            "block": "dark",
            "stem": 8,
            "widths": [32, 64],
            "ratio": 0.5,
            "unstrided": 1,
            "size": 16,
            "group": 8,
            "shortcut": "",
        },
    ),
}
