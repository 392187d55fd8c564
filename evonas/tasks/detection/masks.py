"""Masks as COCO writes them: polygons, or the lengths of runs, plain or compressed.

Runs go down the columns, one column after the other, and begin with pixels outside of the object.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evonas.extras import import_package

Mask = NDArray[np.bool_]

_LONGEST = 60  # bits of a compressed number
_SMALLEST = 6  # numbers of the smallest polygon, a triangle
_FIRST, _BITS, _MORE, _SIGN = 48, 5, 0x20, 0x10  # of a compressed number: see ``expanded``


def expanded(text: str) -> list[int]:
    """The lengths of runs from COCO's compressed text.

    A character holds 5 bits of a number, the lowest first, as its code less 48; the bit 32 says that more follow, and
    the highest bit of the last character is the sign. From the fourth number on, what is written is the difference to
    the number two places before.

    Raises:
        ValueError: the text ends within a number, or has other characters.
    """
    lengths: list[int] = []
    number, shift = 0, 0
    for character in text:
        bits = ord(character) - _FIRST
        if not 0 <= bits < 1 << (_BITS + 1):
            raise ValueError(f"has the character {character!r}")
        if shift > _LONGEST:
            raise ValueError("has a number that is too long")
        number |= (bits & (_MORE - 1)) << shift
        shift += _BITS
        if bits & _MORE:
            continue
        if bits & _SIGN:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number, shift = 0, 0
    if shift:
        raise ValueError("ends within a number")
    return lengths


def mask_of_runs(lengths: Sequence[int], height: int, width: int) -> Mask:
    """The mask [height, width] of runs.

    Raises:
        ValueError: a length is negative, or they do not sum up to the pixels of the image.
    """
    require_runs(lengths, height, width)
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, np.asarray(lengths, dtype=np.int64)).reshape(width, height).T


def require_runs(lengths: Sequence[int], height: int, width: int) -> None:
    """Make sure that runs cover an image.

    Raises:
        ValueError: a length is negative, or they do not sum up to the pixels of the image.
    """
    if any(length < 0 for length in lengths) or sum(lengths) != height * width:
        raise ValueError(f"does not cover {height * width} pixels")


def mask_of_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    """The mask [height, width] of what any of several polygons encloses, with COCO's rule for pixels on the border.

    Args:
        polygons: x and y of one corner after the other, in pixels; those with fewer than three corners enclose nothing.
        height: of the image.
        width: of the image.

    Raises:
        ValueError: an odd number of coordinates, or one that is farther outside than the image is large.
        InputError: faster-coco-eval is not installed.
    """
    require_polygons(polygons, height, width)
    enclosing = [[float(v) for v in polygon] for polygon in polygons if len(polygon) >= _SMALLEST]
    if not enclosing:
        return np.zeros((height, width), np.bool_)
    tools = import_package("faster_coco_eval.core.mask", "polygons of a COCO folder")
    whole: Mask = tools.decode(tools.merge(tools.frPyObjects(enclosing, height, width))) != 0
    return whole


def require_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> None:
    """Make sure that polygons lie on the image, or not far outside.

    Raises:
        ValueError: an odd number of coordinates, or one that is farther outside than the image is large.
    """
    for polygon in polygons:
        if len(polygon) % 2:
            raise ValueError(f"has a polygon of {len(polygon)} numbers, which is odd")
        for values, side in ((polygon[::2], width), (polygon[1::2], height)):
            if values and not (-side <= min(values) and max(values) <= 2 * side):
                raise ValueError(f"has a corner far outside of the {width}x{height} image")
