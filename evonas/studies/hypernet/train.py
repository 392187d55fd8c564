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


def build_run(piece: HypernetRun) -> tuple[HyperTask, HyperNetwork]:
    """The task and a fresh network.

    A plain network is a hypernetwork that predicts its theta0 for every gamma; hidden layers and heads are frozen.
    """
    device = find_device(piece.device)
    images = _images(piece.data, device)
    make = TASKS[piece.task.name]
    task = make(
        images,
        layer=parse_layer(piece.task.layer, "task.layer"),
        width=piece.task.width,
        batch_size=piece.task.batch_size,
    )
    if piece.place is not None:
        network = task.build(piece.seed, hidden=(), correction=0.0, predict=piece.run.predict)
        for frozen in (network.body, network.heads):
            frozen.requires_grad_(False)
        return task, network.to(device)
    task = with_noise(task, piece.noise)
    network = task.build(
        piece.seed,
        parametrization=piece.parametrization,
        hidden=piece.run.hidden,
        activation=piece.activation,
        norm=None if piece.norm == NO_NORM else piece.norm,
        predict=piece.run.predict,
        correction=piece.correction or None,
        head_gain=None if piece.correction else piece.run.head_gain,
    )
    return task, network.to(device)


def do_hypernet_run(piece: HypernetRun, _needed: Mapping[HypernetRun, Any] = MappingProxyType({})) -> dict[str, Any]:
    """One run, as the record keeps it.

    ``curve``: steps and losses on the fixed batches; ``magnitudes``: norms of z and theta along a ray at the start;
    ``scalars``: what ``diagnostics.scalars`` says of all tensors together, by tag, at the first step
    and the last. At each gamma of the task's grid, or the one of a plain network: ``losses`` on the fixed batches,
    ``metric`` and ``costs``; None if the run diverged.
    """
    with seeded(derive_seed(piece.seed, "dropout")):  # its masks come from torch's generator
        return _work(piece)


def _work(piece: HypernetRun) -> dict[str, Any]:
    task, network = build_run(piece)
    fixed = task.batches(derive_seed(0, "fixed batches"))  # the same for all seeds
    kept = [next(fixed) for _ in range(piece.run.fixed)]
    batches: Iterator[Any] = task.batches(piece.seed)
    grid, sizes = task.grid, []
    if piece.place is None:
        sizes = torch.stack(magnitudes(network, ray(network))).T.tolist()
    else:
        gamma = task.grid[piece.place]
        grid = gamma[None]
        kept, batches = [at_gamma(batch, gamma) for batch in kept], (at_gamma(batch, gamma) for batch in batches)
    measured = [] if piece.place is not None else [[0, _scalars(task, network, kept[0])]]
    optimizer = hypernet_optimizer(network, piece)
    curve, done, stop = [[0, _loss(task, network, kept)]], 0, StopReason.COMPLETED
    while done < piece.run.steps and stop is StopReason.COMPLETED:
        steps = min(piece.run.check_every, piece.run.steps - done)
        trace = fit(lambda batch: task.loss(network, batch), batches, optimizer, steps=steps)
        done, stop = done + len(trace.losses), trace.stop
        curve.append([done, _loss(task, network, kept) if stop is StopReason.COMPLETED else None])
    ends = {"losses": None, "metric": None, "costs": None}
    value = {"curve": curve, "magnitudes": sizes, "scalars": measured, "steps": done, **ends}
    losses = [_loss(task, network, [at_gamma(batch, gamma) for batch in kept]) for gamma in grid]
    if curve[-1][1] is None or None in losses:
        return value
    if piece.place is None:
        measured.append([done, _scalars(task, network, kept[0])])
    costs = None if task.cost is None else _floats(task.cost(network, grid))
    return value | {"losses": losses, "metric": _floats(task.metric(network, grid)), "costs": costs}


def hypernet_optimizer(network: HyperNetwork, piece: HypernetRun) -> torch.optim.Optimizer:
    """SGD, SGD with Nesterov momentum .9, or Adam."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if piece.optimizer == "adam":
        return torch.optim.Adam(learned, lr=piece.learning_rate, fused=True)
    momentum = 0.9 if piece.optimizer == "momentum" else 0.0
    return torch.optim.SGD(learned, lr=piece.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=True)


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
    images, _ = data.load_images(section)
    return data.ImageData(images.name, images.train.to(device), images.scoring.to(device), images.num_classes)


def _floats(values: Tensor) -> list[float]:
    return [float(value) for value in values]
