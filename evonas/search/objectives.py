"""Objectives beside the accuracy per architecture, for layers that were trained in full.

Each is a pure function of a ``MeasurementContext``, switched on by its name in ``[objectives]``, or in
``objectives.own`` where a user registered it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from evonas.config import LayerConfig
from evonas.errors import InputError, first_line
from evonas.graph.genome import Genome
from evonas.layer.lower import lower
from evonas.registry import Registry
from evonas.search.small_batch import SMALL_BATCH
from evonas.tasks.task import Task
from evonas.training.sensitivity import lr_sensitivity as sensitivity
from evonas.training.timing import forward_backward, relative_time

SHAPES: Mapping[str, tuple[int, ...]] = MappingProxyType(  # of the noise that layers are timed on, by layout
    {"bchw": (32, 32, 16, 16), "btd": (8, 128, 256)}
)
FACTORS = (1 / 9, 1 / 3, 1.0, 3.0, 9.0)  # of the default learning rate, for its sensitivity
LARGEST_FACTOR = 64.0  # where the ladder of learning rates ends
TRIED_SPARSITIES = tuple(step / 20 for step in range(1, 20))
_TOLERANCE = 0.05  # nats by which the loss may rise when inputs are dropped


@dataclass(frozen=True, slots=True)
class MeasurementContext:
    """A layer that was trained in full, and what objectives may ask of it.

    Attributes:
        genome: the layer.
        layer: how it is lowered.
        layout: axes of its inputs in the first task's network.
        device: where the tasks' networks are.
        trains: whether it passes the quality gate's minimum on the first task at this multiple of the default learning
            rate: the one in ``[training]``, or of several there the one that won on this task.
        losses: of a training of as many steps as the quality gate's, on the first task at this multiple of the default
            learning rate: the first one, and the mean of the last quarter (NaN where it left the numbers).
        sparse_metric: the first task's metric of its trained network when linear layers and 1x1 convolutions drop
            this share of their inputs, see ``evonas.training.topk.sparse_inputs``.
        shifted_metric: the first task's metric of its trained network on corrupted images, see ``evonas.tasks.shift``;
            NaN where it has none.
        small_batch_metric: the first task's metric after a training at batch size 4, see
            ``evonas.search.small_batch``; NaN where it has only one batch size.
    """

    genome: Genome
    layer: LayerConfig
    layout: str
    device: torch.device
    trains: Callable[[float], bool]
    losses: Callable[[float], tuple[float, float]]
    sparse_metric: Callable[[float], float]
    shifted_metric: Callable[[], float]
    small_batch_metric: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective.

    Attributes:
        name: what tables, the archive and the search file call it.
        weight: 1 where larger is better, -1 where smaller is, as in DEAP.
        measure: its value; a layer for which that is not finite is rejected.
        meaning: in a few words, for people.
    """

    name: str
    weight: float
    measure: Callable[[MeasurementContext], float]
    meaning: str

    @property
    def direction(self) -> str:
        """What is better, in words."""
        return "higher is better" if self.weight > 0 else "lower is better"


def latency(subject: MeasurementContext) -> float:
    """Time of forward and backward pass in training, relative to what torch has for inputs of the layout.

    That is ``nn.BatchNorm2d`` and ``nn.ReLU`` for images, ``nn.LayerNorm`` and ``nn.GELU`` for tokens. Both are
    measured side by side on noise of the shape in ``SHAPES``: the value is not the same in two runs.
    """
    shape = SHAPES[subject.layout]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(subject.device)
    layer, reference = _lowered(subject).to(subject.device), reference_layer(subject.layout).to(subject.device)
    return relative_time(forward_backward(layer, x), forward_backward(reference, x), subject.device)


def reference_layer(layout: str) -> nn.Module:
    """What the time of a layer is relative to, for inputs as in ``SHAPES``."""
    if layout == "btd":
        return nn.Sequential(nn.LayerNorm(_features(layout)), nn.GELU())
    return nn.Sequential(nn.BatchNorm2d(_features(layout)), nn.ReLU())


def parameters(subject: MeasurementContext) -> float:
    """Trainable values per channel: weight and bias, and v0 and v1 where the layer uses them."""
    return sum(parameter.numel() for parameter in _lowered(subject).parameters()) / _features(subject.layout)


def _lowered(subject: MeasurementContext) -> nn.Module:
    settings, layout = subject.layer, subject.layout
    return lower(
        subject.genome,
        _features(layout),
        layout=layout,
        groups=settings.groups,
        eps=settings.eps,
        momentum=settings.momentum,
    )


