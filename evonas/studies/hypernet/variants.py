"""Tasks of more input dimensions, and of a single gamma."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from evonas.seeding import derive_seed
from evonas.studies.hypernet.inputs import UNIT, Inputs
from evonas.studies.hypernet.tasks import HyperTask

_NOISE = "noise"  # the input of coordinates that a problem does not depend on


def with_noise(task: HyperTask, count: int) -> HyperTask:
    """The task with more coordinates of gamma, uniform in [0, 1], on which only the hypernetwork's parameters depend.

    They raise the input dimension, as random inputs of Bayesian hypernetworks do, and change nothing of the problem.

    Args:
        task: the problem.
        count: how many.
    """
    if not count:
        return task
    inputs = Inputs({**task.inputs.sizes, _NOISE: count}, {**task.inputs.ranges, _NOISE: UNIT})
    grid = inputs.diagonal(torch.linspace(0, 1, len(task.grid)))
    return replace(task, inputs=inputs, grid=grid, batches=partial(_noisy, task.batches, count))


def at_gamma(batch: tuple[Tensor, ...], gamma: Tensor) -> tuple[Tensor, ...]:
    """A batch of a task at one gamma [d] instead of its own."""
    return gamma[None].to(batch[0]), *batch[1:]


def _noisy(
    batches: Callable[[int], Iterator[tuple[Tensor, ...]]], count: int, seed: int
) -> Iterator[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(derive_seed(seed, "noise"))
    for gammas, *rest in batches(seed):
        noise = torch.rand((len(gammas), count), generator=generator)
        yield torch.cat((gammas, noise.to(gammas)), dim=1), *rest
