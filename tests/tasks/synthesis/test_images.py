"""Oracles: the pixels before the normalization, and a PNG file read by Pillow."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.tasks.data import load_arrays, load_images
from evonas.tasks.synthesis.images import signed
from evonas.tasks.synthesis.pictures import GAP, image_grid


def test_black_is_minus_one_and_white_is_one() -> None:
    section = DataConfig(name="digits", train=40, validation=20)
    images, (pixels, _) = load_images(section), load_arrays(section)
    found = signed(images.train, images.preparation, 8)
    assert torch.equal(found.labels, images.train.labels)
    assert found.images.shape == (40, 3, 8, 8)
    restored = ((found.images[:, 0] + 1) * 127.5).round().to(torch.uint8).numpy()
    known = {image.tobytes() for image in pixels[..., 0]}
    assert all(image.tobytes() in known for image in restored)
    assert found.images.min() == -1
    assert found.images.max() == pytest.approx(1)


def test_images_that_are_a_little_too_small_get_a_black_frame() -> None:
    section = DataConfig(name="digits", train=40, validation=20)
    images = load_images(section)
    plain, framed = (signed(images.train, images.preparation, size).images for size in (8, 11))
    assert torch.equal(framed[:, :, 1:9, 1:9], plain)
    frame = torch.ones(11, 11, dtype=torch.bool)
    frame[1:9, 1:9] = False
    assert (framed[:, :, frame] == -1).all()


@pytest.mark.parametrize("resolution", [7, 16])
def test_images_of_quite_another_size_are_refused(resolution: int) -> None:
    images = load_images(DataConfig(name="digits", train=40, validation=20))
    with pytest.raises(InputError, match=rf"data\.size: images of 8 x 8 .* set data\.size = {resolution}"):
        signed(images.train, images.preparation, resolution)


def test_the_grid_has_a_row_for_each_class() -> None:
    values = torch.linspace(-1, 1, 6).view(2, 3, 1, 1, 1).expand(2, 3, 3, 32, 32)
    picture = np.asarray(Image.open(BytesIO(image_grid(values))).convert("RGB"))
    assert picture.shape == (2 * (64 + GAP) - GAP, 3 * (64 + GAP) - GAP, 3)
    for row in range(2):
        for column in range(3):
            top, left = row * (64 + GAP), column * (64 + GAP)
            cell = picture[top : top + 64, left : left + 64]
            assert (cell == round((float(values[row, column, 0, 0, 0]) + 1) * 127.5)).all()
    assert (picture[64 : 64 + GAP] == 255).all()


def test_colours_and_places_of_pixels_are_kept() -> None:
    image = torch.full((1, 1, 3, 64, 64), -1.0)
    image[0, 0, 0, 10, 20] = 1.0  # red, in row 10 and column 20
    picture = np.asarray(Image.open(BytesIO(image_grid(image))).convert("RGB"))
    assert picture.shape == (64, 64, 3)
    assert picture[10, 20].tolist() == [255, 0, 0]
    assert picture.sum() == 255


def test_equal_images_give_equal_files() -> None:
    images = torch.rand(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert image_grid(images) == image_grid(images.clone())
