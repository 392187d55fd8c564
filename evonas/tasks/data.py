"""Labelled images: readers of real data sets, and the split a search may look at.

A search sees training images only: part of them trains, part validates. Test images have their own door
(``data.score_on = "test"``), which no search opens.
"""

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.extras import import_package
from evonas.limits import MOST_CLASSES, memory
from evonas.reading import read_regular, read_up_to
from evonas.tasks.arrays import read_arrays

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
SPLIT_SEED = 0  # the split is part of the data, not of a run: all runs share it

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelledImages:
    """Normalized images [n, 3, h, w] float32 and labels [n] int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "LabelledImages":
        """The same on a device."""
        return LabelledImages(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True)
class Preparation:
    """How uint8 images become network inputs: pooling to ``size``, then (x - mean) / std per channel."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Images) -> Tensor:
        """[n, h, w, c] uint8 -> [n, 3, size, size] float32; grey images are repeated to three channels."""
        return self.normalized(_pooled(images, self.size))

    def normalized(self, pixels: Tensor) -> Tensor:
        """Pixels [n, c, h, w] in [0, 1] as network inputs [n, 3, h, w]."""
        mean, std = self._statistics(pixels)
        return ((pixels - mean) / std).expand(-1, 3, -1, -1).contiguous()

    def pixels(self, inputs: Tensor) -> Tensor:
        """The pixels in [0, 1] of network inputs."""
        mean, std = self._statistics(inputs)
        return inputs * std + mean

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(v, device=like.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
        return mean, std


@dataclass(frozen=True, slots=True)
class ImageData:
    """Images to train on, and images that give the scores: of the training split, or test images for a comparison."""

    name: str
    train: LabelledImages
    scoring: LabelledImages
    num_classes: int
    preparation: Preparation

    @property
    def image_size(self) -> int:
        """The shorter side of the images."""
        return min(self.train.images.shape[-2:])

    def to(self, device: torch.device) -> "ImageData":
        """The same on a device."""
        return replace(self, train=self.train.to(device), scoring=self.scoring.to(device))


def load_images(config: DataConfig) -> ImageData:
    """The training split of a data set, cut into training and validation images; test images score if asked for.

    The training images, and the statistics that normalize all images, are the same whichever images score.

    Raises:
        InputError: the data are not there, there are fewer images than asked for, or test images are of another shape.
    """
    images, labels = load_arrays(config)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    validation = config.validation or max(1, len(labels) // 5)
    train = config.train or max(0, len(labels) - validation)
    if validation + train > len(labels) or train < 1:
        found = f"{train} training and {validation} validation images wanted, {len(labels)} there"
        raise InputError("data.train, data.validation", found, remedy="ask for fewer images")
    side = config.size or min(images.shape[1:3])
    if config.crop > side:
        raise InputError("data.crop", str(config.crop), accepted=f"up to the image size {side}")
    chosen = {"validation": order[:validation], "train": order[validation : validation + train]}
    pooled = _pooled(images[chosen["train"]], config.size)
    std, mean = torch.std_mean(pooled, dim=(0, 2, 3), correction=0)
    blank = pooled.amax((0, 2, 3)) == pooled.amin((0, 2, 3))
    std = torch.where(blank, 1.0, std)
    preparation = Preparation(config.size, tuple(mean.tolist()), tuple(std.tolist()))
    train_part, scoring_part = ((images[index], labels[index]) for index in (chosen["train"], chosen["validation"]))
    if config.score_on == "test":
        scoring_part = _test_part(config, images)
    trained, scoring = (LabelledImages(preparation(x), torch.from_numpy(y)) for x, y in (train_part, scoring_part))
    return ImageData(config.name, trained, scoring, int(labels.max()) + 1, preparation)


def _test_part(config: DataConfig, like: Images) -> tuple[Images, Labels]:
    images, labels = load_arrays(config, test=True)
    if images.shape[1:] != like.shape[1:] or not len(images):
        found = f"test images {list(images.shape)}, training images {list(like.shape)}"
        raise InputError("data.score_on", found, accepted="test images of the training images' shape")
    return images, labels


def load_arrays(config: DataConfig, *, test: bool = False) -> tuple[Images, Labels]:
    """All images [n, h, w, c] uint8 and labels [n] int64 of the training or the test split, as they are on disk.

    Raises:
        InputError: naming the file or package that is missing and how to get it, or what is wrong with the arrays.
    """
    if config.has_scenes:
        accepted = "digits, fashion_mnist, cifar10 or npz for this network"
        raise InputError("data.name", f"{config.name} are scenes with objects", accepted=accepted)
    readers = {"digits": _digits, "fashion_mnist": _fashion_mnist, "cifar10": _cifar10, "npz": _npz}
    images, labels = readers[config.name](config.path, test)
    _require_labelled_images(f"data.path: {config.path or config.name}", images, labels)
    if images.ndim == 3:
        images = images[..., None]
    return images, labels.reshape(-1).astype(np.int64)


def _require_labelled_images(where: str, images: NDArray[Any], labels: NDArray[Any]) -> None:
    colours = images.shape[3] if images.ndim == 4 else 1
    usable = images.dtype == np.uint8 and images.ndim in (3, 4) and colours in (1, 3) and min(images.shape[1:3]) > 0
    if not usable or labels.size != len(images):
        found = f"{images.dtype}{list(images.shape)} images, {labels.size} labels"
        raise InputError(where, found, accepted="uint8 [n, h, w] or [n, h, w, 1 or 3], and one label each")
    if labels.dtype.kind not in "iu" or (labels.size and labels.min() < 0):
        least = f" from {labels.min()}" if labels.dtype.kind in "iu" else ""
        raise InputError(where, f"{labels.dtype} labels{least}", accepted="whole numbers from 0")
    if labels.size and labels.max() >= MOST_CLASSES:
        raise InputError(where, f"a label {labels.max()}", accepted=f"labels below {MOST_CLASSES}")


def image_batches(
    data: LabelledImages, batch_size: int, seed: int, *, crop: int = 0, flip: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches without end: each epoch a fresh permutation, an incomplete last batch dropped."""
    generator = torch.Generator().manual_seed(seed)
    size = min(batch_size, len(data))
    while True:
        order = torch.randperm(len(data), generator=generator)
        for start in range(0, len(data) - size + 1, size):
            index = order[start : start + size]
            images = data.images[index.to(data.images.device)]
            images = _augmented(images, generator, crop=crop, flip=flip)
            yield images, data.labels[index.to(data.labels.device)]


def _augmented(images: Tensor, generator: torch.Generator, *, crop: int, flip: bool) -> Tensor:
    count, _, height, width = images.shape
    if crop:
        top = torch.randint(height - crop + 1, (count,), generator=generator)
        left = torch.randint(width - crop + 1, (count,), generator=generator)
        rows, columns = (start[:, None] + torch.arange(crop) for start in (top, left))
        sample = torch.arange(count)[:, None, None]
        images = images.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if flip:
        turned = torch.rand(count, generator=generator) < 0.5
        images = torch.where(turned.to(images.device)[:, None, None, None], images.flip(3), images)
    return images.contiguous()


def _pooled(images: Images, size: int) -> Tensor:
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return functional.adaptive_avg_pool2d(x, size) if size and (size, size) != x.shape[-2:] else x


def _digits(path: str, test: bool) -> tuple[Images, NDArray[Any]]:
    if path:
        remedy = "data.name = 'npz' reads a file"
        raise InputError("data.path", path, accepted="no path: digits come with scikit-learn", remedy=remedy)
    from sklearn.datasets import load_digits  # slow to import, and other data sets do not need it

    digits = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(digits.target))
    part = order[:360] if test else order[360:]  # the set comes without a split: a fifth is kept for tests
    return np.round(digits.images[part] * (255 / 16)).astype(np.uint8), digits.target[part]


def _npz(path: str, test: bool) -> tuple[Images, NDArray[Any]]:
    keys = ("x_test", "y_test") if test else ("x_train", "y_train")
    if not path:
        raise InputError(
            "data.path", "is empty", accepted="the path of an .npz file with x_train, y_train, x_test, y_test"
        )
    if not os.path.exists(path):
        remedy = "give the path of the .npz file, e.g. by --set data.path=FILE.npz"
        raise InputError("data.path", f"no such file: {path}", remedy=remedy)
    images, labels = read_arrays(path, f"data.path: {path}", keys)
    return images, labels


def _fashion_mnist(path: str, test: bool) -> tuple[Images, NDArray[Any]]:
    prefix = "t10k" if test else "train"
    names = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    places = [Path(path), Path(path) / "FashionMNIST" / "raw"] if path else [DEBIAN_FASHION_MNIST]
    for place in places:
        files = [next((f for f in (place / n, place / f"{n}.gz") if f.is_file()), None) for n in names]
        if all(files):
            images, labels = (_read_idx(f) for f in files if f is not None)
            return images, labels
    remedy = (
        "on Debian: apt-get install dataset-fashion-mnist; elsewhere: "
        "torchvision.datasets.FashionMNIST('data', download=True) and data.path = 'data'"
    )
    raise InputError("data.path", f"no Fashion-MNIST files in {places[0]}", remedy=remedy)


def _read_idx(path: Path) -> NDArray[np.uint8]:
    wrong = InputError(f"data.path: {path}", "is not an IDX file of bytes")
    try:
        raw = read_regular(path)
        if path.suffix == ".gz":
            with gzip.open(io.BytesIO(raw)) as packed:
                raw = read_up_to(packed.read, memory())
        if raw[:3] != b"\x00\x00\x08":
            raise wrong
        shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy()
    except (ValueError, IndexError, OSError, EOFError, MemoryError, zlib.error):  # cut short, or not what its name says
        raise wrong from None


def _cifar10(path: str, test: bool) -> tuple[Images, NDArray[Any]]:
    root, datasets = path or "data", import_package("torchvision.datasets", "data.name: cifar10")
    try:
        data = datasets.CIFAR10(root, train=not test, download=False)
    except RuntimeError:
        remedy = f"torchvision.datasets.CIFAR10({root!r}, download=True), or data.name = 'npz' with data.path"
        raise InputError("data.path", f"no CIFAR-10 files in {root}", remedy=remedy) from None
    return data.data, np.asarray(data.targets)
