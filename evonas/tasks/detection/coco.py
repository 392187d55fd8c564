"""A folder in COCO's format as scenes.

It holds ``annotations/instances_train*.json`` and ``annotations/instances_val*.json`` with the images in folders of the
same names, ``train*`` and ``val*``, by themselves or in ``images``; or a single annotation file, here or in
``annotations``, with the images beside it or in ``images``. A ``test`` split is like the others.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.tasks.data import SPLIT_SEED
from evonas.tasks.detection.annotations import AnnotatedImage, read_annotations
from evonas.tasks.detection.data import Scene, SceneData, Scenes, target_of

_PADDING = (124, 116, 104)  # mean colour of ImageNet, which torchvision's detectors subtract
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for broken files


class DataWarning(UserWarning):
    """Some of what a user's data hold is left out."""


@dataclass(frozen=True, slots=True)
class Split:
    """Images of one annotation file.

    Attributes:
        file: the annotation file.
        classes: names of the classes.
        images: each with the file that it is in.
    """

    file: Path
    classes: tuple[str, ...]
    images: tuple[tuple[Path, AnnotatedImage], ...]


def load_coco(section: DataConfig, size: int) -> SceneData:
    """Scenes of the folder ``section.path``, scaled to ``size`` on their longer side and padded to squares.

    The images of ``train`` train and those of ``val`` score; ``section.train`` and ``section.validation`` say how many
    of them, 0 all. In a folder without ``val`` a fifth of the training images, or ``section.validation``, is set aside
    to score. With ``score_on = "test"`` the images of ``test`` score, and the same images train.

    Objects without a mask, or whose mask has no pixel at this size, are left out. Crowds do not train; predictions on
    them are neither right nor wrong.

    Raises:
        InputError: the folder is not in COCO's format, an image is missing or no image, there are fewer images than
            asked for, or no objects.
    """
    train, scoring = chosen_images(section)
    for images, role in ((train.images, "training"), (scoring.images, "scoring")):
        if not any(not one.crowd for _, image in images for one in image.objects):
            raise InputError(f"data.path: {section.path}", f"none of the {len(images)} {role} images shows an object")
    return SceneData(section.title, train.classes, size, _scenes(train, size), _scenes(scoring, size))


def chosen_images(section: DataConfig) -> tuple[Split, Split]:
    """The images that train, and those that score.

    Raises:
        InputError: as of ``load_coco``.
    """
    if not section.path:
        raise InputError("data.path", "is empty", accepted="a folder in COCO's format")
    folder = Path(section.path)
    if not folder.is_dir():
        raise InputError(f"data.path: {folder}", "no such folder")
    file, held = _named(folder, "train") or _only_file(folder), _named(folder, "val")
    whole = read_split(folder, file)
    if held in (None, file):
        train, scoring = _cut(whole, section)
    else:
        train = _some(whole, section.train, "data.train")
        scoring = _some(_agreeing(read_split(folder, held), whole), section.validation, "data.validation")
    if section.score_on == "test":
        tested = _named(folder, "test")
        if tested is None:
            raise _none_of(folder, "test")
        scoring = _agreeing(read_split(folder, tested), whole)
    return train, scoring


@lru_cache(maxsize=8)
def read_split(folder: Path, file: Path) -> Split:
    """The images of an annotation file.

    Raises:
        InputError: the file has a fault, or an image is missing, no image or of another size.
    """
    found = read_annotations(file)
    name = file.stem.removeprefix("instances_")
    split = name.rstrip("0123456789")
    places = (name, f"images/{name}", split, f"images/{split}", "images", ".")
    images = [(path, image) for image in found.images if (path := _placed(folder, places, image.name))]
    where = f"data.path: {file}"
    if len(images) < len(found.images):
        there = {image.name for _, image in images}
        first = next(image.name for image in found.images if image.name not in there)
        missing = f"{len(found.images) - len(images)} of {len(found.images)} images are missing: {first}"
        remedy = f"put them into {folder / places[0]}, or take them out of the file"
        raise InputError(where, missing, remedy=remedy)
    for path, image in images:
        _require_size(path, image)
    if found.without_mask:
        message = f"{where}: annotations without a mask are left out: {found.without_mask}"
        warnings.warn(message, DataWarning, stacklevel=2)
    return Split(file, found.classes, tuple(images))


def _named(folder: Path, split: str) -> Path | None:
    files = sorted((folder / "annotations").glob(f"instances_{split}*.json"))
    return _single(folder, files) if files else None


