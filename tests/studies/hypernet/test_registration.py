"""Oracles: shifts of whole pixels by ``torch.roll``, scipy's interpolation, numpy's differences."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from evonas.studies.hypernet.registration import pairs_of_one_class, roughness, warp
from evonas.tasks.data import LabelledImages


def test_a_field_of_zeros_changes_nothing() -> None:
    images = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(warp(images, torch.zeros(2, 2, 5, 7)), images)


def test_a_field_of_whole_pixels_shifts() -> None:
    images = torch.rand(1, 1, 6, 8)
    field = torch.zeros(1, 2, 6, 8)
    field[:, 0], field[:, 1] = 2, -1  # from two pixels to the right, one pixel up
    expected = images.roll((-2, 1), (3, 2))
    torch.testing.assert_close(warp(images, field)[..., 1:, :-2], expected[..., 1:, :-2])


def test_in_between_it_interpolates_linearly_and_repeats_the_border() -> None:
    draw = torch.Generator().manual_seed(0)
    image, field = torch.rand((6, 8), generator=draw), 3 * torch.randn((2, 6, 8), generator=draw)
    rows, columns = np.mgrid[:6, :8]
    places = [rows + field[1].numpy(), columns + field[0].numpy()]
    expected = scipy.ndimage.map_coordinates(image.numpy(), places, order=1, mode="nearest")
    np.testing.assert_allclose(warp(image[None, None], field[None])[0, 0], expected, atol=1e-5)


def test_roughness_is_the_mean_square_of_differences() -> None:
    field = torch.rand(3, 4, 2, 5, 6)
    numbers = field.numpy()
    expected = [(np.diff(numbers, axis=axis) ** 2).mean((-3, -2, -1)) for axis in (-2, -1)]
    np.testing.assert_allclose(roughness(field), np.mean(expected, axis=0), rtol=1e-5)
    assert roughness(torch.ones(2, 5, 6)) == 0


def test_pairs_are_of_one_class_all_images_come_up_and_the_seed_decides() -> None:
    labels = torch.tensor([2, 0, 1, 0, 2, 2, 0])
    numbers = torch.arange(7.0)
    images = LabelledImages(numbers.view(7, 1, 1, 1).expand(7, 3, 2, 2), labels)
    one, again, other = (pairs_of_one_class(images, 50, seed) for seed in (0, 0, 1))
    pairs = next(one)
    assert pairs.shape == (50, 2, 2, 2)
    moving, fixed = pairs[:, :, 0, 0].long().T
    assert torch.equal(labels[moving], labels[fixed])
    assert set(moving.tolist()) == set(fixed.tolist()) == set(range(7))
    assert torch.equal(next(again), pairs)
    assert not torch.equal(next(other), pairs)
    assert not torch.equal(next(one), pairs)


@pytest.mark.parametrize("far", [1e9, -3e9, 1e30, math.inf, -math.inf, math.nan])
def test_a_field_that_points_nowhere_is_survived(far: float) -> None:
    images = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    field = torch.zeros(8, 2, 6, 6).index_fill(0, torch.tensor([3]), far).requires_grad_()
    warped = warp(images, field)
    warped.square().sum().backward()  # torch alone reads outside of memory here
    torch.testing.assert_close(warped[:3], images[:3])
    if math.isfinite(far):
        corner = images[3, :, -1, -1] if far > 0 else images[3, :, 0, 0]
        torch.testing.assert_close(warped[3], corner.expand_as(warped[3]))
        assert not field.grad[3].any()
    else:
        assert warped[3].isnan().all()
