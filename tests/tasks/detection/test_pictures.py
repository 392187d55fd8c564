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
    """Finds an object of class 4 on the upper half with a given score."""

    def __init__(self, score: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.score = score

    def forward(self, images: list[Tensor]) -> list[dict[str, Any]]:
        mask = torch.zeros(1, 1, SIDE, SIDE)
        mask[..., :16, :] = 0.9
        found = {
            "boxes": torch.tensor([[0.0, 0, SIDE, 16]]),
            "labels": torch.tensor([4]),
            "scores": torch.tensor([self.score]),
            "masks": mask,
        }
        return [found for _ in images]


def drawn(count: int, score: float) -> Any:
    png = mask_picture(scenes(count), ("one", "two", "three", "four"), Finder(score))
    with Image.open(BytesIO(png)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def share(pixels: Any, colour: tuple[int, int, int]) -> float:
    """Share of pixels on which that colour lies, as 55 % of it over white."""
    expected = 255 * 0.45 + 0.55 * np.array(colour)
    return float((abs(pixels - expected) < 2).all(-1).mean())


def test_true_objects_are_above_and_found_ones_below() -> None:
    picture = drawn(2, 0.9)
    upper, lower = np.array_split(picture, 2)
    assert 0.3 < share(upper, BLUE) < 0.5  # half of the scenes, which have a margin
    assert 0.3 < share(lower, RED) < 0.5
    assert share(upper, RED) == share(lower, BLUE) == 0


def test_crowds_and_unsure_predictions_are_not_drawn() -> None:
    upper, lower = np.array_split(drawn(1, 0.4), 2)
    assert share(upper, (255, 127, 14)) == 0
    assert share(lower, RED) == 0


def test_a_picture_has_at_most_six_scenes_and_is_the_same_again() -> None:
    six, many = drawn(6, 0.9), drawn(40, 0.9)
    assert np.array_equal(six, many)
    assert drawn(1, 0.9).shape[1] < six.shape[1]