def _only_file(folder: Path) -> Path:
    files = sorted({*(folder / "annotations").glob("*.json"), *folder.glob("*.json")})
    files = [file for file in files if not file.stem.startswith("instances_test")]
    if not files:
        raise _none_of(folder, "train")
    return _single(folder, files)


def _single(folder: Path, files: Sequence[Path]) -> Path:
    if len(files) > 1:
        names = " and ".join(str(file.relative_to(folder)) for file in files[:2])
        raise InputError(f"data.path: {folder}", f"has both {names}", accepted="one annotation file of each split")
    return files[0]


def _none_of(folder: Path, split: str) -> InputError:
    accepted = f"annotations/instances_{split}*.json"
    return InputError(f"data.path: {folder}", f"has no annotations of {split}", accepted=accepted)


def _placed(folder: Path, places: Sequence[str], name: str) -> Path | None:
    return next((path for place in places if (path := folder / place / name).is_file()), None)


def _require_size(path: Path, image: AnnotatedImage) -> None:
    try:
        with Image.open(path) as opened:
            width, height = opened.size
    except _UNREADABLE:
        raise InputError(f"data.path: {path}", "is no image that Pillow can read") from None
    if (height, width) != (image.height, image.width):
        found = f"has {width}x{height} pixels, {image.width}x{image.height} by its annotations"
        raise InputError(f"data.path: {path}", found)


def _agreeing(scoring: Split, train: Split) -> Split:
    if scoring.classes != train.classes:
        raise InputError(f"data.path: {scoring.file}", f"has other categories than {train.file.name}")
    return scoring


def _cut(split: Split, section: DataConfig) -> tuple[Split, Split]:
    count = section.validation or max(1, len(split.images) // 5)
    order = _order(split)
    scoring, rest = order[:count], order[count:]
    wanted = section.train or len(rest)
    if count > len(order) or wanted > len(rest) or wanted < 1:
        raise _too_few("data.train, data.validation", f"{section.train} and {count}", len(order))
    return _only(split, rest[:wanted]), _only(split, scoring)


def _some(split: Split, count: int, where: str) -> Split:
    if count > len(split.images):
        raise _too_few(where, str(count), len(split.images))
    return _only(split, _order(split)[:count]) if count else split


def _too_few(where: str, wanted: str, there: int) -> InputError:
    return InputError(where, f"{wanted} images wanted, {there} there", remedy="ask for fewer images")


def _order(split: Split) -> NDArray[np.int64]:
    return np.random.default_rng(SPLIT_SEED).permutation(len(split.images))


def _only(split: Split, chosen: NDArray[np.int64]) -> Split:
    return Split(split.file, split.classes, tuple(split.images[index] for index in np.sort(chosen)))


def _scenes(split: Split, size: int) -> Scenes:
    return Scenes(len(split.images), partial(_drawn, split, size))


def _drawn(split: Split, size: int, number: int) -> Scene:
    path, image = split.images[number]
    pixels = readable_pixels(path)
    scale = size / max(image.height, image.width)
    height, width = (max(1, round(side * scale)) for side in (image.height, image.width))
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = _PADDING
    canvas[:height, :width] = np.asarray(pixels.resize((width, height), Image.Resampling.BILINEAR))
    masks = np.zeros((len(image.objects), size, size), np.bool_)
    for mask, one in zip(masks, image.objects, strict=True):
        grey = Image.fromarray(one.mask(image.height, image.width).astype(np.uint8) * 255)
        mask[:height, :width] = np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR)) > 127
    labels, crowds = ([getattr(one, name) for one in image.objects] for name in ("label", "crowd"))
    target = target_of(
        torch.from_numpy(masks), torch.tensor(labels, dtype=torch.int64), torch.tensor(crowds, dtype=torch.int64)
    )
    return Scene(torch.from_numpy(canvas).permute(2, 0, 1).float() / 255, target)


def readable_pixels(path: Path) -> Image.Image:
    """An image with three channels.

    Raises:
        InputError: it cannot be read to its end.
    """
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except _UNREADABLE as error:
        raise InputError(f"data.path: {path}", f"is broken ({error})") from None


def files_of(section: DataConfig) -> Iterator[Path]:
    """The annotation files and images of a folder, of which every one can be read.

    Raises:
        InputError: as of ``load_coco``, or an image cannot be read to its end.
    """
    splits = chosen_images(section)
    yield from dict.fromkeys(split.file for split in splits)
    for split in splits:
        for path, _ in split.images:
            readable_pixels(path)
            yield path
