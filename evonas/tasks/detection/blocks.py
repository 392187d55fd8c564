"""Stages of torchvision's residual blocks, which ResNets and SpineNets are made of."""

from typing import Any

from torch import nn


def stage(block: Any, inputs: int, width: int, number: int, *, stride: int = 1) -> nn.Sequential:
    """Residual blocks one after the other, with ``nn.BatchNorm2d`` and ``nn.ReLU``.

    Args:
        block: torchvision's ``BasicBlock`` or ``Bottleneck``.
        inputs: channels of the input.
        width: of the blocks; channels of the output over ``block.expansion``.
        number: how many blocks.
        stride: of the first one. Where it changes the shape, its shortcut has a 1x1 convolution and a norm.
    """
    outputs = width * block.expansion
    shortcut = None
    if stride > 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(block(inputs, width, stride, shortcut), *(block(outputs, width) for _ in range(1, number)))


def conv_norm(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *, act: bool = True) -> nn.Sequential:
    """A convolution without bias, ``nn.BatchNorm2d`` and, with ``act``, ``nn.ReLU``; an odd kernel keeps the size."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), *([nn.ReLU(inplace=True)] if act else []))
