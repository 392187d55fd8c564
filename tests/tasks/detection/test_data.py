"""Oracles: boxes and mirrored arrays by numpy, and counting which scenes were drawn."""

import numpy as np
import pytest
import torch

from evonas.tasks.detection.data import Scene, Scenes, mirrored, scene_batches, target_of, without_crowds


def numbered(count: int) -> Scenes:
    """Scenes whose pixels are their number, with one object in the left upper corner."""

    def draw(number: int) -> Scene:
        masks = torch.zeros(1, 4, 6, dtype=torch.uint8)
        masks[0, 0, 0] = 1
        return Scene(torch.full((3, 4, 6), float(number)), target_of(masks, torch.tensor([number + 1])))

    return Scenes(count, draw)


def test_the_box_of_a_mask_ends_after_its_last_pixels_and_empty_masks_are_left_out() -> None:
    masks = torch.zeros(3, 5, 7)
    masks[0, 1:3, 2:6] = 1
    masks[2, 4, 6] = 255
    target = target_of(masks, torch.tensor([4, 5, 6]), torch.tensor([0, 0, 1]))
    assert target["boxes"].tolist() == [[2, 1, 6, 3], [6, 4, 7, 5]]
    assert target["labels"].tolist() == [4, 6]
    assert target["iscrowd"].tolist() == [0, 1]
    assert target["masks"].dtype == torch.uint8
    assert target["masks"].amax((1, 2)).tolist() == [1, 1]


def test_a_target_without_objects_has_empty_tensors() -> None:
    target = target_of(torch.zeros(0, 5, 7), torch.zeros(0, dtype=torch.int64))
    assert {name: list(values.shape) for name, values in target.items()} == {
        "boxes": [0, 4],
        "labels": [0],
        "masks": [0, 5, 7],
        "iscrowd": [0],
    }


def test_mirroring_turns_image_masks_and_boxes() -> None:
    rng = np.random.default_rng(0)
    masks = np.zeros((2, 5, 7), np.uint8)
    masks[0, 1:3, 0:2], masks[1, 0:5, 4:6] = 1, 1
    target = target_of(torch.from_numpy(masks), torch.tensor([1, 2]))
    scene = Scene(torch.from_numpy(rng.random((3, 5, 7), np.float32)), target)
    turned = mirrored(scene)
    assert np.array_equal(turned.image.numpy(), scene.image.numpy()[..., ::-1])
    assert np.array_equal(turned.target["masks"].numpy(), masks[..., ::-1])
    assert turned.target["boxes"].tolist() == [[5, 1, 7, 3], [1, 0, 3, 5]]


def test_crowds_are_taken_out() -> None:
    masks = torch.ones(3, 2, 2)
    target = without_crowds(target_of(masks, torch.tensor([1, 2, 3]), torch.tensor([0, 1, 0])))
    assert target["labels"].tolist() == [1, 3]
    assert all(len(values) == 2 for values in target.values())


def test_an_epoch_shows_every_scene_once_but_for_an_incomplete_batch() -> None:
    batches = scene_batches(numbered(7), 3, seed=0)
    for _ in range(3):
        shown = [int(image[0, 0, 0]) for batch in (next(batches), next(batches)) for image in batch.images]
        assert len({*shown}) == 6
        assert {*shown} <= {*range(7)}


def test_labels_belong_to_images_and_a_batch_is_no_larger_than_the_set() -> None:
    batch = next(scene_batches(numbered(3), 8, seed=0))
    assert len(batch.images) == len(batch.targets) == 3
    for image, target in zip(batch.images, batch.targets, strict=True):
        assert target["labels"].tolist() == [int(image[0, 0, 0]) + 1]


def test_batches_depend_on_the_seed_alone() -> None:
    def shown(seed: int) -> list[tuple[list[list[float]], list[list[float]], int]]:
        batches = scene_batches(numbered(5), 2, seed, flip=True)
        torch.manual_seed(seed + 100)
        drawn = [next(batches) for _ in range(6)]
        return [
            ([i[:, 0, 0].tolist() for i in b.images], [t["boxes"][0].tolist() for t in b.targets], b.seed)
            for b in drawn
        ]

    assert shown(1) == shown(1)
    assert shown(1) != shown(2)
    assert len({seed for *_, seed in shown(1)}) == 6


@pytest.mark.parametrize("flip", [False, True])
def test_scenes_are_mirrored_only_if_asked_for(flip: bool) -> None:
    batches = scene_batches(numbered(4), 4, seed=0, flip=flip)
    lefts = {float(target["boxes"][0, 0]) for _ in range(10) for target in next(batches).targets}
    assert lefts == ({0.0, 5.0} if flip else {0.0})
