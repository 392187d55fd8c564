"""Registration of two images: pairs, warping by a displacement field, and how rough a field is."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from evonas.tasks.data import LabelledImages

_OUTSIDE = 2.0  # surely outside of an image, which reaches from -1 to 1


def pairs_of_one_class(images: LabelledImages, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Pairs of images with the same label, without end: a random image, and a random one of its class.

    Shapes: -> [batch_size, 2, h, w], the moving and the fixed image: the first channel of each.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = images.labels.cpu()
    order = labels.argsort(stable=True)
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    while True:
        fixed = torch.randint(len(labels), (batch_size,), generator=generator)
        label = labels[fixed]
        place = (torch.rand(batch_size, generator=generator, dtype=torch.float64) * counts[label]).long()
        chosen = torch.stack((order[starts[label] + place], fixed), dim=1)
        yield images.images[:, 0][chosen.to(images.images.device)]


def warp(images: Tensor, field: Tensor) -> Tensor:
    """Take each pixel from where the field points: output(p) = image(p + field(p)), linear in between.

    Beyond the border it is the border's value; where the field is not finite, so is the output.

    Shapes: images [n, c, h, w], field [n, 2, h, w] in pixels, channels (x, y) -> [n, c, h, w].
    """
    height, width = images.shape[-2:]
    identity = torch.eye(2, 3, device=field.device, dtype=field.dtype).expand(len(field), -1, -1)
    places = functional.affine_grid(identity, list(images.shape), align_corners=False)
    moved = places + field.movedim(1, -1) * field.new_tensor((2 / width, 2 / height))
    # the backward pass of grid_sample reads outside of memory at numbers that no integer holds
    moved = moved.nan_to_num().clamp(-_OUTSIDE, _OUTSIDE)
    warped = functional.grid_sample(images, moved, padding_mode="border", align_corners=False)
    return warped.masked_fill(~field.isfinite().all(1, keepdim=True), torch.nan)


def roughness(field: Tensor) -> Tensor:
    """Mean square of the differences between neighbours along both axes. Shapes: [..., 2, h, w] -> [...]."""
    along = (field.diff(dim=axis).square().mean((-3, -2, -1)) for axis in (-2, -1))
    return torch.stack(list(along)).mean(0)
