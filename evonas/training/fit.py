"""The only training loop of the project."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


class StopReason(Enum):
    """Why a training ended; the value is the message for people."""

    COMPLETED = "all steps were taken"
    DIVERGED = "the loss became infinite or not a number"


@dataclass(frozen=True, slots=True)
class Trace:
    """What a training left behind: the loss of every step taken, and why it stopped."""

    losses: tuple[float, ...]
    stop: StopReason


def fit(
    loss: Callable[[Batch], Tensor],
    batches: Iterator[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    after_step: Callable[[int, Tensor], None] | None = None,
    check_every: int = 1,
    accumulate: int = 1,
) -> Trace:
    """Take ``steps`` optimizer steps; call again with the same iterator, optimizer and schedule to go on.

    Args:
        loss: closure from a batch to a scalar.
        batches: where batches are drawn from.
        optimizer: holds the parameters.
        steps: steps to take now.
        schedule: stepped once after each step.
        after_step: called with the step's number (from 0) and its detached loss, e.g. for a proximal step or a probe.
        check_every: how often the loss is looked at; on a GPU a larger number saves synchronizations.
        accumulate: batches of one step, whose gradients are averaged.

    Returns:
        The trace; a loss that is not finite stops the training at the next check.
    """
    losses: list[Tensor] = []
    for step in range(steps):
        optimizer.zero_grad(set_to_none=True)
        total: Tensor | float = 0.0
        for _ in range(accumulate):
            value = loss(next(batches)) / accumulate
            value.backward()
            total = total + value.detach()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        assert isinstance(total, Tensor)
        losses.append(total)
        if after_step is not None:
            after_step(step, losses[-1])
        if (step + 1) % check_every == 0 and not torch.stack(losses[-check_every:]).isfinite().all():
            return Trace(_floats(losses), StopReason.DIVERGED)
    finite = all(map(math.isfinite, floats := _floats(losses)))
    return Trace(floats, StopReason.COMPLETED if finite else StopReason.DIVERGED)


def _floats(losses: list[Tensor]) -> tuple[float, ...]:
    return tuple(torch.stack(losses).float().tolist()) if losses else ()
