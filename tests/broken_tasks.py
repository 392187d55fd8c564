"""Tasks that go wrong, each in its own way: what a matrix must survive. ``batch_size`` is not used."""

# ruff: noqa: ARG001

import os
from typing import Any

import torch
from made_tasks import made_task
from torch import Tensor, nn

from evonas.tasks.task import Task


def sound(device: torch.device, batch_size: int) -> Task:
    """One that does not."""
    return made_task("sound")


def raising(device: torch.device, batch_size: int) -> Task:
    """Raises an error of Python's."""

    def loss(_model: nn.Module, _batch: Any) -> Tensor:
        raise KeyError("labels")

    return made_task("raising", loss)


def hungry(device: torch.device, batch_size: int) -> Task:
    """Asks for more memory than there is."""
    return made_task("hungry", lambda _model, _batch: torch.empty(2**60))


def dying(device: torch.device, batch_size: int) -> Task:
    """Ends its process, as a fault in native code or the kernel's killer does."""

    def loss(_model: nn.Module, _batch: Any) -> Tensor:
        os._exit(9)

    return made_task("dying", loss)
