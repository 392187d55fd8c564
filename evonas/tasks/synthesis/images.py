"""Real images as the discriminator sees them: pixels in [-1, 1], at the resolution of the networks."""

from torch import Tensor
from torch.nn import functional

from evonas.errors import InputError
from evonas.tasks.data import LabelledImages, Preparation


def signed(images: LabelledImages, preparation: Preparation, resolution: int) -> LabelledImages:
    """The same images with black at -1 and white at 1; those that are a little too small get a black frame.

    Args:
        images: normalized by ``preparation``.
        preparation: how they were normalized.
        resolution: their height and width afterwards.

    Raises:
        InputError: they are larger, or smaller than half.
    """
    height, width = images.images.shape[-2:]
    if not all(resolution < 2 * side and side <= resolution for side in (height, width)):
        found = f"images of {height} x {width} pixels for networks of {resolution} x {resolution}"
        raise InputError("data.size", found, remedy=f"set data.size = {resolution}")
    pixels = (preparation.pixels(images.images) * 2 - 1).clamp(-1, 1)
    return LabelledImages(_framed(pixels, resolution), images.labels)


def _framed(images: Tensor, resolution: int) -> Tensor:
    height, width = images.shape[-2:]
    top, left = (resolution - height) // 2, (resolution - width) // 2
    frame = (left, resolution - width - left, top, resolution - height - top)
    return functional.pad(images, frame, value=-1.0)
