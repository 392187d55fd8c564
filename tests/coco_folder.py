"""Folders in COCO's format that tests write, with faults if asked for, and the refusal that a fault must give."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.tasks.detection.coco import load_coco
from evonas.tasks.detection.loading import scenes_digest

tools = pytest.importorskip("faster_coco_eval.core.mask", reason="pip install 'evonas[detection]'")

HEIGHT, WIDTH = 24, 32
Document = dict[str, Any]
Edit = Callable[[Document], None]


def mask(left: int = 4, top: int = 6, width: int = 10, height: int = 8) -> Any:
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    drawn[top : top + height, left : left + width] = 1
    return drawn


def polygon(left: int = 4, top: int = 6, width: int = 10, height: int = 8) -> list[list[float]]:
    right, bottom = left + width, top + height
    return [[left, top, right, top, right, bottom, left, bottom]]


def compressed(drawn: Any) -> Document:
    text = tools.encode(np.asfortranarray(drawn))["counts"]
    return {"size": [HEIGHT, WIDTH], "counts": text.decode() if isinstance(text, bytes) else text}


def uncompressed(drawn: Any) -> Document:
    counts, last = [0], 0
    for pixel in drawn.T.reshape(-1):
        if pixel == last:
            counts[-1] += 1
        else:
            counts.append(1)
            last = pixel
    return {"size": [HEIGHT, WIDTH], "counts": counts}


NO_MASK = mask(0, 0, 0, 0)


def annotation(number: int, image: int, segmentation: Any, category: int = 3, crowd: int = 0) -> Document:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": crowd,
        "area": 80.0,
        "bbox": [4, 6, 10, 8],
    }


def document(split: str, images: int = 3) -> Document:
    """One object, a rectangle, on each image; categories whose ids have a gap and are out of order."""
    return {
        "info": {"year": 2017},
        "images": [
            {"id": 10 + n, "file_name": f"{split}{n}.png", "height": HEIGHT, "width": WIDTH} for n in range(images)
        ],
        "annotations": [annotation(n, 10 + n, polygon()) for n in range(images)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


def pixels_of(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def write_split(folder: Path, split: str, edit: Edit | None = None, *, images: int = 3, year: str = "") -> Document:
    content = document(split, images)
    places = folder / f"{split}{year}"
    places.mkdir(parents=True)
    for number in range(images):
        Image.fromarray(pixels_of(number)).save(places / f"{split}{number}.png")
    if edit:
        edit(content)
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / f"instances_{split}{year}.json").write_text(json.dumps(content))
    return content


def section(folder: Path, **keys: Any) -> DataConfig:
    return DataConfig(name="coco", path=str(folder), **keys)


def made(tmp_path: Path, edit: Edit | None = None, **keys: Any) -> DataConfig:
    """A folder with both splits, the edit made to that of training."""
    write_split(tmp_path, "train", edit)
    write_split(tmp_path, "val")
    return section(tmp_path, **keys)


def refusal(config: DataConfig, *names: object) -> str:
    """The message of the refusal, which is one line and has these names in it."""
    with pytest.raises(InputError) as caught:
        scenes_digest(config)
    message = str(caught.value)
    assert "\n" not in message
    for name in names:
        assert str(name) in message
    with pytest.raises(InputError, match=re.escape(message)):
        draw_all(config)
    return message


def draw_all(config: DataConfig) -> None:
    data = load_coco(config, WIDTH)
    for scenes in (data.train, data.scoring):
        for number in range(len(scenes)):
            scenes.draw(number)


def set_first(key: str, value: Any, among: str = "annotations") -> Edit:
    def edit(content: Document) -> None:
        content[among][0][key] = value

    return edit
