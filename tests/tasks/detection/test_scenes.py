"""Oracles: what was pasted, seen as the pixels that are not black on a black photograph, and as the colours of plain
garments; scipy's labelling for silhouettes; and a second draw in another order and after disturbed global generators.
"""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from garment_scenes import needs_fashion_mnist, plain_material, section
from scipy import ndimage

from evonas.errors import InputError
from evonas.tasks.detection import scenes
from evonas.tasks.detection.data import Scene
from evonas.tasks.detection.scenes import PHOTOGRAPHS, garment_scene, load_garments, material, silhouette

pytest.importorskip("skimage", reason="pip install 'evonas[detection]'")


def same(one: Scene, two: Scene) -> bool:
    targets = one.target.keys() == two.target.keys()
    return (
        targets
        and torch.equal(one.image, two.image)
        and all(torch.equal(value, two.target[name]) for name, value in one.target.items())
    )


def test_masks_are_exactly_the_pixels_that_were_pasted() -> None:
    source = plain_material()
    for number in range(50):
        scene = garment_scene(source, 96, np.random.default_rng(number))
        masks = scene.target["masks"].bool()
        assert torch.equal(masks.any(0), (scene.image > 0).any(0))  # nothing of the photograph, which is black
        assert masks.sum(0).max() == 1  # a pixel has one owner


def test_every_mask_has_the_colour_of_its_own_garment_in_its_inside() -> None:
    source = plain_material()
    for number in range(50):
        scene = garment_scene(source, 96, np.random.default_rng(number))
        for mask in scene.target["masks"].bool().numpy():
            inside = ndimage.binary_erosion(mask, iterations=3)  # resizing shades the rim
            colours = np.unique(scene.image.numpy()[:, inside].round(5), axis=1)
            # erosion does not know rims of garments below, which lie inside of none: each mask shows one garment
            assert colours.shape[1] <= 1


def test_boxes_enclose_the_masks_and_classes_are_those_of_the_garments() -> None:
    source = plain_material()
    for number in range(20):
        target = garment_scene(source, 96, np.random.default_rng(number)).target
        for box, mask in zip(target["boxes"], target["masks"], strict=True):
            rows, columns = np.nonzero(mask.numpy())
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert target["labels"].min() >= 1
        assert target["labels"].max() <= 10
        assert target["labels"].dtype == torch.int64
        assert target["iscrowd"].tolist() == [0] * len(target["labels"])


def test_labels_follow_the_garments() -> None:
    source = plain_material(1)
    one = scenes.Material(source.garments, np.array([6], np.int64), source.photographs)
    assert set(garment_scene(one, 96, np.random.default_rng(0)).target["labels"].tolist()) == {7}


@needs_fashion_mnist
def test_no_garment_is_hidden_and_scenes_have_two_to_five() -> None:
    data = load_garments(section(), 128)
    drawn = [data.train.draw(number) for number in range(60)]
    counts = [len(scene.target["labels"]) for scene in drawn]
    assert set(counts) <= {1, 2, 3, 4, 5}
    assert {2, 5} <= set(counts)
    smallest = min(int(mask.sum()) for scene in drawn for mask in scene.target["masks"])
    assert smallest >= 40
    for scene in drawn:
        assert scene.image.shape == (3, 128, 128)
        assert scene.image.dtype == torch.float32
        assert 0 <= scene.image.min() < scene.image.max() <= 1
        assert scene.target["masks"].shape == (len(scene.target["labels"]), 128, 128)


def test_a_garment_that_would_hide_another_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "_SMALLEST", 1.0)  # each garment is as large as the scene
    monkeypatch.setattr(scenes, "_LARGEST", 1.0)
    filled = scenes.Material(
        np.full((1, 28, 28), 200, np.uint8), np.zeros(1, np.int64), (np.zeros((64, 64, 3), np.uint8),)
    )
    for number in range(10):
        assert len(garment_scene(filled, 64, np.random.default_rng(number)).target["labels"]) == 1


@needs_fashion_mnist
def test_splits_share_neither_garments_nor_photographs() -> None:
    names = [name for split in PHOTOGRAPHS.values() for name in split]
    assert len({*names}) == len(names)
    sources = {split: material("", split) for split in PHOTOGRAPHS}
    assert {split: len(source.garments) for split, source in sources.items()} == {
        "train": 50_000,
        "validation": 10_000,
        "test": 10_000,
    }
    garments = {split: {garment.tobytes() for garment in source.garments} for split, source in sources.items()}
    photographs = {split: {photo.tobytes() for photo in source.photographs} for split, source in sources.items()}
    for one, two in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not photographs[one] & photographs[two]
        assert not garments[one] & garments[two]


@needs_fashion_mnist
def test_a_scene_is_the_same_in_any_order_and_whatever_the_global_generators_did() -> None:
    data = load_garments(section(), 64)
    first = [data.train.draw(number) for number in range(4)]
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    again = load_garments(section(), 64)
    for number in (3, 1, 0, 2):
        assert same(again.train.draw(number), first[number])
    assert not same(first[0], first[1])


@needs_fashion_mnist
def test_training_scenes_do_not_depend_on_which_scenes_score() -> None:
    validation, test = load_garments(section(), 64), load_garments(section(score_on="test"), 64)
    assert same(validation.train.draw(5), test.train.draw(5))
    assert not same(validation.scoring.draw(5), test.scoring.draw(5))
    assert not same(validation.scoring.draw(5), validation.train.draw(5))


@needs_fashion_mnist
def test_counts_are_those_of_the_section() -> None:
    whole, few = load_garments(section(), 64), load_garments(section(train=7, validation=3), 64)
    assert (len(whole.train), len(whole.scoring)) == (2000, 200)
    assert (len(few.train), len(few.scoring)) == (7, 3)
    assert (few.num_classes, few.size) == (11, 64)


@pytest.mark.parametrize("size", [32, 100, 200])
def test_any_size(size: int) -> None:
    scene = garment_scene(plain_material(side=64), size, np.random.default_rng(0))
    assert scene.image.shape == (3, size, size)
    assert scene.target["masks"].shape[1:] == (size, size)


@needs_fashion_mnist
def test_silhouettes_are_in_one_part_and_have_no_holes() -> None:
    for garment in material("", "test").garments[:200]:
        mask = silhouette(garment)
        assert ndimage.label(mask)[1] == 1
        assert ndimage.label(np.pad(~mask, 1, constant_values=True))[1] == 1  # what is outside is one part


def test_silhouettes_drop_stray_pixels_and_fill_holes() -> None:
    garment = np.zeros((28, 28), np.uint8)
    garment[5:15, 5:15], garment[9, 9], garment[25, 25] = 90, 0, 90
    expected = np.zeros((28, 28), bool)
    expected[5:15, 5:15] = True
    assert np.array_equal(silhouette(garment), expected)


def test_without_fashion_mnist_the_error_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no Fashion-MNIST files in .*apt-get install"):
        load_garments(section(path=str(tmp_path)), 64)
