"""Problems with a setting gamma that one hypernetwork is to solve for all gammas at once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.seeding import derive_seed
from evonas.studies.hypernet.inputs import InputRange, Inputs
from evonas.studies.hypernet.network import HyperNetwork, Options
from evonas.studies.hypernet.primaries import Displacement, ImageClassifier
from evonas.studies.hypernet.registration import pairs_of_one_class, roughness, warp
from evonas.tasks import data
from evonas.tasks.task import accuracy, initialized

GN_RELU = CATALOGUE["gn-relu"]
GAMMAS = 4  # settings a training batch is seen under
GRID = 5  # settings the metric is taken at
RATES: Mapping[str, InputRange] = {"weight_decay": (-5.0, -2.0), "smoothing": (0.0, 0.3), "dropout": (0.0, 0.5)}
FACTORS: InputRange = (0.0, 0.5)  # the rescale factors of arXiv 2304.05448
SCORED_PAIRS = 256


@dataclass(frozen=True, slots=True)
class HyperTask:
    """A problem with a setting; seeds come first, as in ``evonas.Task``.

    Attributes:
        name: what it is called.
        inputs: names, sizes and ranges of gamma.
        primary: from a seed to the freshly initialized network that solves it for one gamma.
        batches: from a seed to training batches without end: tuples that begin with gammas [n, d], uniform over the
            ranges.
        loss: from a hypernetwork and a batch to a scalar; what it depends on are the first coordinates of gamma.
        metric: from a hypernetwork and gammas [n, d] to n numbers, larger is better.
        grid: gammas [n, d] to take the metric at: all coordinates from the start to the end of their ranges.
        cost: from a hypernetwork and gammas [n, d] to n numbers: floating point operations of the primary network on
            an image. None where gamma does not change them.
    """

    name: str
    inputs: Inputs
    primary: Callable[[int], nn.Module]
    batches: Callable[[int], Iterator[Any]]
    loss: Callable[[HyperNetwork, Any], Tensor]
    metric: Callable[[HyperNetwork, Tensor], Tensor]
    grid: Tensor
    cost: Callable[[HyperNetwork, Tensor], Tensor] | None = None

    def build(self, seed: int, /, **options: Unpack[Options]) -> HyperNetwork:
        """A fresh hypernetwork for this problem.

        Args:
            seed: of the primary network and of the hypernetwork.
            options: of ``HyperNetwork``; ranges and seed are set here, unless given.
        """
        options = {"ranges": self.inputs.ranges, "seed": derive_seed(seed, "hypernetwork"), **options}
        return HyperNetwork(self.primary(seed), self.inputs.sizes, **options)


def regularized_classification(
    images: data.ImageData, *, layer: Genome = GN_RELU, width: int = 8, batch_size: int = 32, gammas: int = GAMMAS
) -> HyperTask:
    """Classification for all weight decays, label smoothings and dropout rates at once.

    The loss of a gamma is cross entropy with its smoothing and dropout, plus decay / 2 ||kernels||^2 over predicted
    tensors of two axes or more. The metric is accuracy on the scoring images.

    Args:
        images: from ``evonas.tasks.data.load_images``.
        layer: what follows each convolution.
        width: channels of the first convolution.
        batch_size: images a batch.
        gammas: settings a batch; all of them see the same images.
    """
    inputs = Inputs.of(dict.fromkeys(RATES, 1), RATES)
    return _task(
        "regularized_classification",
        inputs,
        partial(ImageClassifier, layer, width=width, num_classes=images.num_classes),
        partial(_classified, images.train, batch_size, inputs, gammas),
        regularized_loss,
        partial(_accuracies, images.scoring),
    )


def rescaled_classification(
    images: data.ImageData,
    *,
    layer: Genome = GN_RELU,
    width: int = 8,
    batch_size: int = 32,
    factors: InputRange = FACTORS,
) -> HyperTask:
    """Classification at all rescale factors of the feature maps at once: accuracy against computation.

    Each batch has one factor, which sets the size of maps, and so the cost. The metric is accuracy on the scoring
    images.

    Args:
        images: from ``evonas.tasks.data.load_images``.
        layer: what follows each convolution.
        width: channels of the first convolution.
        batch_size: images a batch.
        factors: their range.

    Source: the problem of arXiv 2304.05448, with another network.
    """
    inputs = Inputs.of(1, factors)
    task = _task(
        "rescaled_classification",
        inputs,
        partial(ImageClassifier, layer, width=width, num_classes=images.num_classes),
        partial(_classified, images.train, batch_size, inputs, 1),
        rescaled_loss,
        partial(_rescaled_accuracies, images.scoring),
    )
    return replace(task, cost=partial(_rescaled_costs, images.scoring.images[:1]))


def registration(
    images: data.ImageData, *, layer: Genome = GN_RELU, width: int = 8, batch_size: int = 16, gammas: int = GAMMAS
) -> HyperTask:
    """Registration of two images of one class for all weights of smoothness at once.

    The loss is (1 - gamma) mean squared error + gamma roughness of the displacement field. The metric is the negative
    mean squared error on pairs of scoring images.

    Args:
        images: from ``evonas.tasks.data.load_images``; their first channel is registered.
        layer: what follows each convolution but the last.
        width: channels.
        batch_size: pairs a batch.
        gammas: settings a batch; all of them see the same pairs.
    """
    inputs = Inputs.of(1)
    scored = next(pairs_of_one_class(images.scoring, SCORED_PAIRS, seed=0))
    return _task(
        "registration",
        inputs,
        partial(Displacement, layer, width=width),
        partial(_paired, images.train, batch_size, inputs, gammas),
        registration_loss,
        partial(_registration_scores, scored),
    )


def regularized_loss(model: HyperNetwork, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Mean over gammas of cross entropy with smoothing and dropout, and of weight decay."""
    gammas, images, labels = batch
    decay, smoothing, rate = gammas[:, : len(RATES)].unbind(-1)
    theta = model.predict(gammas)
    logits = model.call_primary(theta, images, rate, in_dims=(None, 0))
    likelihood = functional.log_softmax(logits, dim=-1)  # [gammas, b, classes]
    right = likelihood[:, torch.arange(len(labels)), labels].mean(1)
    entropy = -(1 - smoothing) * right - smoothing * likelihood.mean((1, 2))
    kernels = [tensor.flatten(1) for tensor in theta.values() if tensor.ndim > 2]
    squares = sum((kernel.square().sum(1) for kernel in kernels), torch.zeros_like(decay))
    return (entropy + 10**decay / 2 * squares).mean()


