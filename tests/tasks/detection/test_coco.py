"""Oracles: the folders written here, with masks drawn pixel by pixel; one fault at a time for the refusals."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.tasks.detection.coco import DataWarning, load_coco
from evonas.tasks.detection.loading import load_scenes, scenes_digest

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


@pytest.mark.parametrize("year", ["", "2017"])
def test_train_trains_and_val_scores(tmp_path: Path, year: str) -> None:
    write_split(tmp_path, "train", year=year)
    write_split(tmp_path, "val", images=2, year=year)
    data = load_scenes(section(tmp_path), WIDTH)
    assert (len(data.train), len(data.scoring), data.size) == (3, 2, WIDTH)
    assert (data.classes, data.num_classes) == (("cat", "dog"), 3)
    for number in range(3):
        scene = data.train.draw(number)
        expected = np.zeros((WIDTH, WIDTH), np.uint8)
        expected[:HEIGHT] = mask()
        assert np.array_equal(scene.target["masks"].numpy(), expected[None])
        assert scene.target["boxes"].tolist() == [[4, 6, 14, 14]]
        assert scene.target["labels"].tolist() == [1]  # of category 3, the lower id
        shown = (scene.image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        assert np.array_equal(shown[:HEIGHT], pixels_of(number))
        assert {tuple(pixel) for row in shown[HEIGHT:] for pixel in row} == {(124, 116, 104)}


def test_images_in_a_folder_of_that_name(tmp_path: Path) -> None:
    config = made(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "train").rename(tmp_path / "images" / "train")
    assert len(load_coco(config, WIDTH).train) == 3


def test_a_single_split_is_cut_into_two_without_a_common_image(tmp_path: Path) -> None:
    write_split(tmp_path, "train", images=10)
    data = load_coco(section(tmp_path), WIDTH)
    assert (len(data.train), len(data.scoring)) == (8, 2)
    train, scoring = (
        {scenes.draw(n).image.numpy().tobytes() for n in range(len(scenes))} for scenes in (data.train, data.scoring)
    )
    assert (len(train), len(scoring)) == (8, 2)
    assert not train & scoring
    few = load_coco(section(tmp_path, train=3, validation=4), WIDTH)
    assert (len(few.train), len(few.scoring)) == (3, 4)


def test_an_annotation_file_beside_its_images(tmp_path: Path) -> None:
    write_split(tmp_path, "train", images=5)
    (tmp_path / "annotations" / "instances_train.json").rename(tmp_path / "mine.json")
    (tmp_path / "train").rename(tmp_path / "images")
    data = load_coco(section(tmp_path), WIDTH)
    assert (len(data.train), len(data.scoring)) == (4, 1)


def test_test_images_score_if_asked_for(tmp_path: Path) -> None:
    config = made(tmp_path, score_on="test")
    refusal(config, tmp_path, "has no annotations of test")
    write_split(tmp_path, "test", images=1)
    data = load_coco(config, WIDTH)
    assert (len(data.train), len(data.scoring)) == (3, 1)


def test_numbers_of_images(tmp_path: Path) -> None:
    config = made(tmp_path, train=2, validation=1)
    data = load_coco(config, WIDTH)
    assert (len(data.train), len(data.scoring)) == (2, 1)
    refusal(section(tmp_path, train=4), "data.train", "4 images wanted, 3 there")
    refusal(section(tmp_path, validation=4), "data.validation", "4 images wanted, 3 there")


def test_more_than_a_single_split_has(tmp_path: Path) -> None:
    write_split(tmp_path, "train")
    refusal(section(tmp_path, train=3, validation=1), "data.train", "3 there")
    refusal(section(tmp_path, validation=3), "data.validation", "3 there")


def test_images_and_masks_are_scaled_to_the_longer_side(tmp_path: Path) -> None:
    scene = load_coco(made(tmp_path), 16).train.draw(0)
    expected = np.zeros((16, 16), np.uint8)
    expected[3:7, 2:7] = 1  # half of [6:14, 4:14]
    assert np.array_equal(scene.target["masks"].numpy(), expected[None])
    halved = Image.fromarray(pixels_of(0)).resize((16, 12), Image.Resampling.BILINEAR)
    assert np.array_equal((scene.image * 255).round().byte().permute(1, 2, 0).numpy()[:12], np.asarray(halved))


@pytest.mark.parametrize(
    "written", [polygon(), compressed(mask()), uncompressed(mask())], ids=["polygon", "text", "runs"]
)
def test_each_way_to_write_a_mask_gives_the_same(tmp_path: Path, written: Any) -> None:
    scene = load_coco(made(tmp_path, set_first("segmentation", written)), WIDTH).train.draw(0)
    assert np.array_equal(scene.target["masks"][0, :HEIGHT].numpy(), mask())


def test_grey_images_palettes_and_transparency_become_three_channels(tmp_path: Path) -> None:
    config = made(tmp_path)
    for number, mode in enumerate(("L", "P", "RGBA")):
        Image.fromarray(pixels_of(number)).convert(mode).save(tmp_path / "train" / f"train{number}.png")
    data = load_coco(config, WIDTH)
    assert [data.train.draw(number).image.shape for number in range(3)] == [(3, WIDTH, WIDTH)] * 3


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


def test_images_without_annotations_stay(tmp_path: Path) -> None:
    config = made(tmp_path, lambda content: content["annotations"].pop(0))
    data = load_coco(config, WIDTH)
    assert len(data.train) == 3
    assert data.train.draw(0).target["masks"].shape == (0, WIDTH, WIDTH)


def test_an_unknown_category(tmp_path: Path) -> None:
    config = made(tmp_path, set_first("category_id", 99))
    message = refusal(config, "instances_train.json", "annotation 0", "unknown category 99")
    assert "3, 7" in message


def test_an_annotation_of_no_image(tmp_path: Path) -> None:
    refusal(made(tmp_path, set_first("image_id", 99)), "annotation 0 is of image 99")


def test_a_crowd_scores_as_one_and_does_not_train(tmp_path: Path) -> None:
    def add(content: Document) -> None:
        content["annotations"].append(annotation(50, 10, uncompressed(mask(20, 2, 8, 8)), 7, crowd=1))

    write_split(tmp_path, "train", add)
    write_split(tmp_path, "val", add)
    data = load_coco(section(tmp_path), WIDTH)
    target = data.scoring.draw(0).target
    assert (target["labels"].tolist(), target["iscrowd"].tolist()) == ([1, 2], [0, 1])
    assert np.array_equal(target["masks"][1, :HEIGHT].numpy(), mask(20, 2, 8, 8))


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


def test_validation_images_alone_are_cut_into_two(tmp_path: Path) -> None:
    write_split(tmp_path, "val", images=5)
    data = load_coco(section(tmp_path), WIDTH)
    assert (len(data.train), len(data.scoring)) == (4, 1)


def test_test_images_never_train(tmp_path: Path) -> None:
    write_split(tmp_path, "test")
    refusal(section(tmp_path), "has no annotations of train")
    refusal(section(tmp_path, score_on="test"), "has no annotations of train")


def test_splits_with_different_categories(tmp_path: Path) -> None:
    write_split(tmp_path, "train")
    write_split(tmp_path, "val", set_first("name", "horse", "categories"))
    refusal(section(tmp_path), "instances_val.json", "other categories")


def test_the_digest_is_that_of_annotations_and_images(tmp_path: Path) -> None:
    def digest() -> str:
        scenes_digest.cache_clear()
        return scenes_digest(config)

    config = made(tmp_path)
    first = digest()
    assert digest() == first
    Image.fromarray(pixels_of(9)).save(tmp_path / "val" / "val0.png")
    changed = digest()
    assert changed != first
    file = tmp_path / "annotations" / "instances_train.json"
    file.write_text(file.read_text().replace("dog", "elk").replace("2017", "2018"))
    assert digest() != changed


def test_crops_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.crop: 16"):
        load_scenes(made(tmp_path, crop=16), WIDTH)
