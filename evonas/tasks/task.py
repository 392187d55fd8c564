"""A task: a network with places for layers, data, a loss and a metric."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.config import DataConfig, LayerConfig, TaskConfig, TrainingConfig
from evonas.graph.genome import Genome
from evonas.seeding import derive_seed
from evonas.surgery.install import with_layer
from evonas.tasks import architectures, data
from evonas.training.modes import evaluating, seeded

EVALUATION_BATCH = 500

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Task:
    """What a layer is judged on.

    Attributes:
        name: the objective's name.
        build: from a seed to a freshly initialized network with its own normalizations and activations.
        batches: from a seed to training batches without end.
        loss: from a network and a batch to a scalar.
        metric: from a network in evaluation mode to a number, larger is better; or to several by name, of which the
            first is the score and the others are reported beside it.
        norms: patterns of the modules that a layer takes the place of, see ``evonas.replace_modules``; none if it goes
            by call site, through ``torch.fx``.
        cycle: batches of a round, where they are of several kinds that take turns.
        put: from a network, a layer and how it is lowered to a copy with the layer in it; none if ``norms`` or
            ``parts`` say where it goes.
        parts: names of submodules in which a layer is put by call site, each traced by itself; none if the network is
            traced as a whole.
        rung_by_metric: whether the score at a rung is the metric, as where the loss says little; else the likelihood.
        optimizer: from a network to the optimizer that trains it; none if it is that of ``[training]``.
        after_step: called with the network after each optimizer step and the number of steps so far.
        curves: from a trained network to values over steps, by name, beside its loss.
        pictures: from a trained network to PNG files, by name.
        resized: from a batch size to the same task with batches of that size; none if there is only one size.
        shifted: as ``metric``, on scoring data that were corrupted; none if there are no such data.
    """

    name: str
    build: Callable[[int], nn.Module]
    batches: Callable[[int], Iterator[Any]]
    loss: Callable[[nn.Module, Any], Tensor]
    metric: Callable[[nn.Module], float | Mapping[str, float]]
    norms: tuple[str, ...] = ()
    cycle: int = 1
    put: Callable[[nn.Module, Genome, LayerConfig], nn.Module] | None = None
    parts: tuple[str, ...] = ()
    rung_by_metric: bool = False
    optimizer: Callable[[nn.Module, TrainingConfig], torch.optim.Optimizer] | None = None
    after_step: Callable[[nn.Module, int], None] | None = None
    curves: Callable[[nn.Module], Mapping[str, Sequence[tuple[int, float]]]] | None = None
    pictures: Callable[[nn.Module], Mapping[str, bytes]] | None = None
    resized: "Callable[[int], Task] | None" = None
    shifted: Callable[[nn.Module], float] | None = None


def placed(task: Task, network: nn.Module, genome: Genome, layer: LayerConfig) -> nn.Module:
    """A copy of a task's network with a layer wherever the task says.

    Raises:
        InputError: the layer cannot stand there.
    """
    if task.put is not None:
        return task.put(network, genome, layer)
    return with_layer(network, genome, layer, task.norms, parts=task.parts, bare=layer.bare)


def classification(
    task: TaskConfig, images: data.ImageData, section: DataConfig, batch_size: int, device: torch.device
) -> Task:
    """An architecture trained with cross entropy on labelled images; the metric is accuracy on the scoring images."""
    spec = architectures.ArchitectureSpec(task.architecture, task.width, task.depth, task.head, task.unstrided)
    return Task(
        name=task.label,
        build=partial(_build, spec, images.num_classes, section.crop or images.image_size, device),
        batches=partial(_batches, images.train, batch_size, section),
        loss=cross_entropy,
        metric=partial(accuracy, images.scoring),
        resized=cache(lambda size: classification(task, images, section, size, device)),
    )


def score_of(found: float | Mapping[str, float]) -> float:
    """The score among what a task's ``metric`` gives.

    Raises:
        ValueError: it is not a finite number.
        TypeError: it is not a number at all.
    """
    value = next(iter(found.values())) if isinstance(found, Mapping) else found
    if isinstance(value, str):
        raise TypeError(f"the task's metric is the text {value!r}, not a number")
    score = float(value)  # of a tensor with one element, or of a number of numpy
    if not math.isfinite(score):
        raise ValueError(f"the task's metric is {score}")
    return score


def first_samples(batch: Any, count: int) -> Any:
    """The first samples of a batch: of tensors the first rows, of lists the first entries, of tuples both."""
    if isinstance(batch, tuple):
        parts = [first_samples(part, count) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else tuple(parts)
    return batch[:count] if isinstance(batch, Tensor | list) else batch


def initialized(make: Callable[[], Model], seed: int) -> Model:
    """A network with the initial weights of a seed; torch's global generators are left as they were."""
    with seeded(derive_seed(seed, "weights")):
        return make()


def _build(
    spec: architectures.ArchitectureSpec, num_classes: int, image_size: int, device: torch.device, seed: int
) -> nn.Module:
    make = partial(architectures.build_architecture, spec, num_classes=num_classes, image_size=image_size)
    return initialized(make, seed).to(device)


def _batches(
    images: data.LabelledImages, batch_size: int, section: DataConfig, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    return data.image_batches(images, batch_size, derive_seed(seed, "batches"), crop=section.crop, flip=section.flip)


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Mean cross entropy of the network's logits."""
    images, labels = batch
    return functional.cross_entropy(model(images), labels)


@torch.no_grad()
def accuracy(images: data.LabelledImages, model: nn.Module, **arguments: Any) -> float:
    """Share of images classified correctly, in evaluation mode; the modes of its modules are left as they were.

    Args:
        images: what to classify.
        model: gives logits.
        arguments: more arguments of the model.
    """
    hits = 0
    with evaluating(model):
        for start in range(0, len(images), EVALUATION_BATCH):
            part = slice(start, start + EVALUATION_BATCH)
            hits += int((model(images.images[part], **arguments).argmax(1) == images.labels[part]).sum())
    return hits / len(images)
