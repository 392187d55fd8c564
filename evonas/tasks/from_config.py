"""The tasks of a configuration: networks on images and on scenes, language models, and tasks of users."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from evonas.config import DataConfig, SearchConfig, TaskConfig
from evonas.config.task import require_names
from evonas.tasks import data
from evonas.tasks.custom import custom_task
from evonas.tasks.detection.task import detection_task
from evonas.tasks.language.task import language_task
from evonas.tasks.language.text import load_text
from evonas.tasks.shift import corrupted, mean_accuracy
from evonas.tasks.synthesis.task import synthesis_task
from evonas.tasks.task import Task, classification


def tasks_from_config(config: SearchConfig, device: torch.device) -> tuple[Task, ...]:
    """The tasks of a search; those on images share one copy of the data, and language models one text.

    Raises:
        InputError: missing data or a missing package, a wrong architecture, or no such task of a user.
    """
    classifies = [task for task in config.tasks if task.kind == "classification"]
    images = _images(config.data, device) if classifies else None
    text = load_text(config.text) if any(task.transformer for task in config.tasks) else None
    batch_size = config.training.batch_size

    def made(task: TaskConfig) -> Task:
        if task.kind == "detection":
            return detection_task(task, config.data, batch_size, device)
        if task.kind == "synthesis":
            accumulation = config.training.accumulate
            return synthesis_task(task, config.data, batch_size, device, accumulation=accumulation)
        if images and task.architecture:
            return classification(task, images, config.data, batch_size, device)
        if task.transformer and text:
            return language_task(task, text, batch_size, device)
        return custom_task(task, batch_size, device)

    first, *others = map(made, config.tasks)
    if images and config.tasks[0] in classifies and "shift" in config.objectives.names:
        first = replace(first, shifted=partial(mean_accuracy, corrupted(images)))
    return first, *others


def _images(section: DataConfig, device: torch.device) -> data.ImageData:
    return data.load_images(section).to(device)


def task_names(tasks: Sequence[TaskConfig]) -> list[str]:
    """What tasks are called.

    Raises:
        InputError: two have one name.
    """
    require_names(tasks)
    return [task.label for task in tasks]