def _features(layout: str) -> int:
    return SHAPES[layout][1 if layout == "bchw" else -1]


def measure_stability_margin(subject: MeasurementContext) -> float:
    """Largest of the learning rates 2, 4, ..., 64 times the default, in this order, up to which the layer trains.

    1 where it does not train at twice the default: that it trains at the default is known.
    """
    margin = 1.0
    while margin < LARGEST_FACTOR and subject.trains(2 * margin):
        margin *= 2
    return margin


def measure_lr_sensitivity(subject: MeasurementContext) -> float:
    """LR sensitivity over 1/9, 1/3, 1, 3 and 9 times the default learning rate, in nats.

    Of short trainings and their training losses; see ``evonas.training.sensitivity``. Where nothing was learned it is
    the loss at initialization.
    """
    found = {factor: subject.losses(factor) for factor in FACTORS}
    initial = found[1.0][0]
    value = sensitivity({factor: final for factor, (_, final) in found.items()}, initial)
    return value if math.isfinite(value) else initial


def activation_sparsity(subject: MeasurementContext) -> float:
    """Largest of the sparsities 0.05, 0.1, ..., 0.95, in this order, up to which the loss rises by 0.05 nats or less.

    0 where it rises by more at the first. The loss is -log of the metric, which for language models is the mean cross
    entropy on the validation text; where the metric is an accuracy, 95 % of it must be left.
    """
    least, tolerated = subject.sparse_metric(0.0) * math.exp(-_TOLERANCE), 0.0
    for sparsity in TRIED_SPARSITIES:
        if not subject.sparse_metric(sparsity) >= least:
            break
        tolerated = sparsity
    return tolerated


def _require_usable(objective: Objective) -> None:
    """Refuse what could not be selected by."""
    where = f"objective {objective.name!r}"
    if not objective.name.isidentifier() or objective.name == "own":
        raise InputError(where, "is no name", accepted="letters, digits and _, not a digit first")
    if objective.weight not in (1.0, -1.0):
        raise InputError(where, f"weight {objective.weight}", accepted="1 (larger is better), -1 (smaller is better)")
    if not callable(objective.measure) or not objective.meaning:
        raise InputError(where, "has no measure or no meaning", accepted="a function of a Subject, and a text")


OBJECTIVES = Registry(
    "objective",
    (
        Objective("latency", -1.0, latency, "forward and backward time / that of BN-ReLU, of tokens LN-GELU"),
        Objective("parameters", -1.0, parameters, "trainable values per channel"),
        Objective("stability_margin", 1.0, measure_stability_margin, "largest learning rate that trains / the default"),
        Objective("lr_sensitivity", -1.0, measure_lr_sensitivity, "mean loss over learning rates minus the best"),
        Objective(
            "activation_sparsity", 1.0, activation_sparsity, "share of linear layers' inputs that may be dropped"
        ),
        Objective("shift", 1.0, lambda subject: subject.shifted_metric(), "accuracy on corrupted images"),
        Objective("small_batch", 1.0, lambda subject: subject.small_batch_metric(), "accuracy trained at batch size 4"),
    ),
    _require_usable,
)


def register_objective(objective: Objective) -> Objective:
    """Add an objective, which a search has where ``objectives.own`` names it.

    Raises:
        InputError: another objective has the name, or the record lacks something.
    """
    return OBJECTIVES.register(objective)


def require_measurable(names: Sequence[str], task: Task) -> None:
    """Make sure that objectives can be measured on the first task, before anything is trained.

    Raises:
        InputError: the task lacks what an objective needs.
    """
    if "shift" in names and task.shifted is None:
        found, accepted = f"{task.name} has no images to corrupt", "a network on images as the first task"
        raise InputError("objectives.shift", found, accepted=accepted)
    if "small_batch" in names:
        if task.resized is None:
            found, accepted = f"{task.name} has one batch size", "a first task that names its batch size"
            raise InputError("objectives.small_batch", found, accepted=accepted)
        try:
            task.resized(SMALL_BATCH)  # what cannot be made shall show before the first candidate
        except Exception as error:  # the code of a user may raise anything
            found = f"{task.name} cannot be made at batch size {SMALL_BATCH}: {first_line(error)}"
            raise InputError("objectives.small_batch", found, accepted="a first task of any batch size") from error
