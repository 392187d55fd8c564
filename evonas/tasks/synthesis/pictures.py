"""Generated images as one picture."""

from io import BytesIO

import torch
from matplotlib.image import imsave
from torch import Tensor

GAP, LEAST = 2, 64  # pixels: between images, and the least side of one


def image_grid(rows: Tensor) -> bytes:
    """Images in rows and columns on white, as a PNG file; small images are enlarged by repeating their pixels.

    Args:
        rows: [rows, columns, 3, h, w] in [-1, 1].
    """
    factor = max(1, LEAST // rows.shape[-1])
    pixels = ((rows.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    for axis in (3, 4):
        pixels = pixels.repeat_interleave(factor, axis)
    count, columns, channels, height, width = pixels.shape
    framed = pixels.new_full((count, columns, channels, height + GAP, width + GAP), 255)
    framed[..., :height, :width] = pixels
    picture = framed.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)[:-GAP, :-GAP]
    stream = BytesIO()
    # no metadata: it names the version of matplotlib, and equal images should give equal files
    imsave(stream, picture.numpy(), format="png", metadata={"Software": None})  # type: ignore[dict-item]
    return stream.getvalue()