def rescaled_loss(model: HyperNetwork, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Cross entropy at the batch's only rescale factor."""
    (gamma,), images, labels = batch
    return functional.cross_entropy(model(gamma, images, factor=gamma[0].item()), labels)


def registration_loss(model: HyperNetwork, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Mean over gammas and pairs of (1 - gamma) squared error + gamma roughness."""
    gammas, pairs = batch
    fields: Tensor = model(gammas, pairs)  # [gammas, b, 2, h, w]
    moving, fixed = pairs.expand(len(gammas), -1, -1, -1, -1).flatten(0, 1).split(1, dim=1)
    errors = (warp(moving, fields.flatten(0, 1)) - fixed).square().mean((1, 2, 3)).view(fields.shape[:2])
    return torch.lerp(errors, roughness(fields), gammas[:, :1]).mean()


def flops(model: HyperNetwork, gamma: Tensor, images: Tensor) -> int:
    """Floating point operations of the primary network of ``rescaled_classification`` at a factor gamma [d]."""
    primary = model.materialize(gamma).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        primary(images, factor=gamma[0].item())
    return int(counter.get_total_flops())


def _task(
    name: str,
    inputs: Inputs,
    make: Callable[[], nn.Module],
    batches: Callable[[int], Iterator[Any]],
    loss: Callable[[HyperNetwork, Any], Tensor],
    metric: Callable[[HyperNetwork, Tensor], Tensor],
) -> HyperTask:
    grid = inputs.diagonal(torch.linspace(0, 1, GRID))
    return HyperTask(name, inputs, partial(initialized, make), batches, loss, metric, grid)


def _classified(
    images: data.LabelledImages, batch_size: int, inputs: Inputs, gammas: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    settings = _settings(inputs, gammas, images.images.device, seed)
    for batch, labels in data.image_batches(images, batch_size, derive_seed(seed, "batches")):
        yield next(settings), batch, labels


def _paired(
    images: data.LabelledImages, batch_size: int, inputs: Inputs, gammas: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    pairs = pairs_of_one_class(images, batch_size, derive_seed(seed, "batches"))
    yield from zip(_settings(inputs, gammas, images.images.device, seed), pairs, strict=True)


def _settings(inputs: Inputs, count: int, device: torch.device, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(derive_seed(seed, "gammas"))
    while True:
        yield inputs.sample(count, generator).to(device)


def _accuracies(images: data.LabelledImages, model: HyperNetwork, gammas: Tensor) -> Tensor:
    return torch.tensor([accuracy(images, model.materialize(gamma)) for gamma in gammas])


def _rescaled_accuracies(images: data.LabelledImages, model: HyperNetwork, gammas: Tensor) -> Tensor:
    return torch.tensor([accuracy(images, model.materialize(gamma), factor=gamma[0].item()) for gamma in gammas])


def _rescaled_costs(images: Tensor, model: HyperNetwork, gammas: Tensor) -> Tensor:
    return torch.tensor([float(flops(model, gamma, images)) for gamma in gammas])


@torch.no_grad()
def _registration_scores(pairs: Tensor, model: HyperNetwork, gammas: Tensor) -> Tensor:
    moving, fixed = pairs.split(1, dim=1)
    fields = (model.materialize(gamma).eval()(pairs) for gamma in gammas)
    return torch.stack([-(warp(moving, field) - fixed).square().mean() for field in fields])
