"""Mask R-CNN of torchvision's public classes, on a ResNet with a feature pyramid or on SpineNet.

Norms stand where the recipe of SpineNet's authors has them: in the backbone, in the pyramid, behind the convolutions of
the box head and behind those of the mask head. Networks are born with ``nn.BatchNorm2d`` and ``nn.ReLU`` there. The
head that proposes regions is torchvision's: one convolution without a norm, where the recipe has a norm.

Sources: He et al. 2017, "Mask R-CNN", arXiv:1703.06870; Du et al. 2020, "SpineNet", arXiv:1912.05027, and its released
code, ``models/official/detection`` of tensorflow/tpu.
"""

from dataclasses import dataclass

from torch import nn

from evonas.errors import InputError
from evonas.extras import import_package
from evonas.tasks.detection import resnet_fpn, spinenet
from evonas.tasks.detection.spinenet_graph import SCALINGS

PARTS = ("backbone", "roi_heads.box_head", "roi_heads.mask_head")
"""The submodules with places for layers, each of which ``torch.fx`` can trace; the network as a whole it cannot."""

MASKRCNNS = tuple(f"maskrcnn-{name}" for name in (*(f"{resnet}-fpn" for resnet in resnet_fpn.RESNETS), *SCALINGS))
"""The names that ``build_maskrcnn`` takes."""

_LINEAR = 1024  # channels of the box head's linear layer, or four times those of its convolutions if that is less
_RATIOS = (0.5, 1.0, 2.0)  # of an anchor's height to its width
_BOX, _MASK = 7, 14  # height and width of the maps that the two heads take
_LARGE = 512  # images of this many pixels a side are treated as the published recipes treat theirs


@dataclass(frozen=True, slots=True)
class Regions:
    """How many regions of an image are worked with.

    Attributes:
        before_nms: regions of each level before overlapping ones are dropped.
        after_nms: regions of an image after that; in evaluation the box head sees all of them.
        sampled: regions of an image that train the box head; a quarter may be objects, which train the mask head.
    """

    before_nms: int
    after_nms: int
    sampled: int


PUBLISHED = Regions(2000, 1000, 512)
SMALL = Regions(300, 100, 64)
"""For images below 512 pixels, with few objects: the heads would take nearly all of the time otherwise."""


@dataclass(frozen=True, slots=True)
class _Pyramid:
    """A backbone, and how regions are proposed and pooled on its maps.

    Attributes:
        network: gives maps by name.
        levels: of all its maps; at level l a map has 1 / 2^l of the image's height and width.
        pooled: names of the maps that regions are pooled from.
        anchor: side of an anchor in units of the map's stride.
        head: channels of the heads.
        convolutions: of each head.
    """

    network: nn.Module
    levels: tuple[int, ...]
    pooled: tuple[str, ...]
    anchor: int
    head: int
    convolutions: int


