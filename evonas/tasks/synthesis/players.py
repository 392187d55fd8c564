"""A generator and a discriminator as one network that the common training loop trains, with batches of two kinds.

The loop takes a batch, a loss and an optimizer step at a time. Here a batch is for one of the players: its loss gives
gradients to that player alone, and Adam leaves parameters without a gradient, and what it knows of them, as they are.
A cycle is one batch for the generator, then ``DISCRIMINATOR_STEPS`` batches for the discriminator. The generator comes
first because costs of layers are measured on the first batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from evonas.config import LayerConfig, TrainingConfig
from evonas.graph.genome import Genome
from evonas.seeding import derive_seed
from evonas.tasks.data import LabelledImages, image_batches
from evonas.tasks.synthesis import biggan
from evonas.tasks.synthesis.biggan import BigGan
from evonas.tasks.synthesis.ema import Ema
from evonas.tasks.synthesis.losses import discriminator_hinge, generator_hinge
from evonas.tasks.synthesis.progress import Player, Progress
from evonas.tasks.synthesis.sampling import draw_latents

DISCRIMINATOR_STEPS = 1  # of a cycle; published: 1 for ImageNet, 4 or 5 for CIFAR-10
DISCRIMINATOR_RATE = 2.0  # its learning rate, relative to the generator's; published: 4 for ImageNet, 1 for CIFAR-10
BETAS, EPS = (0.0, 0.999), 1e-6
EVALUATIONS = 10  # of a training


class GeneratorBatch(NamedTuple):
    """What the generator makes images of: latents [b, latent] and labels [b]."""

    latents: Tensor
    labels: Tensor


class DiscriminatorBatch(NamedTuple):
    """Real images [b, 3, h, w] in [-1, 1] with labels [b], and latents and labels of as many generated ones."""

    images: Tensor
    labels: Tensor
    latents: Tensor
    wanted: Tensor


Batch = GeneratorBatch | DiscriminatorBatch


class Players(nn.Module):
    """A BigGAN, and what is noted of its training.

    Attributes:
        gan: generator and discriminator.
        progress: None before the training.
        latest: whose loss was computed last, and the loss, detached.
    """

    def __init__(self, gan: BigGan) -> None:
        super().__init__()
        self.gan = gan
        self.progress: Progress | None = None
        self.latest: tuple[Player, Tensor] | None = None


def put_layer(players: nn.Module, genome: Genome, layer: LayerConfig) -> nn.Module:
    """A copy, not yet trained, with a layer at every site of the generator; see ``biggan.put_layer``."""
    gan = biggan.put_layer(as_players(players).gan, genome, layer)
    assert isinstance(gan, BigGan)
    return Players(gan)


def as_players(model: nn.Module) -> Players:
    """The network of a synthesis task as what it is."""
    assert isinstance(model, Players)
    return model


def batches(
    images: LabelledImages,
    latent: int,
    classes: int,
    *,
    size: int,
    seed: int,
    flip: bool = False,
    accumulation: int = 1,
) -> Iterator[Batch]:
    """Batches for the players in turn, without end.

    Args:
        images: real ones, in [-1, 1].
        latent: the number of latent variables.
        classes: labels of generated images are drawn from so many, all as often.
        size: images of a batch.
        seed: of the order of images, of latents and labels.
        flip: whether real images are mirrored at random.
        accumulation: batches that one optimizer step takes, all for the same player.
    """
    real = image_batches(images, size, derive_seed(seed, "batches"), flip=flip)
    rng = torch.Generator().manual_seed(derive_seed(seed, "latents"))

    def drawn() -> GeneratorBatch:
        latents = draw_latents(min(size, len(images)), latent, rng)
        labels = torch.randint(classes, (len(latents),), generator=rng)
        return GeneratorBatch(latents.to(images.images.device), labels.to(images.labels.device))

    while True:
        for _ in range(accumulation):
            yield drawn()
        for _ in range(accumulation * DISCRIMINATOR_STEPS):
            yield DiscriminatorBatch(*next(real), *drawn())


def loss(model: nn.Module, batch: Batch) -> Tensor:
    """The hinge loss of the player that a batch is for; the other one gets no gradients."""
    players = as_players(model)
    generator, discriminator = players.gan.generator, players.gan.discriminator
    if len(batch) == 2:  # not by its class: the first samples of a batch are a plain tuple
        with frozen(discriminator):
            value = generator_hinge(players.gan(*batch).float())
        players.latest = "generator", value.detach()
        return value
    images, labels, latents, wanted = batch
    with torch.no_grad():
        generated = generator(latents, wanted)
    logits = discriminator(torch.cat((images, generated)), torch.cat((labels, wanted))).float()
    value = discriminator_hinge(*logits.split(len(images)))
    players.latest = "discriminator", value.detach()
    return value


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """What is computed inside has no gradients of the network's parameters."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad = True


def begin(model: nn.Module, settings: TrainingConfig) -> torch.optim.Optimizer:
    """Begin a training: the optimizer of both players, and notes that are empty.

    It is Adam with betas 0 and 0.999 and without weight decay, whatever ``settings.optimizer`` says. The learning rate
    of the settings is the generator's, and that of the discriminator is ``DISCRIMINATOR_RATE`` times as high. There are
    ``EVALUATIONS`` evaluations at equal distances.
    """
    players = as_players(model)
    generator, discriminator = players.gan.generator, players.gan.discriminator
    players.progress = Progress(Ema(generator), every=max(1, settings.steps // EVALUATIONS))
    rate = settings.learning_rate
    groups = [
        {"params": list(generator.parameters()), "lr": rate},
        {"params": list(discriminator.parameters()), "lr": DISCRIMINATOR_RATE * rate},
    ]
    return torch.optim.Adam(groups, lr=rate, betas=BETAS, eps=EPS)
