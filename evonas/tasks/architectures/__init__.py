"""Architectures in which candidate layers are tried: published networks, scaled in width and depth.

The blocks are those of timm and torchvision (``pip install 'evonas[vision]'``), but for All-CNN, which has none; they
are imported only when a network is built.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from evonas.config import LIBRARIES
from evonas.errors import InputError
from evonas.extras import require_package
from evonas.tasks.architectures import all_cnn, densenet, efficientnet, mobilenet_v2, preact_resnet
from evonas.tasks.architectures.external import make_external, taking_images
from evonas.tasks.architectures.reductions import unstride

__all__ = ["ARCHITECTURES", "PUBLISHED_DEPTHS", "ArchitectureSpec", "build", "unstride"]

# make(width=, depth=, head=, num_classes=): depth has one entry per published stage, 0 for a dropped one
ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "preact_resnet": preact_resnet.make,
        "mobilenet_v2": mobilenet_v2.make,
        "efficientnet": efficientnet.make,
        "densenet": densenet.make,
        "all_cnn": all_cnn.make,
    }
)
PUBLISHED_DEPTHS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "preact_resnet": preact_resnet.DEPTH,
        "mobilenet_v2": mobilenet_v2.DEPTH,
        "efficientnet": efficientnet.DEPTH,
        "densenet": densenet.DEPTH,
        "all_cnn": all_cnn.DEPTH,
    }
)
PACKAGES: Mapping[str, str] = MappingProxyType(  # that hold the blocks
    {
        "preact_resnet": "timm",
        "mobilenet_v2": "torchvision",
        "efficientnet": "torchvision",
        "densenet": "torchvision",
    }
)
MOST_STAGES: Mapping[str, int] = MappingProxyType({"all_cnn": all_cnn.MOST_STAGES})  # where there may be further ones
HEADLESS = ("preact_resnet", "densenet", "all_cnn")  # without a last 1x1 convolution


@dataclass(frozen=True, slots=True)
class ArchitectureSpec:
    """A published network and how it is scaled.

    Attributes:
        name: a key of ``ARCHITECTURES``; or ``timm:NAME``, ``torchvision:NAME``, whose sizes are their own.
        width: channel multiplier against the published network; channels are rounded to multiples of 8. Of
            densenet, whose channels add up, it multiplies the growth rate and the stem.
        depth: blocks per stage; a shorter one drops the later stages, 0 drops a stage, () is as published.
        head: channels of the last 1x1 convolution of mobilenet_v2 and efficientnet; None is as published
            (mobilenet_v2: 1280 times width, at least 1280; efficientnet: 4 times those of the last stage).
        unstrided: how many of the first spatial reductions get stride 1, which small images need.
    """

    name: str
    width: float = 1.0
    depth: tuple[int, ...] = ()
    head: int | None = None
    unstrided: int = 2


def build_architecture(spec: ArchitectureSpec, *, num_classes: int, image_size: int, in_channels: int = 3) -> nn.Module:
    """The network of ``spec`` with fresh weights, drawn from torch's global generator.

    Shapes: images [b, in_channels, image_size, image_size] -> logits [b, num_classes].

    Raises:
        InputError: a field of ``spec`` cannot be used, or the package with the blocks is not installed.
    """
    _require_usable(spec)
    require_blocks(spec.name)
    model = _make(spec, num_classes)
    _take_channels(model, in_channels)
    with taking_images(spec.name, image_size):
        unstride(model, spec.unstrided, image_size, in_channels)
    return model


def require_blocks(name: str) -> None:
    """Make sure that the package with the blocks of an architecture is installed.

    Raises:
        InputError: it is not; a name that is unknown is left to ``build_architecture``.
    """
    package = PACKAGES.get(name, name.partition(":")[0])
    if package in PACKAGES.values():
        require_package(package, f"tasks.architecture: {name}")


def _make(spec: ArchitectureSpec, num_classes: int) -> nn.Module:
    if spec.name not in ARCHITECTURES:
        return make_external(spec.name, num_classes)
    depth = spec.depth or PUBLISHED_DEPTHS[spec.name]
    depth += (0,) * (len(PUBLISHED_DEPTHS[spec.name]) - len(depth))
    return ARCHITECTURES[spec.name](width=spec.width, depth=depth, head=spec.head, num_classes=num_classes)


def _require_usable(spec: ArchitectureSpec) -> None:
    if spec.name.partition(":")[0] in LIBRARIES and ":" in spec.name:
        return
    if spec.name not in ARCHITECTURES:
        raise _error("name", f"unknown architecture {spec.name!r}", ", ".join(ARCHITECTURES))
    if not spec.width > 0:
        raise _error("width", str(spec.width), "a number above 0")
    stages = MOST_STAGES.get(spec.name, len(PUBLISHED_DEPTHS[spec.name]))
    if len(spec.depth) > stages:
        raise _error("depth", f"{len(spec.depth)} stages", f"at most the {stages} stages of {spec.name}")
    if spec.depth and (min(spec.depth) < 0 or not any(spec.depth)):
        raise _error("depth", str(spec.depth), "blocks per stage, none below 0 and one above 0")
    if spec.head is not None and spec.name in HEADLESS:
        raise _error("head", str(spec.head), f"nothing: {spec.name} has no last 1x1 convolution")
    if spec.head is not None and spec.head < 1:
        raise _error("head", str(spec.head), "a whole number above 0")
    if spec.unstrided < 0:
        raise _error("unstrided", str(spec.unstrided), "a whole number, 0 or more")


def _error(key: str, found: str, accepted: str) -> InputError:
    return InputError(f"tasks.architecture.{key}", found, accepted=accepted)


def _take_channels(model: nn.Module, in_channels: int) -> None:
    """Fits the first convolution to the images: torchvision's classes take three channels only."""
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    if first.in_channels == in_channels:
        return
    first.in_channels = in_channels
    spread = float(first.weight.detach().std())  # all networks draw normal weights, each with a spread of its own
    first.weight = nn.Parameter(spread * torch.randn(first.out_channels, in_channels, *first.kernel_size))
