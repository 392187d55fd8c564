"""What tests of instance segmentation share: material of plain colours, and ``[data]`` of scenes."""

from typing import Any

import numpy as np
import pytest

from evonas.config import DataConfig
from evonas.tasks.data import DEBIAN_FASHION_MNIST
from evonas.tasks.detection.scenes import Material

needs_fashion_mnist = pytest.mark.skipif(
    not DEBIAN_FASHION_MNIST.is_dir(), reason="apt-get install dataset-fashion-mnist"
)


def section(**keys: Any) -> DataConfig:
    return DataConfig(name="garments", **keys)


def plain_material(count: int = 20, side: int = 64) -> Material:
    """Garments that are rectangles of one grey value each, and a black photograph."""
    rng = np.random.default_rng(0)
    garments = np.zeros((count, 28, 28), np.uint8)
    for garment in garments:
        top, left, height, width = rng.integers((0, 0, 10, 10), (9, 9, 19, 19))
        garment[top : top + height, left : left + width] = rng.integers(40, 256)
    return Material(garments, np.arange(count, dtype=np.int64) % 10, (np.zeros((side, side + 9, 3), np.uint8),))
