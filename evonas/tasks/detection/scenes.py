"""Garment scenes: real garments pasted on real photographs, so that every mask is known exactly.

Garments are those of Fashion-MNIST, photographs those that come with scikit-learn and scikit-image. Training,
validation and test scenes share neither garments nor photographs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from evonas.config import DataConfig
from evonas.extras import import_package
from evonas.seeding import derive_seed
from evonas.tasks.data import SPLIT_SEED, load_arrays
from evonas.tasks.detection.data import Scene, SceneData, Scenes, target_of

GARMENTS = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
PHOTOGRAPHS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "train": ("china", "astronaut", "coffee", "rocket", "hubble_deep_field", "brick", "grass", "camera"),
        "validation": ("chelsea", "immunohistochemistry", "gravel", "clock"),
        "test": ("flower", "retina", "stereo_motorcycle", "coins"),
    }
)
COUNTS = {"train": 2000, "validation": 200}
VALIDATION_GARMENTS = 10_000  # of the 60,000 training images of Fashion-MNIST
_WHERE = "data.name: garments"

# a garment's mask
_DARK = 8  # grey values up to this one are background
# what is pasted
_FEWEST, _MOST = 2, 5  # garments of a scene
_SMALLEST, _LARGEST = 0.22, 0.5  # side of a garment, of the side of the scene
_SHADE = 0.25  # brightness that the tint gives to the darkest pixel of a garment
_VISIBLE = 1 / 3  # share of each garment that later ones must leave to be seen
_TRIES = 8  # places that are tried for a garment before it is left out

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Material:
    """What scenes of one split are made of.

    Attributes:
        garments: [n, 28, 28] grey values.
        labels: [n] classes from 0.
        photographs: [h, w, 3] each.
    """

    garments: Bytes
    labels: NDArray[np.int64]
    photographs: tuple[Bytes, ...]


def load_garments(section: DataConfig, size: int) -> SceneData:
    """Garment scenes of a size: ``section.train`` to train on, ``section.validation`` to score on.

    Scene number i of a split is drawn from a stream of its own, so it is the same in every run and process. The
    scenes that are trained on are the same whichever split scores.

    Raises:
        InputError: Fashion-MNIST or scikit-image is missing.
    """
    scoring = "test" if section.score_on == "test" else "validation"
    splits = {
        split: Scenes(count or COUNTS[role], partial(numbered_scene, material(section.path, split), size, split))
        for role, split, count in (("train", "train", section.train), ("validation", scoring, section.validation))
    }
    return SceneData(section.name, GARMENTS, size, splits["train"], splits[scoring])


@cache
def material(path: str, split: str) -> Material:
    """The garments and photographs of the split ``train``, ``validation`` or ``test``.

    Args:
        path: folder of Fashion-MNIST; empty for the place of Debian's package.
        split: which one.

    Raises:
        InputError: Fashion-MNIST or scikit-image is missing.
    """
    images, labels = load_arrays(DataConfig(name="fashion_mnist", path=path), test=split == "test")
    if split != "test":
        order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
        part = order[:VALIDATION_GARMENTS] if split == "validation" else order[VALIDATION_GARMENTS:]
        images, labels = images[part], labels[part]
    return Material(images[..., 0], labels, tuple(map(_photograph, PHOTOGRAPHS[split])))


def _photograph(name: str) -> Bytes:
    """A photograph by its name in scikit-learn or scikit-image, with three channels."""
    if name in ("china", "flower"):
        from sklearn.datasets import load_sample_image  # slow to import, and other data do not need it

        pixels: Any = load_sample_image(f"{name}.jpg")
    else:
        pixels = getattr(import_package("skimage.data", _WHERE), name)()
        pixels = pixels[0] if isinstance(pixels, tuple) else pixels  # a pair of stereo images: the left one
    return np.array(np.broadcast_to(pixels[..., None], (*pixels.shape, 3)) if pixels.ndim == 2 else pixels, np.uint8)


def numbered_scene(source: Material, size: int, split: str, number: int) -> Scene:
    """Scene ``number`` of a split."""
    return garment_scene(source, size, np.random.default_rng(derive_seed(SPLIT_SEED, split, number)))


def garment_scene(source: Material, size: int, rng: np.random.Generator) -> Scene:
    """A window of a photograph with 2 to 5 garments, each tinted and resized; later ones may cover earlier ones.

    No garment is covered by more than two thirds, so every pixel that was pasted and is still seen belongs to a mask.

    Args:
        source: garments and photographs.
        size: height and width of the scene.
        rng: where all choices come from.
    """
    image = _window(source.photographs[rng.integers(len(source.photographs))], size, rng)
    owners = torch.zeros((size, size), dtype=torch.int64)  # number of the garment that is seen, from 1; 0 where none is
    labels: list[int] = []
    whole: list[int] = []  # pixels that each garment has, seen or not
    for _ in range(rng.integers(_FEWEST, _MOST + 1)):
        index = int(rng.integers(len(source.garments)))
        mask, pixels = _cut_out(source.garments[index], size, rng)
        placed = _place(owners, mask, whole, rng)
        if placed is None:
            continue
        owners, (top, left) = placed
        region = image[:, top : top + len(mask), left : left + len(mask)]
        region.copy_(torch.where(mask, pixels, region))
        labels.append(int(source.labels[index]) + 1)
        whole.append(int(mask.sum()))
    masks = owners == torch.arange(1, len(labels) + 1)[:, None, None]
    return Scene(image, target_of(masks, torch.tensor(labels)))


def _place(
    owners: Tensor, mask: Tensor, whole: list[int], rng: np.random.Generator
) -> tuple[Tensor, tuple[int, int]] | None:
    """Who is seen where after a garment was put at a random place, and the place; None if each hid too much."""
    side = len(mask)
    for _ in range(_TRIES):
        top, left = (int(v) for v in rng.integers(0, len(owners) - side + 1, 2))
        after = owners.clone()
        after[top : top + side, left : left + side][mask] = len(whole) + 1
        seen = torch.bincount(after.flatten(), minlength=len(whole) + 2)[1:-1]
        if all(int(n) >= _VISIBLE * of for n, of in zip(seen, whole, strict=True)):
            return after, (top, left)
    return None


def _window(photograph: Bytes, size: int, rng: np.random.Generator) -> Tensor:
    """A square window [3, size, size] at up to half the photograph's resolution, perhaps mirrored."""
    height, width = photograph.shape[:2]
    shorter = min(height, width)
    side = int(rng.integers(min(size, shorter), min(2 * size, shorter) + 1))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    window = torch.from_numpy(photograph[top : top + side, left : left + side].transpose(2, 0, 1).copy()).float() / 255
    window = window.flip(2) if rng.random() < 0.5 else window
    return _resized(window, size).clamp(0, 1)


def _cut_out(garment: Bytes, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A garment at a random size: its mask [s, s] and its tinted pixels [3, s, s]."""
    side = max(2, round(size * rng.uniform(_SMALLEST, _LARGEST)))
    tint = torch.from_numpy(rng.uniform(0.2, 1, 3)).float()[:, None, None]
    layers = torch.from_numpy(np.stack((garment / 255, silhouette(garment)))).float()
    grey, mask = _resized(layers.flip(2) if rng.random() < 0.5 else layers, side).clamp(0, 1)
    return mask > 0.5, (_SHADE + (1 - _SHADE) * grey) * tint


def silhouette(garment: Bytes) -> NDArray[np.bool_]:
    """Where a garment is: the largest connected part that is not dark, with its holes filled."""
    parts, count = ndimage.label(garment > _DARK)
    if count > 1:
        parts = parts == 1 + np.argmax(np.bincount(parts.flat)[1:])
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(parts)
    return filled


def _resized(layers: Tensor, side: int) -> Tensor:
    return functional.interpolate(layers[None], (side, side), mode="bilinear", antialias=True, align_corners=False)[0]
