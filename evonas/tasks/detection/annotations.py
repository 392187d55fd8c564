"""An annotation file in COCO's format: images, the objects in them, and their classes, checked."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from evonas.config.section import Count, PositiveInt
from evonas.errors import InputError, listed
from evonas.limits import MOST_PIXELS
from evonas.reading import read_given
from evonas.tasks.detection.masks import Mask, expanded, mask_of_polygons, mask_of_runs, require_polygons, require_runs

Id = int | str


class _Record(BaseModel):
    """A part of the file; keys that are not needed may be there, too."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class _Category(_Record):
    id: Id
    name: str


def _inside(name: str) -> str:
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise PydanticCustomError("path", "{name} is no path below the folder", {"name": repr(name)})
    return name


class _Image(_Record):
    id: Id
    file_name: Annotated[str, Field(min_length=1), AfterValidator(_inside)]
    height: PositiveInt
    width: PositiveInt

    @model_validator(mode="after")
    def _not_too_large(self) -> Self:
        if self.height * self.width > MOST_PIXELS:
            what = "{pixels} pixels, of at most {most}"
            raise PydanticCustomError("pixels", what, {"pixels": self.height * self.width, "most": MOST_PIXELS})
        return self


class _Runs(_Record):
    size: tuple[PositiveInt, PositiveInt]
    counts: list[Count] | str


class _Annotation(_Record):
    id: Id | None = None
    image_id: Id
    category_id: Id
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: Literal[0, 1] = 0


class _File(_Record):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """An object of an image.

    Attributes:
        label: its class, from 1.
        outline: polygons, or lengths of runs.
        crowd: whether it stands for a group of objects.
    """

    label: int
    outline: list[list[float]] | tuple[int, ...]
    crowd: bool

    def mask(self, height: int, width: int) -> Mask:
        """Where it is in an image of that size."""
        if isinstance(self.outline, tuple):
            return mask_of_runs(self.outline, height, width)
        return mask_of_polygons(self.outline, height, width)


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image by the path that the file gives for it, its size, and the objects in it."""

    name: str
    height: int
    width: int
    objects: tuple[AnnotatedObject, ...]


@dataclass(frozen=True, slots=True)
class Annotations:
    """What an annotation file says.

    Attributes:
        classes: names by increasing id.
        images: in the order of the file.
        without_mask: how many annotations have no mask; they are left out.
    """

    classes: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    without_mask: int


def read_annotations(path: Path) -> Annotations:
    """Read an annotation file and check all that it says.

    An annotation without a mask, or whose mask is empty, is left out. Images without objects stay: they show what is
    background.

    Raises:
        InputError: it cannot be read, is not in COCO's format, or contradicts itself.
    """
    where = f"data.path: {path}"
    file = _parsed(path, where)
    labels = _numbered([category.id for category in file.categories], "category", where)
    images = {image.id: image for image in file.images}
    _numbered([image.id for image in file.images], "image", where)
    objects: defaultdict[Id, list[AnnotatedObject]] = defaultdict(list)
    without_mask = 0
    for number, annotation in enumerate(file.annotations):
        name = f"annotation {number if annotation.id is None else annotation.id}"
        if annotation.image_id not in images:
            raise InputError(where, f"{name} is of image {annotation.image_id!r}", accepted="an id in images")
        if annotation.category_id not in labels:
            names = listed(map(repr, labels))
            found = f"{name} is of the unknown category {annotation.category_id!r}"
            raise InputError(where, found, accepted=f"an id in categories: {names}" if names else "an id in categories")
        image = images[annotation.image_id]
        try:
            outline = _outline(annotation.segmentation, image.height, image.width)
        except ValueError as error:
            raise InputError(where, f"the segmentation of {name} {error}") from None
        if outline:
            made = AnnotatedObject(labels[annotation.category_id], outline, bool(annotation.iscrowd))
            objects[annotation.image_id].append(made)
        else:
            without_mask += 1
    ordered = sorted(file.categories, key=lambda category: labels[category.id])
    return Annotations(
        tuple(category.name for category in ordered),
        tuple(
            AnnotatedImage(image.file_name, image.height, image.width, tuple(objects[image.id]))
            for image in file.images
        ),
        without_mask,
    )


def _parsed(path: Path, where: str) -> _File:
    try:
        return _File.model_validate_json(read_given(path, where))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_context=False, include_input=False)
        same_record = [one for one in errors if one["loc"][:3] == errors[0]["loc"][:3]]  # say, of polygons and of runs
        closest = max(same_record, key=lambda one: len(one["loc"]))
        place = ".".join(str(part) for part in closest["loc"] if not _is_alternative(part))
        found = f"{place}: {closest['msg']}" if place else closest["msg"]
        raise InputError(where, found, accepted="annotations of instances in COCO's format") from None


def _is_alternative(part: object) -> bool:
    """Whether a part of a key's place only says which of several types was tried."""
    return (isinstance(part, str) and not part.isidentifier()) or part in ("int", "str", "_Runs")


def _numbered(ids: Sequence[Id], kind: str, where: str) -> dict[Id, int]:
    """Numbers from 1 by increasing id."""
    if len({*ids}) < len(ids):
        double = Counter(ids).most_common(1)[0][0]
        raise InputError(where, f"{kind} {double!r} is there twice", accepted="each id once")
    ordered = sorted(ids, key=lambda one: (isinstance(one, str), one))
    return {one: number for number, one in enumerate(ordered, start=1)}


def _outline(
    segmentation: list[list[float]] | _Runs | None, height: int, width: int
) -> list[list[float]] | tuple[int, ...]:
    """Polygons, or lengths of runs; empty where nothing is enclosed.

    Raises:
        ValueError: it does not fit the image.
    """
    if segmentation is None:
        return []
    if isinstance(segmentation, _Runs):
        if segmentation.size != (height, width):
            found = "x".join(map(str, reversed(segmentation.size)))
            raise ValueError(f"is of a {found} image, and the image has {width}x{height} pixels")
        counts = segmentation.counts
        lengths = expanded(counts) if isinstance(counts, str) else counts
        require_runs(lengths, height, width)
        return tuple(lengths) if any(lengths[1::2]) else ()
    require_polygons(segmentation, height, width)
    return [polygon for polygon in segmentation if _encloses(polygon)]


def _encloses(polygon: Sequence[float]) -> bool:
    """Whether a polygon has an area, by the shoelace formula."""
    x, y = np.asarray(polygon[::2]), np.asarray(polygon[1::2])
    return len(x) > 2 and bool(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) > 0)
