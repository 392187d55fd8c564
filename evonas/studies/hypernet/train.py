"""One run of a study: a hypernetwork, or a plain network for one gamma, trained and measured."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from evonas.config import DataConfig
from evonas.graph.catalogue import parse_layer
from evonas.seeding import derive_seed
from evonas.studies.hypernet.diagnostics import magnitudes, ray, scalars
from evonas.studies.hypernet.network import HyperNetwork
from evonas.studies.hypernet.settings import NO_NORM, HypernetRun
from evonas.studies.hypernet.tasks import HyperTask, registration, regularized_classification, rescaled_classification
from evonas.studies.hypernet.variants import at_gamma, with_noise
from evonas.tasks import data
from evonas.training.device import find_device
from evonas.training.fit import StopReason, fit
from evonas.training.modes import evaluating, seeded

TASKS: Mapping[str, Callable[..., HyperTask]] = {
    "regularized_classification": regularized_classification,
    "rescaled_classification": rescaled_classification,
    "registration": registration,
}


def build_run(spec: HypernetRun) -> tuple[HyperTask, HyperNetwork]:
    """The task and a fresh network.

    A plain network is a hypernetwork that predicts its theta0 for every gamma; hidden layers and heads are frozen.
    """
    device = find_device(spec.device)
    images = _images(spec.data, device)
    make = TASKS[spec.task.name]
    task = make(
        images,
        layer=parse_layer(spec.task.layer, "task.layer"),
        width=spec.task.width,
        batch_size=spec.task.batch_size,
    )
    if spec.place is not None:
        network = task.build(spec.seed, hidden=(), correction=0.0, predict=spec.run.predict)
        for frozen in (network.body, network.heads):
            frozen.requires_grad_(False)
        return task, network.to(device)
    task = with_noise(task, spec.noise)
    network = task.build(
        spec.seed,
        parametrization=spec.parametrization,
        hidden=spec.run.hidden,
        activation=spec.activation,
        norm=None if spec.norm == NO_NORM else spec.norm,
        predict=spec.run.predict,
        correction=spec.correction or None,
        head_gain=None if spec.correction else spec.run.head_gain,
    )
    return task, network.to(device)


def do_hypernet_run(spec: HypernetRun, _needed: Mapping[HypernetRun, Any] = MappingProxyType({})) -> dict[str, Any]:
    """One run, as the record keeps it.

    ``curve``: steps and losses on the fixed batches; ``magnitudes``: norms of z and theta along a ray at the start;
    ``scalars``: what ``diagnostics.scalars`` says of all tensors together, by tag, at the first step
    and the last. At each gamma of the task's grid, or the one of a plain network: ``losses`` on the fixed batches,
    ``metric`` and ``costs``; None if the run diverged.
    """
    with seeded(derive_seed(spec.seed, "dropout")):  # its masks come from torch's generator
        return _work(spec)


def _work(spec: HypernetRun) -> dict[str, Any]:
    task, network = build_run(spec)
    fixed = task.batches(derive_seed(0, "fixed batches"))  # the same for all seeds
    kept = [next(fixed) for _ in range(spec.run.fixed)]
    batches: Iterator[Any] = task.batches(spec.seed)
    grid, sizes = task.grid, []
    if spec.place is None:
        sizes = torch.stack(magnitudes(network, ray(network))).T.tolist()
    else:
        gamma = task.grid[spec.place]
        grid = gamma[None]
        kept, batches = [at_gamma(batch, gamma) for batch in kept], (at_gamma(batch, gamma) for batch in batches)
    measured = [] if spec.place is not None else [[0, _scalars(task, network, kept[0])]]
    optimizer = hypernet_optimizer(network, spec)
    curve, done, stop = [[0, _loss(task, network, kept)]], 0, StopReason.COMPLETED
    while done < spec.run.steps and stop is StopReason.COMPLETED:
        steps = min(spec.run.check_every, spec.run.steps - done)
        trace = fit(lambda batch: task.loss(network, batch), batches, optimizer, steps=steps)
        done, stop = done + len(trace.losses), trace.stop
        curve.append([done, _loss(task, network, kept) if stop is StopReason.COMPLETED else None])
    ends = {"losses": None, "metric": None, "costs": None}
    value = {"curve": curve, "magnitudes": sizes, "scalars": measured, "steps": done, **ends}
    losses = [_loss(task, network, [at_gamma(batch, gamma) for batch in kept]) for gamma in grid]
    if curve[-1][1] is None or None in losses:
        return value
    if spec.place is None:
        measured.append([done, _scalars(task, network, kept[0])])
    costs = None if task.cost is None else _floats(task.cost(network, grid))
    return value | {"losses": losses, "metric": _floats(task.metric(network, grid)), "costs": costs}


def hypernet_optimizer(network: HyperNetwork, spec: HypernetRun) -> torch.optim.Optimizer:
    """SGD, SGD with Nesterov momentum 0.9, or Adam."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if spec.optimizer == "adam":
        return torch.optim.Adam(learned, lr=spec.learning_rate, fused=True)
    momentum = 0.9 if spec.optimizer == "momentum" else 0.0
    return torch.optim.SGD(learned, lr=spec.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True)


@torch.no_grad()
def _loss(task: HyperTask, network: HyperNetwork, batches: list[Any]) -> float | None:
    with evaluating(network):
        losses = [float(task.loss(network, batch)) for batch in batches]
    mean = sum(losses) / len(losses)
    return mean if math.isfinite(mean) else None


def _scalars(task: HyperTask, network: HyperNetwork, batch: Any) -> dict[str, float]:
    def loss(model: HyperNetwork, gamma: Tensor) -> Tensor:
        return task.loss(model, at_gamma(batch, gamma))

    with evaluating(network):  # dropout would draw from the generator of the training
        found = scalars(network, task.grid, loss, tensors=False)
    return {tag: value for tag, value in found.items() if math.isfinite(value)}


@lru_cache(maxsize=2)
def _images(section: DataConfig, device: torch.device) -> data.ImageData:
    return data.load_images(section).to(device)


def _floats(values: Tensor) -> list[float]:
    return [float(value) for value in values]
