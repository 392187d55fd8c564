"""Oracles: the pixels that a mask of a known colour gives, and a network that finds what it is told to find."""

from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from evonas.tasks.detection.data import Scene, Scenes, target_of
from evonas.tasks.detection.pictures import mask_picture

BLUE, RED = (31, 119, 180), (214, 39, 40)  # the first and the fourth colour of matplotlib's tab10
SIDE = 32


def scenes(count: int) -> Scenes:
    """White scenes with an object of class 1 on the left half and a crowd of class 2 on the right edge."""
    masks = torch.zeros(2, SIDE, SIDE)
    masks[0, :, :16] = 1
    masks[1, :, 28:] = 1
    target = target_of(masks, torch.tensor([1, 2]), torch.tensor([0, 1]))
    return Scenes(count, lambda _: Scene(torch.ones(3, SIDE, SIDE), target))


class Finder(nn.Module):
    """Finds an object of class 4 on the upper half and, with a lower score, one of class 1 on the lower half."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, images: list[Tensor]) -> list[dict[str, Any]]:
        masks = torch.zeros(2, 1, SIDE, SIDE)
        masks[0, :, 16:], masks[1, :, :16] = 0.9, 0.9
        found = {
            "boxes": torch.tensor([[0.0, 16, SIDE, SIDE], [0.0, 0, SIDE, 16]]),
            "labels": torch.tensor([1, 4]),
            "scores": torch.tensor([0.3, 0.4]),
            "masks": masks,
        }
        return [found for _ in images]


def drawn(count: int) -> Any:
    png = mask_picture(scenes(count), ("one", "two", "three", "four"), Finder())
    with Image.open(BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def share(pixels: Any, colour: tuple[int, int, int]) -> float:
    """Share of pixels on which that colour lies, as 55 % of it over white."""
    expected = 255 * 0.45 + 0.55 * np.array(colour)
    return float((abs(pixels - expected) < 2).all(-1).mean())


def test_true_objects_are_above_and_the_likeliest_found_ones_below() -> None:
    picture = drawn(2)
    upper, lower = np.array_split(picture, 2)
    assert 0.3 < share(upper, BLUE) < 0.5  # half of the scenes, which have a margin
    assert 0.3 < share(lower, RED) < 0.5
    assert share(upper, RED) == share(lower, BLUE) == 0


def test_crowds_are_not_drawn() -> None:
    upper, _ = np.array_split(drawn(1), 2)
    assert share(upper, (255, 127, 14)) == 0


def test_a_picture_has_at_most_six_scenes_and_is_the_same_again() -> None:
    six, many = drawn(6), drawn(40)
    assert np.array_equal(six, many)
    assert drawn(1).shape[1] < six.shape[1]
