"""The scenes that ``[data]`` names, and a digest of them."""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from numpy.typing import NDArray

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.runs.provenance import digest_of_arrays
from evonas.tasks.detection.coco import files_of, load_coco
from evonas.tasks.detection.data import SceneData
from evonas.tasks.detection.scenes import load_garments, material


def load_scenes(section: DataConfig, size: int) -> SceneData:
    """The scenes of ``garments``, or those of a folder in the format of ``coco``, at a size.

    Raises:
        InputError: missing data or a missing package, or a key of ``[data]`` that scenes do not take.
    """
    if not section.has_scenes:
        found = f"{section.name} has no objects with masks"
        raise InputError("data.name", found, accepted="garments or coco for a network that finds objects")
    if section.crop:
        raise InputError("data.crop", str(section.crop), accepted=f"0: images of {section.name} are not cropped")
    return _LOADERS[section.name](section, size)


@lru_cache(maxsize=8)
def scenes_digest(section: DataConfig) -> str:
    """A digest of what scenes are made from: garments and photographs, or the files of a folder.

    Every image of a folder is read to its end, so a broken one is found before anything is trained.

    Raises:
        InputError: they cannot be read.
    """
    return _DIGESTS[section.name](section)


def _digest_of_material(section: DataConfig) -> str:
    splits = ("train", "test" if section.score_on == "test" else "validation")
    arrays: list[NDArray[Any]] = []
    for source in (material(section.path, split) for split in splits):
        arrays += (source.garments, source.labels, *source.photographs)
    return digest_of_arrays(arrays)


def _digest_of_files(section: DataConfig) -> str:
    digest = hashlib.sha256()
    for path in files_of(section):
        digest.update(f"{path.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


_LOADERS: Mapping[str, Callable[[DataConfig, int], SceneData]] = {"garments": load_garments, "coco": load_coco}
_DIGESTS: Mapping[str, Callable[[DataConfig], str]] = {"garments": _digest_of_material, "coco": _digest_of_files}
