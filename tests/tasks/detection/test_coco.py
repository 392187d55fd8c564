"""Oracles: the folders written here, with masks drawn pixel by pixel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from coco_folder import (
    HEIGHT,
    WIDTH,
    Document,
    annotation,
    compressed,
    made,
    mask,
    pixels_of,
    polygon,
    refusal,
    section,
    set_first,
    uncompressed,
    write_split,
)
from PIL import Image

from evonas.tasks.detection.coco import load_coco
from evonas.tasks.detection.loading import load_scenes, scenes_digest


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


def test_training_images_do_not_depend_on_which_images_score(tmp_path: Path) -> None:
    write_split(tmp_path, "train", images=10)
    write_split(tmp_path, "test", images=2)
    shown = []
    for score_on in ("validation", "test"):
        train = load_coco(section(tmp_path, score_on=score_on), WIDTH).train
        shown.append([train.draw(number).image.numpy().tobytes() for number in range(len(train))])
    assert len(shown[0]) == 8
    assert shown[0] == shown[1]


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


def test_images_without_annotations_stay(tmp_path: Path) -> None:
    config = made(tmp_path, lambda content: content["annotations"].pop(0))
    data = load_coco(config, WIDTH)
    assert len(data.train) == 3
    assert data.train.draw(0).target["masks"].shape == (0, WIDTH, WIDTH)


def test_a_crowd_scores_as_one_and_does_not_train(tmp_path: Path) -> None:
    def add(content: Document) -> None:
        content["annotations"].append(annotation(50, 10, uncompressed(mask(20, 2, 8, 8)), 7, crowd=1))

    write_split(tmp_path, "train", add)
    write_split(tmp_path, "val", add)
    data = load_coco(section(tmp_path), WIDTH)
    target = data.scoring.draw(0).target
    assert (target["labels"].tolist(), target["iscrowd"].tolist()) == ([1, 2], [0, 1])
    assert np.array_equal(target["masks"][1, :HEIGHT].numpy(), mask(20, 2, 8, 8))


def test_validation_images_alone_are_cut_into_two(tmp_path: Path) -> None:
    write_split(tmp_path, "val", images=5)
    data = load_coco(section(tmp_path), WIDTH)
    assert (len(data.train), len(data.scoring)) == (4, 1)


def test_test_images_never_train(tmp_path: Path) -> None:
    write_split(tmp_path, "test")
    refusal(section(tmp_path), "has no annotations of train")
    refusal(section(tmp_path, score_on="test"), "has no annotations of train")


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
