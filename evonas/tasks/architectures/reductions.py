"""Spatial reductions: which modules of a network make the image smaller, and how to stop the first ones."""

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from evonas.training.modes import evaluating


def unstride(model: nn.Module, count: int, image_size: int, in_channels: int) -> None:
    """Sets the stride of the first ``count`` spatial reductions of ``model`` to 1, in place.

    Strided convolutions and poolings that read the same size are one reduction: they are parallel branches of
    a block. Global pools are not reductions. A model with fewer reductions loses them all.

    Args:
        model: a network whose kernels are odd and padded by half their size, so that stride 1 keeps the size; or
            poolings of 2x2 without padding, which become the identity.
        count: how many reductions; the model runs on blank images once at least.
        image_size: height and width of the images.
        in_channels: channels of the images, which are [b, in_channels, image_size, image_size].
    """
    images = torch.zeros(1, in_channels, image_size, image_size)
    readers = _strided_by_input_size(model, images)
    for _ in range(count):
        for module in readers[max(readers)] if readers else ():
            module.stride = 1 if isinstance(module.stride, int) else (1,) * len(module.stride)
            if module.padding == 0 and module.kernel_size == 2:
                module.kernel_size = 1  # DenseNet's pooling, which stride 1 alone would let shrink the image by a pixel
        # one at a time: where the image has shrunk to a pixel, all later reductions read the same size
        readers = _strided_by_input_size(model, images)


def _strided_by_input_size(model: nn.Module, images: torch.Tensor) -> dict[int, list[Any]]:
    """The modules with a stride above 1, by the height times width that they read in one forward pass."""
    readers: dict[int, list[Any]] = defaultdict(list)

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        readers[inputs[0].shape[-2] * inputs[0].shape[-1]].append(module)

    strided = [module for module in model.modules() if _stride(module) > 1]
    hooks = [module.register_forward_pre_hook(note) for module in strided]
    try:
        with evaluating(model), torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return readers


def _stride(module: nn.Module) -> int:
    if not isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        return 1
    return module.stride if isinstance(module.stride, int) else max(module.stride)
