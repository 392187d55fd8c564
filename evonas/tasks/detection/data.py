"""Scenes for instance segmentation: what one holds, sets of them, and batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from evonas.seeding import derive_seed

Target = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Scene:
    """An image and the objects in it.

    Attributes:
        image: [3, h, w] float32 between 0 and 1.
        target: what torchvision's detectors and torchmetrics take: ``boxes`` [n, 4] float32 as (left, top, right,
            bottom), the last two exclusive; ``labels`` [n] int64 from 1, since 0 is the background; ``masks``
            [n, h, w] uint8 of 0 and 1; ``iscrowd`` [n] int64, 1 where an annotation stands for a group of objects.
    """

    image: Tensor
    target: Target


@dataclass(frozen=True, slots=True)
class Scenes:
    """Scenes that are drawn when they are needed.

    Attributes:
        count: how many there are.
        draw: from a number below ``count`` to that scene, always the same.
    """

    count: int
    draw: Callable[[int], Scene]

    def __len__(self) -> int:
        return self.count


@dataclass(frozen=True, slots=True)
class SceneData:
    """Scenes to train on, and scenes that give the scores.

    Attributes:
        name: what people know the data by.
        classes: names of the classes; an object of the first one has label 1.
        size: height and width of every image.
        train: what networks are trained on.
        scoring: what gives the scores; none of its objects and backgrounds appears in ``train``.
    """

    name: str
    classes: tuple[str, ...]
    size: int
    train: Scenes
    scoring: Scenes

    @property
    def num_classes(self) -> int:
        """Number of classes with the background, as torchvision counts them."""
        return len(self.classes) + 1


class SceneBatch(NamedTuple):
    """Images and targets of several scenes, in the form of torchvision's detectors.

    Attributes:
        images: [3, h, w] each.
        targets: one of each image, without crowds.
        seed: of the random choices in the loss, which samples proposals.
    """

    images: list[Tensor]
    targets: list[Target]
    seed: int


def target_of(masks: Tensor, labels: Tensor, crowds: Tensor | None = None) -> Target:
    """The target of objects with these masks; objects without a single pixel are left out.

    Args:
        masks: [n, h, w], not zero where the object is.
        labels: [n], from 1.
        crowds: [n], not zero where an annotation stands for a group; None if none does.
    """
    crowds = torch.zeros_like(labels) if crowds is None else crowds
    masks = masks != 0
    seen = masks.flatten(1).any(1)
    masks, labels, crowds = masks[seen], labels[seen], crowds[seen]
    left, right = _extent(masks.any(1))
    top, bottom = _extent(masks.any(2))
    return {
        "boxes": torch.stack((left, top, right, bottom), 1).float(),
        "labels": labels.long(),
        "masks": masks.to(torch.uint8),
        "iscrowd": crowds.long(),
    }


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First occupied position and the one after the last, of each row; no row is empty."""
    occupied = occupied.byte()
    return occupied.argmax(1), occupied.shape[1] - occupied.flip(1).argmax(1)


def mirrored(scene: Scene) -> Scene:
    """The scene with left and right exchanged."""
    target = scene.target
    flipped = target_of(target["masks"].flip(2), target["labels"], target["iscrowd"])
    return Scene(scene.image.flip(2), flipped)


def without_crowds(target: Target) -> Target:
    """The single objects of a target."""
    single = target["iscrowd"] == 0
    return {name: values[single] for name, values in target.items()}


def on_device(target: Target, device: torch.device) -> Target:
    """The target with its tensors on a device."""
    return {name: values.to(device) for name, values in target.items()}


def scene_batches(
    scenes: Scenes, batch_size: int, seed: int, *, flip: bool = False, device: torch.device | None = None
) -> Iterator[SceneBatch]:
    """Shuffled batches without end: each epoch a fresh permutation, an incomplete last batch dropped.

    Args:
        scenes: what to draw from.
        batch_size: scenes of one batch, at most as many as there are.
        seed: of the order, of mirroring and of the choices in the loss.
        flip: whether each scene is mirrored with probability 1/2.
        device: where the tensors are put.
    """
    device = device or torch.device("cpu")
    generator = torch.Generator().manual_seed(seed)
    size, number = min(batch_size, len(scenes)), 0
    while True:
        order = torch.randperm(len(scenes), generator=generator)
        for part in order[: len(scenes) // size * size].split(size):
            turned = (torch.rand(size, generator=generator) < 0.5) & flip
            drawn = [scenes.draw(int(index)) for index in part]
            shown = [mirrored(scene) if turn else scene for scene, turn in zip(drawn, turned, strict=True)]
            targets = [on_device(without_crowds(scene.target), device) for scene in shown]
            yield SceneBatch([scene.image.to(device) for scene in shown], targets, derive_seed(seed, number))
            number += 1
