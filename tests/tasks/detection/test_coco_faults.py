"""Oracles: the folders written here, with one fault at a time, each of which is one clear line or handled."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coco_folder import (
    HEIGHT,
    WIDTH,
    compressed,
    made,
    mask,
    polygon,
    refusal,
    section,
    set_first,
    uncompressed,
    write_split,
)

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.tasks.detection.coco import DataWarning, load_coco
from evonas.tasks.detection.loading import load_scenes


def test_a_missing_image(tmp_path: Path) -> None:
    config = made(tmp_path)
    (tmp_path / "train" / "train1.png").unlink()
    refusal(config, "instances_train.json", "1 of 3 images are missing: train1.png")


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    config = made(tmp_path)
    (tmp_path / "train" / "train1.png").write_text("<html>not found</html>")
    refusal(config, tmp_path / "train" / "train1.png", "is no image")


def test_an_image_that_is_cut_short(tmp_path: Path) -> None:
    config, path = made(tmp_path), tmp_path / "train" / "train1.png"
    path.write_bytes(path.read_bytes()[:-600])
    refusal(config, path, "is broken")


def test_an_image_of_another_size(tmp_path: Path) -> None:
    config = made(tmp_path, set_first("height", 48, "images"))
    refusal(config, "train0.png", f"has {WIDTH}x{HEIGHT} pixels, {WIDTH}x48 by its annotations")


@pytest.mark.parametrize(
    "empty",
    [
        [],
        [[]],
        [[1, 1, 5, 5]],
        [[1, 1, 5, 5, 9, 9]],
        None,
        uncompressed(mask(0, 0, 0, 0)),
        compressed(mask(0, 0, 0, 0)),
    ],
    ids=["none", "no corner", "two corners", "a line", "null", "empty runs", "empty text"],
)
def test_annotations_without_a_mask_are_left_out_and_counted(tmp_path: Path, empty: Any) -> None:
    config = made(tmp_path, set_first("segmentation", empty))
    with pytest.warns(DataWarning, match="instances_train.json: annotations without a mask are left out: 1$"):
        data = load_coco(config, WIDTH)
    target = data.train.draw(0).target
    assert {name: len(values) for name, values in target.items()} == {"boxes": 0, "labels": 0, "masks": 0, "iscrowd": 0}
    assert len(data.train.draw(1).target["labels"]) == 1


def test_an_annotation_without_the_key_of_its_mask_is_left_out(tmp_path: Path) -> None:
    config = made(tmp_path, lambda content: content["annotations"][0].pop("segmentation"))
    with pytest.warns(DataWarning, match="left out: 1"):
        assert len(load_coco(config, WIDTH).train.draw(0).target["labels"]) == 0


def test_a_mask_that_vanishes_at_this_size_is_left_out(tmp_path: Path) -> None:
    config = made(tmp_path, set_first("segmentation", polygon(4, 6, 1, 1)))
    assert len(load_coco(config, WIDTH).train.draw(0).target["labels"]) == 1
    assert len(load_coco(config, 8).train.draw(0).target["labels"]) == 0


def test_an_unknown_category(tmp_path: Path) -> None:
    config = made(tmp_path, set_first("category_id", 99))
    message = refusal(config, "instances_train.json", "annotation 0", "unknown category 99")
    assert "3, 7" in message


def test_an_annotation_of_no_image(tmp_path: Path) -> None:
    refusal(made(tmp_path, set_first("image_id", 99)), "annotation 0 is of image 99")


def test_no_object_at_all(tmp_path: Path) -> None:
    refused = made(tmp_path, lambda content: content["annotations"].clear())
    with pytest.raises(InputError, match="none of the 3 training images shows an object"):
        load_coco(refused, WIDTH)


@pytest.mark.parametrize(
    ("segmentation", "complaint"),
    [
        ({"size": [5, 5], "counts": [25]}, f"is of a 5x5 image, and the image has {WIDTH}x{HEIGHT} pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [5, 5]}, f"does not cover {HEIGHT * WIDTH} pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": "é"}, "has the character"),
        ({"size": [HEIGHT, WIDTH], "counts": "o"}, "ends within a number"),
        ({"size": [HEIGHT, WIDTH], "counts": [-1, HEIGHT * WIDTH + 1]}, "annotations.0.segmentation.counts"),
        ({"counts": [HEIGHT * WIDTH]}, "annotations.0.segmentation.size"),
        ([[1, 1, 5, 5, 9]], "5 numbers, which is odd"),
        ([[1, 1, 5, 5, 1e6, 9]], "far outside"),
        ([1, 1, 5, 5, 9, 9], "annotations.0.segmentation"),
        ("a polygon", "annotations.0.segmentation"),
    ],
)
def test_a_mask_that_cannot_be(tmp_path: Path, segmentation: Any, complaint: str) -> None:
    refusal(made(tmp_path, set_first("segmentation", segmentation)), "instances_train.json", complaint)


@pytest.mark.parametrize(
    "broken",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"images": []}', b'{"images": 3, "annotations": [], "categories": []}'],
)
def test_a_file_that_is_no_annotations(tmp_path: Path, broken: bytes) -> None:
    config = made(tmp_path)
    (tmp_path / "annotations" / "instances_train.json").write_bytes(broken)
    refusal(config, "instances_train.json", "COCO's format")


@pytest.mark.parametrize(
    ("among", "key"), [("images", "file_name"), ("categories", "name"), ("annotations", "image_id")]
)
def test_a_key_that_is_missing(tmp_path: Path, among: str, key: str) -> None:
    refusal(made(tmp_path, lambda content: content[among][0].pop(key)), f"{among}.0.{key}: Field required")


@pytest.mark.parametrize("among", ["images", "categories"])
def test_an_id_that_is_there_twice(tmp_path: Path, among: str) -> None:
    refusal(made(tmp_path, lambda content: content[among].append(content[among][0])), "is there twice")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    refusal(section(tmp_path / "nowhere"), "no such folder")
    refusal(section(tmp_path), "has no annotations of train")
    refusal(DataConfig(name="coco"), "data.path: is empty")


def test_two_annotation_files_of_one_split(tmp_path: Path) -> None:
    config = made(tmp_path)
    (tmp_path / "annotations" / "instances_train2017.json").write_text("{}")
    refusal(config, "has both", "one annotation file of each split")


def test_splits_with_different_categories(tmp_path: Path) -> None:
    write_split(tmp_path, "train")
    write_split(tmp_path, "val", set_first("name", "horse", "categories"))
    refusal(section(tmp_path), "instances_val.json", "other categories")


def test_crops_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.crop: 16"):
        load_scenes(made(tmp_path, crop=16), WIDTH)


@pytest.mark.parametrize("fault", ["missing", "cut short", "unknown category"])
def test_the_command_line_says_one_line_and_writes_nothing(
    tmp_path: Path, evonas: Callable[..., tuple[int, str, str]], fault: str
) -> None:
    data, run, image = tmp_path / "data", tmp_path / "run", tmp_path / "data" / "val" / "val1.png"
    write_split(data, "train", set_first("category_id", 99) if fault == "unknown category" else None)
    write_split(data, "val")
    if fault == "missing":
        image.unlink()
    elif fault == "cut short":
        image.write_bytes(image.read_bytes()[:-600])
    names = ("bn-relu", "--arch", "maskrcnn-resnet18-fpn", "--data", f"coco:{data}", "--run", run)
    status, out, err = evonas("evaluate", *names)
    assert (status, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert str(data) in err
    assert not run.exists()


@pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd", "a/../../b.png", "a\0b.png"])
def test_images_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").touch()
    refusal(
        made(tmp_path / "data", set_first("file_name", name, "images")),
        "images.0.file_name",
        "no path below the folder",
    )


def test_an_image_without_bounds(tmp_path: Path) -> None:
    config = made(tmp_path, set_first("height", 10**9, "images"))
    refusal(config, "images.0", f"{10**9 * WIDTH} pixels, of at most")


def test_a_compressed_number_without_end(tmp_path: Path) -> None:
    endless = {"size": [HEIGHT, WIDTH], "counts": "o" * 300_000}
    refusal(made(tmp_path, set_first("segmentation", endless, "annotations")), "has a number that is too long")


def test_annotations_that_are_a_pipe(tmp_path: Path) -> None:
    config, file = made(tmp_path), tmp_path / "annotations" / "instances_train.json"
    file.unlink()
    os.mkfifo(file)
    refusal(config, "instances_train.json", "is not a regular file")
