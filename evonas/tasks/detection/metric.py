"""Average precision of the boxes and masks that a network finds, as COCO defines it."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from evonas.extras import import_package
from evonas.tasks.detection.data import Scenes, Target, on_device
from evonas.training.modes import evaluating

MASK_THRESHOLD = 0.5  # of the probability that a pixel belongs to an object
_WHERE = "the metric of instance segmentation"


def average_precision(scenes: Scenes, batch_size: int, model: nn.Module) -> dict[str, float]:
    """Average precision on scenes, in evaluation mode; the modes of the network's modules are left as they were.

    Args:
        scenes: what to find objects in.
        batch_size: scenes that go through the network at a time.
        model: gives boxes, labels, scores and masks of each image, as torchvision's detectors do.

    Returns:
        As of ``precision_of``.
    """
    return precision_of(_found_and_true(scenes, batch_size, model))


def precision_of(pairs: Iterator[tuple[Target, Target]]) -> dict[str, float]:
    """Average precision of predictions, given with the true objects image by image.

    Predictions of a class are taken in the order of their scores. Each is right if its overlap with a true object of
    that class that no earlier one took, as intersection over union, reaches a threshold. Average precision is the mean
    of the precision over 101 recalls from 0 to 1; of the 100 predictions with the highest scores of each image and
    class. It is averaged over classes, and over the thresholds 0.5, 0.55, ..., 0.95 where the name has no 50.
    Predictions on crowds are neither right nor wrong.

    Args:
        pairs: predictions (``boxes``, ``labels``, ``scores``, ``masks`` [n, h, w] bool) and a target.

    Returns:
        ``mask_ap``, which is the score, ``mask_ap50``, ``box_ap`` and ``box_ap50``, between 0 and 1.

    Raises:
        InputError: torchmetrics or faster-coco-eval is not installed.

    Source: Lin et al. 2014, "Microsoft COCO", arXiv:1405.0312, and the evaluation that came with it.
    """
    import_package("faster_coco_eval", _WHERE)
    detection = import_package("torchmetrics.detection.mean_ap", _WHERE)
    precision = detection.MeanAveragePrecision(iou_type=("bbox", "segm"), backend="faster_coco_eval")
    precision.warn_on_many_detections = False
    for found, true in pairs:
        precision.update([found], [true])
    figures = precision.compute()
    names = {"mask_ap": "segm_map", "mask_ap50": "segm_map_50", "box_ap": "bbox_map", "box_ap50": "bbox_map_50"}
    return {name: max(0.0, float(figures[key])) for name, key in names.items()}  # -1 where no object is to be found


def _found_and_true(scenes: Scenes, batch_size: int, model: nn.Module) -> Iterator[tuple[Target, Target]]:
    for start in range(0, len(scenes), batch_size):
        drawn = [scenes.draw(number) for number in range(start, min(start + batch_size, len(scenes)))]
        for found, scene in zip(found_objects(model, [scene.image for scene in drawn]), drawn, strict=True):
            target = scene.target
            yield found, target | {"masks": target["masks"].bool()}


@torch.no_grad()
def found_objects(model: nn.Module, images: list[Tensor]) -> list[Target]:
    """What a network finds in images, on the CPU: ``boxes``, ``labels``, ``scores``, and ``masks`` [n, h, w] bool."""
    device = next(model.parameters()).device
    with evaluating(model):
        outputs = model([image.to(device) for image in images])
    cpu = torch.device("cpu")
    return [on_device(found | {"masks": found["masks"][:, 0] > MASK_THRESHOLD}, cpu) for found in outputs]
