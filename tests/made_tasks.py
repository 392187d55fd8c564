"""A small network and tasks made up here, whose losses and scores are known."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from evonas.tasks.task import Task


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 4, 1),
            nn.BatchNorm2d(4),
            nn.Flatten(),
            nn.Linear(16, 2),
        )


def made_task(name: str = "made", loss: Callable[[nn.Module, Any], Tensor] | None = None, metric: Any = 0.5) -> Task:
    """A task with a dictated score, on images of noise."""

    def batches(seed: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield torch.randn((4, 3, 4, 4), generator=generator)

    def score(_model: nn.Module) -> float:
        if isinstance(metric, BaseException):
            raise metric
        return metric

    return Task(name, network, batches, loss or (lambda model, batch: model(batch).square().mean()), score)
