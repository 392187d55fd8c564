"""Corrupted scoring images.

Oracles: moments of the noise; scipy's Gaussian filter; the weights of grey in ITU-R BT.601 for the contrast; a network
that classifies by what it sees in one pixel, computed by numpy.
"""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from evonas import config
from evonas.tasks import from_config, shift
from evonas.tasks.data import ImageData, LabelledImages, Preparation
from evonas.tasks.from_config import tasks_from_config

pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

CPU = torch.device("cpu")
GREY = np.array([0.299, 0.587, 0.114])


def pixels(count: int = 6, side: int = 16) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.rand((count, 3, side, side), generator=draw)


def prepared(images: NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...]) -> ImageData:
    preparation = Preparation(0, mean, std)
    part = LabelledImages(preparation(images), torch.arange(len(images)) % 2)
    return ImageData("made", part, part, 2, preparation)


def test_noise_has_its_size_and_stays_within_black_and_white() -> None:
    grey = torch.full((50, 3, 16, 16), 0.5)
    found = shift.noisy(grey) - grey
    inside = found[found.abs() < 0.5]
    # of N(0, 0.2) cut off at 2.5 standard deviations
    z, density = 2.5, math.exp(-(2.5**2) / 2) / math.sqrt(2 * math.pi)
    expected = 0.2 * math.sqrt(1 - 2 * z * density / math.erf(z / math.sqrt(2)))
    assert inside.std().item() == pytest.approx(expected, rel=0.02)
    assert abs(inside.mean().item()) < 0.005
    assert shift.noisy(pixels()).min() == 0
    assert shift.noisy(pixels()).max() == 1
    assert found[:, 0].sub(found[:, 1]).std() > 0.2  # every channel has its own


@pytest.mark.parametrize("side", [8, 16, 32])
def test_blur_is_a_gaussian_of_a_sixteenth_of_the_side(side: int) -> None:
    images = pixels(2, side)
    expected = gaussian_filter(
        images.numpy().astype(np.float64), (0, 0, side / 16, side / 16), mode="mirror", truncate=2
    )
    np.testing.assert_allclose(shift.blurred(images).numpy(), expected, atol=2e-6)


def test_images_of_one_pixel_have_nothing_to_blur() -> None:
    torch.testing.assert_close(shift.blurred(pixels(2, 1)), pixels(2, 1))


def test_contrast_is_halved_around_the_mean_grey_of_each_image() -> None:
    images = pixels().numpy().astype(np.float64)
    grey = np.einsum("bchw,c->bhw", images, GREY).mean((1, 2))[:, None, None, None]
    np.testing.assert_allclose(shift.faded(pixels()).numpy(), (images + grey) / 2, atol=1e-3)  # weights of 4 digits


def test_pixels_are_corrupted_before_they_are_normalized() -> None:
    """Back in pixels, corrupted images are those of the corruptions of the pixels themselves."""
    raw = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    mean, std = (0.5, 0.25, 0.4), (0.2, 0.1, 0.3)
    plain = torch.from_numpy(raw).permute(0, 3, 1, 2).float() / 255
    for found, corrupt in zip(shift.corrupted(prepared(raw, mean, std)), shift.CORRUPTIONS.values(), strict=True):
        expected = (corrupt(plain) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        torch.testing.assert_close(found.images, expected, atol=2e-5, rtol=1e-4)
        assert found.labels.tolist() == [0, 1, 0, 1, 0]


def test_grey_images_stay_grey() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)
    for found in shift.corrupted(prepared(raw, (0.5,), (0.2,))):
        assert found.images.shape == (5, 3, 8, 8)
        assert torch.equal(found.images[:, 0], found.images[:, 2])


def test_corruptions_are_always_the_same_and_leave_the_generators_alone() -> None:
    data = prepared(np.full((4, 8, 8, 3), 100, np.uint8), (0.0,) * 3, (1.0,) * 3)
    first = shift.corrupted(data)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    again = shift.corrupted(data)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one.images, other.images) for one, other in zip(first, again, strict=True))


class FirstPixel(nn.Module):
    """Says class 1 where the first channel of the first pixel is above a half."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([torch.full_like(x[:, 0, 0, 0], 0.5), x[:, 0, 0, 0]], 1)


def test_the_score_is_the_mean_over_the_corruptions() -> None:
    raw = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    parts = shift.corrupted(prepared(raw, (0.0,) * 3, (1.0,) * 3))
    expected = [np.mean((p.images[:, 0, 0, 0].numpy() > 0.5) == (np.arange(40) % 2)) for p in parts]
    assert len(set(expected)) > 1
    assert shift.mean_accuracy(parts, FirstPixel()) == pytest.approx(np.mean(expected))


def test_images_are_corrupted_once_and_only_where_a_search_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    calls = []
    monkeypatch.setattr(from_config, "corrupted", lambda data: calls.append(len(data.scoring)) or shift.corrupted(data))
    settings = config.load_search("search_spaces/tiny.toml")
    assert [task.shifted for task in tasks_from_config(settings, CPU)] == [None, None]
    assert not calls
    first, second = tasks_from_config(config.load_search("search_spaces/tiny.toml", ["objectives.shift=true"]), CPU)
    assert first.shifted is not None
    assert second.shifted is None
    network = first.build(1)
    assert first.shifted(network) == first.shifted(network)
    assert calls == [100]
