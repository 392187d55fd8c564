"""Studies: parametrizations x optimizers x learning rates x activations x norms x corrections x seeds on one task."""

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import product
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from evonas.config import DataConfig, ExecutionConfig, Positive, PositiveInt, Section
from evonas.errors import InputError
from evonas.evaluate.evaluator import find_device
from evonas.evaluate.study import run_study
from evonas.evaluate.tally import Tally
from evonas.graph.catalogue import CATALOGUE
from evonas.hypernet.body import ACTIVATIONS, NORMS
from evonas.hypernet.diagnostics import magnitude_slope, ray
from evonas.hypernet.network import HyperNetwork
from evonas.hypernet.tasks import HyperTask, registration, regularized_classification, rescaled_classification
from evonas.instrument.fit import StopReason, fit
from evonas.record.results import Outcome, Results
from evonas.seeding import derive_seed
from evonas.tasks import data

Form = Literal["default", "encoding-only", "additive-only", "mip"]
OptimizerName = Literal["sgd", "momentum", "adam"]
Count = Annotated[int, Field(ge=0)]

TASKS: Mapping[str, Callable[..., HyperTask]] = {
    "regularized_classification": regularized_classification,
    "rescaled_classification": rescaled_classification,
    "registration": registration,
}
NO_NORM = "none"


class TaskConfig(Section):
    """``[task]``: the problem; ``layer``, a name of the catalogue, follows each convolution of the primary network."""

    name: Literal["regularized_classification", "rescaled_classification", "registration"]
    layer: str = "gn-relu"
    width: PositiveInt = 8
    batch_size: PositiveInt = 32


class RunConfig(Section):
    """``[run]``: what all runs share.

    The loss is taken every ``check_every`` steps on ``fixed`` batches that are drawn once. ``predict`` are patterns of
    the parameters that are predicted. ``head_gain`` gives fan-out heads where no correction is in the grid.
    """

    steps: PositiveInt = 500
    check_every: PositiveInt = 25
    fixed: PositiveInt = 8
    hidden: tuple[PositiveInt, ...] = (16, 128)
    predict: tuple[str, ...] = ("**",)
    head_gain: float | None = None


class GridConfig(Section):
    """``[grid]``: a correction of 0 is the parametrization's own default, see ``HyperNetwork``."""

    parametrizations: tuple[Form, ...] = ("default", "encoding-only", "additive-only", "mip")
    optimizers: tuple[OptimizerName, ...] = ("adam",)
    learning_rates: tuple[Positive, ...] = (3e-4, 1e-3, 3e-3)
    activations: tuple[str, ...] = ("leaky_relu",)
    norms: tuple[str, ...] = (NO_NORM,)
    corrections: tuple[Annotated[float, Field(ge=0)], ...] = (0.0,)
    seeds: tuple[Count, ...] = (1, 2, 3)


class StudyConfig(Section):
    """A study file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]+$")]
    task: TaskConfig
    data: DataConfig = DataConfig()
    run: RunConfig = RunConfig()
    grid: GridConfig = GridConfig()
    execution: ExecutionConfig = ExecutionConfig()


class Piece(Section):
    """One run: everything its outcome depends on."""

    task: TaskConfig
    data: DataConfig
    run: RunConfig
    parametrization: Form
    optimizer: OptimizerName
    learning_rate: float
    activation: str
    norm: str
    correction: float
    seed: int
    device: str


def pieces_of(study: StudyConfig) -> list[Piece]:
    """Every run of the grid.

    Raises:
        InputError: an unknown layer, activation or norm, missing data, or patterns that match no parameter.
    """
    grid = study.grid
    known = {"activations": tuple(ACTIVATIONS), "norms": (NO_NORM, *NORMS)}
    for key, accepted in known.items():
        for name in getattr(grid, key):
            if name not in accepted:
                raise InputError(f"grid.{key}", repr(name), accepted=", ".join(accepted))
    if study.task.layer not in CATALOGUE:
        raise InputError("task.layer", repr(study.task.layer), accepted=", ".join(CATALOGUE))
    axes = (grid.parametrizations, grid.optimizers, grid.learning_rates, grid.activations, grid.norms)
    found = [
        Piece(
            task=study.task,
            data=study.data,
            run=study.run,
            parametrization=form,
            optimizer=optimizer,
            learning_rate=rate,
            activation=activation,
            norm=norm,
            correction=correction,
            seed=seed,
            device=study.execution.device,
        )
        for form, optimizer, rate, activation, norm, correction, seed in product(*axes, grid.corrections, grid.seeds)
    ]
    build(found[0])
    return found


def run_pieces(
    study: StudyConfig, pieces: list[Piece], results: Results, watch: Callable[[Tally], None]
) -> dict[Piece, Outcome]:
    """Do what is not recorded; see ``evonas.evaluate.study.run_study`` for what it raises."""
    return run_study(pieces, work, results, study.execution, watch)


def build(piece: Piece) -> tuple[HyperTask, HyperNetwork]:
    """The task and a fresh hypernetwork."""
    device = find_device(piece.device)
    images = _images(piece.data, device)
    make = TASKS[piece.task.name]
    task = make(images, layer=CATALOGUE[piece.task.layer], width=piece.task.width, batch_size=piece.task.batch_size)
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


def work(piece: Piece) -> dict[str, Any]:
    """One run, as the record keeps it: losses on the fixed batches by step, and the metric over the task's grid."""
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(derive_seed(piece.seed, "dropout"))  # its masks come from torch's generator
        return _work(piece)


def _work(piece: Piece) -> dict[str, Any]:
    task, network = build(piece)
    fixed = task.batches(derive_seed(0, "fixed batches"))  # the same for all seeds
    kept = [next(fixed) for _ in range(piece.run.fixed)]
    slope = magnitude_slope(network, ray(network))
    optimizer = make_optimizer(network, piece)
    batches = task.batches(piece.seed)
    curve, done, stop = [[0, _loss(task, network, kept)]], 0, StopReason.COMPLETED
    while done < piece.run.steps and stop is StopReason.COMPLETED:
        steps = min(piece.run.check_every, piece.run.steps - done)
        trace = fit(lambda batch: task.loss(network, batch), batches, optimizer, steps=steps)
        done, stop = done + len(trace.losses), trace.stop
        curve.append([done, _loss(task, network, kept) if stop is StopReason.COMPLETED else None])
    finished = stop is StopReason.COMPLETED and curve[-1][1] is not None
    metric = [float(value) for value in task.metric(network, task.grid)] if finished else None
    return {"curve": curve, "metric": metric, "slope": _finite(slope), "steps": done}


def make_optimizer(network: HyperNetwork, piece: Piece) -> torch.optim.Optimizer:
    """SGD, SGD with Nesterov momentum .9, or Adam."""
    if piece.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=piece.learning_rate)
    momentum = 0.9 if piece.optimizer == "momentum" else 0.0
    return torch.optim.SGD(network.parameters(), lr=piece.learning_rate, momentum=momentum, nesterov=momentum > 0)


@torch.no_grad()
def _loss(task: HyperTask, network: HyperNetwork, batches: list[Any]) -> float | None:
    network.eval()
    losses = [float(task.loss(network, batch)) for batch in batches]
    network.train()
    return _finite(sum(losses) / len(losses))


@lru_cache(maxsize=2)
def _images(section: DataConfig, device: torch.device) -> data.ImageData:
    images, _ = data.load(section)
    return data.ImageData(images.name, images.train.to(device), images.scoring.to(device), images.num_classes)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