def build_maskrcnn(
    name: str,
    *,
    num_classes: int,
    image_size: int,
    width: float = 1.0,
    head: int | None = None,
    regions: Regions | None = None,
) -> nn.Module:
    """A Mask R-CNN with fresh weights, drawn from torch's global generator.

    Anchors have one size a level and three ratios of height to width. Their side is 8 strides of the level's map with a
    ResNet, 3 with SpineNet, 5 with SpineNet-190. The box head is four convolutions and a linear layer, the mask head
    four convolutions; SpineNet-190 has seven in each.

    Args:
        name: one of ``MASKRCNNS``.
        num_classes: classes of objects and one for the background, which is class 0.
        image_size: images are scaled to this many pixels on their longer side or, if square, on both.
        width: multiplier of the backbone's channels.
        head: channels of the pyramid's or SpineNet's last maps and of both heads; the linear layer has four times as
            many, at most 1024. None is as published.
        regions: how many regions are worked with. None is ``PUBLISHED`` for images of 512 pixels or more, ``SMALL``
            for others.

    Shapes: in training a list of images [3, h, w] in [0, 1] and one of targets (``boxes``, ``labels``, ``masks``) ->
    the losses by name; in evaluation a list of images -> boxes, labels, scores and masks of each.

    Raises:
        InputError: an unknown name, a number that cannot be, or torchvision is not installed.
    """
    where = f"tasks.architecture: {name}"
    _require_usable(name, num_classes, image_size, width, head)
    ops = import_package("torchvision.ops", where)
    faster = import_package("torchvision.models.detection.faster_rcnn", where)
    mask = import_package("torchvision.models.detection.mask_rcnn", where)
    anchors = import_package("torchvision.models.detection.anchor_utils", where)
    rpn = import_package("torchvision.models.detection.rpn", where)
    pyramid = _pyramid(name.removeprefix("maskrcnn-"), width, head, where)
    maps, own = pyramid.network.out_channels, [pyramid.head] * pyramid.convolutions
    linear = min(_LINEAR, 4 * pyramid.head)
    counts = regions or (PUBLISHED if image_size >= _LARGE else SMALL)
    network: nn.Module = mask.MaskRCNN(
        pyramid.network,
        min_size=image_size,
        max_size=image_size,
        size_divisible=2 ** max(pyramid.levels),
        rpn_anchor_generator=anchors.AnchorGenerator(
            tuple((pyramid.anchor * 2**level,) for level in pyramid.levels), (_RATIOS,) * len(pyramid.levels)
        ),
        rpn_head=rpn.RPNHead(maps, len(_RATIOS)),
        rpn_pre_nms_top_n_train=counts.before_nms,
        rpn_pre_nms_top_n_test=counts.before_nms,
        rpn_post_nms_top_n_train=counts.after_nms,
        rpn_post_nms_top_n_test=counts.after_nms,
        box_batch_size_per_image=counts.sampled,
        box_roi_pool=ops.MultiScaleRoIAlign([*pyramid.pooled], _BOX, sampling_ratio=2),
        box_head=faster.FastRCNNConvFCHead((maps, _BOX, _BOX), own, [linear], norm_layer=nn.BatchNorm2d),
        box_predictor=faster.FastRCNNPredictor(linear, num_classes),
        mask_roi_pool=ops.MultiScaleRoIAlign([*pyramid.pooled], _MASK, sampling_ratio=2),
        mask_head=mask.MaskRCNNHeads(maps, own, 1, norm_layer=nn.BatchNorm2d),
        mask_predictor=mask.MaskRCNNPredictor(own[-1], own[-1], num_classes),
    )
    return network


def _pyramid(backbone: str, width: float, head: int | None, where: str) -> _Pyramid:
    if backbone in SCALINGS:
        scaling = SCALINGS[backbone]
        network = spinenet.spinenet(backbone, width=width, channels=head, where=where)
        heads = head or scaling.head, scaling.convolutions
        return _Pyramid(network, spinenet.LEVELS, spinenet.OUTPUTS, scaling.anchor, *heads)
    own = head or 256
    resnet = resnet_fpn.resnet_fpn(backbone.removesuffix("-fpn"), width=width, channels=own, where=where)
    return _Pyramid(resnet, (2, 3, 4, 5, 6), resnet_fpn.MAPS, 8, own, 4)


def _require_usable(name: str, num_classes: int, image_size: int, width: float, head: int | None) -> None:
    if name not in MASKRCNNS:
        raise InputError("tasks.architecture", f"unknown network {name!r}", accepted=", ".join(MASKRCNNS))
    if num_classes < 2:
        raise InputError("num_classes", str(num_classes), accepted="2 or more: the background is one")
    if image_size < 1:
        raise InputError("image_size", str(image_size), accepted="1 or more pixels")
    if not width > 0:
        raise InputError("tasks.width", str(width), accepted="a number above 0")
    if head is not None and head < 1:
        raise InputError("tasks.head", str(head), accepted="a whole number above 0")
