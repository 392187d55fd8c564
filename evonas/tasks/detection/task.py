"""Instance segmentation as a task: Mask R-CNN on scenes, scored by the average precision of its masks."""

from collections.abc import Iterator
from functools import cache, partial

import torch
from torch import Tensor, nn

from evonas.config import DataConfig, TaskConfig
from evonas.seeding import derive_seed
from evonas.tasks.detection.data import SceneBatch, SceneData, scene_batches
from evonas.tasks.detection.loading import load_scenes
from evonas.tasks.detection.maskrcnn import PARTS, build_maskrcnn
from evonas.tasks.detection.metric import average_precision
from evonas.tasks.detection.pictures import mask_picture
from evonas.tasks.task import Task, initialized
from evonas.training.modes import seeded

SCORED_AT_ONCE = 8  # scenes
SIZE, SPINENET_SIZE = 128, 256  # of images where ``data.size`` is 0: of 128 pixels SpineNet's coarsest map is 1 x 1


def detection_task(task: TaskConfig, section: DataConfig, batch_size: int, device: torch.device) -> Task:
    """A Mask R-CNN trained with the sum of its losses; the metric is average precision on the scoring scenes.

    Raises:
        InputError: no such network, missing data or a missing package, or a key of ``[data]`` that scenes do not take.
    """
    return _task(task, section, load_scenes(section, image_size(task, section)), batch_size, device)


def image_size(task: TaskConfig, section: DataConfig) -> int:
    """Height and width of the images that a network sees."""
    return section.size or (SPINENET_SIZE if "spinenet" in task.architecture else SIZE)


def _task(task: TaskConfig, section: DataConfig, scenes: SceneData, batch_size: int, device: torch.device) -> Task:
    return Task(
        name=task.label,
        build=partial(_build, task, scenes, device),
        batches=partial(_batches, scenes, batch_size, section.flip, device),
        loss=detection_loss,
        metric=partial(average_precision, scenes.scoring, SCORED_AT_ONCE),
        parts=PARTS,
        pictures=partial(_pictures, scenes),
        resized=cache(lambda size: _task(task, section, scenes, size, device)),
    )


def _build(task: TaskConfig, scenes: SceneData, device: torch.device, seed: int) -> nn.Module:
    make = partial(
        build_maskrcnn,
        task.architecture,
        num_classes=scenes.num_classes,
        image_size=scenes.size,
        width=task.width,
        head=task.head,
    )
    return initialized(make, seed).to(device)


def _batches(scenes: SceneData, batch_size: int, flip: bool, device: torch.device, seed: int) -> Iterator[SceneBatch]:
    return scene_batches(scenes.train, batch_size, derive_seed(seed, "batches"), flip=flip, device=device)


def _pictures(scenes: SceneData, model: nn.Module) -> dict[str, bytes]:
    return {"masks": mask_picture(scenes.scoring, scenes.classes, model)}


def detection_loss(model: nn.Module, batch: SceneBatch) -> Tensor:
    """The sum of the losses of a detector of torchvision in training mode; in evaluation mode the sum of its scores.

    The losses are those of the proposals (object or not, box) and of the regions (class, box, mask). They are computed
    from a random sample of proposals, which the batch's seed fixes. In evaluation mode torchvision computes no loss:
    the sum of scores only stands for a forward pass, so that its time can be measured.
    """
    if not model.training:
        return torch.stack([found["scores"].sum() for found in model(batch.images)]).sum()
    with seeded(batch.seed):
        losses: dict[str, Tensor] = model(batch.images, batch.targets)
    return torch.stack([*losses.values()]).sum()
