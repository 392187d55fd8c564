"""Class-conditional image synthesis as a task: layers stand in the generator of a BigGAN."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

import torch
from torch import nn

from evonas.config import DataConfig, TaskConfig
from evonas.errors import InputError
from evonas.extras import import_package
from evonas.tasks.data import LabelledImages, load_images
from evonas.tasks.synthesis.biggan import BigGan, build_biggan
from evonas.tasks.synthesis.distance import DISTANCE, Quality
from evonas.tasks.synthesis.evaluation import SampleEvaluation
from evonas.tasks.synthesis.features import EfficientNetFeatures
from evonas.tasks.synthesis.images import signed
from evonas.tasks.synthesis.pictures import image_grid
from evonas.tasks.synthesis.players import (
    DISCRIMINATOR_STEPS,
    Batch,
    Players,
    as_players,
    batches,
    begin,
    loss,
    put_layer,
)
from evonas.tasks.synthesis.progress import Curve
from evonas.tasks.synthesis.stages import WIDTHS
from evonas.tasks.task import Task, initialized

PUBLISHED_CHANNELS, PUBLISHED_SHARED = 96, 128
PART = 20  # latent variables for the first map, and as many for each block
ATTENTION: Mapping[int, tuple[int, ...]] = MappingProxyType({32: (16,), 64: (64,), 128: (64,)})
ROWS, COLUMNS = 20, 10  # of the picture, at most


def synthesis_task(
    task: TaskConfig, section: DataConfig, batch_size: int, device: torch.device, *, accumulation: int = 1
) -> Task:
    """A BigGAN trained on labelled images; the score falls with FD(EfficientNet-lite0) to the scoring images.

    As many images are generated as there are scoring images. Those of the best average of the generator count, by the
    distance at ``EVALUATIONS`` moments of the training and at its end.

    Args:
        task: its architecture is ``biggan-32``, ``biggan-64`` or ``biggan-128``. ``width`` is relative to the
            published networks, which have 96 channels and a shared embedding of 128.
        section: which images; ``flip`` mirrors the training images at random.
        batch_size: real images of a batch for the discriminator, and generated ones of each batch.
        device: where to compute.
        accumulation: batches that one optimizer step takes.

    Raises:
        InputError: images of another size or none at all, crops, or a missing package or missing weights.
    """
    where = task.architecture
    import_package("torchmetrics.image.fid", where)
    describe = EfficientNetFeatures(where).to(device)
    resolution = resolution_of(task.architecture)
    if section.crop:
        raise InputError("data.crop", str(section.crop), accepted="0: networks generate whole images")
    images = load_images(section).to(device)
    train, scoring = (signed(part, images.preparation, resolution) for part in (images.train, images.scoring))
    latent = PART * len(WIDTHS[resolution].generator)
    make = partial(
        build_biggan,
        resolution,
        classes=images.num_classes,
        channels=max(1, round(PUBLISHED_CHANNELS * task.width)),
        latent=latent,
        shared=max(1, round(PUBLISHED_SHARED * task.width)),
        attention=ATTENTION[resolution],
    )
    evaluation = SampleEvaluation(scoring, describe, latent, images.num_classes)
    return Synthesis(task.label, make, train, evaluation, device, section.flip, accumulation).task(batch_size)


def resolution_of(architecture: str) -> int:
    """The height and width of the images of ``biggan-N``.

    Raises:
        InputError: there is no such network.
    """
    names = {f"biggan-{size}": size for size in WIDTHS}
    if architecture not in names:
        raise InputError("tasks.architecture", architecture, accepted=", ".join(names))
    return names[architecture]


@dataclass(frozen=True, slots=True)
class Synthesis:
    """What a synthesis task is made of.

    Attributes:
        name: of the task.
        make: builds the networks with fresh weights.
        train: real images in [-1, 1].
        evaluation: compares generated images with real ones.
        device: where the networks are.
        flip: whether training images are mirrored at random.
        accumulation: batches that one optimizer step takes.
    """

    name: str
    make: Callable[[], BigGan]
    train: LabelledImages
    evaluation: SampleEvaluation
    device: torch.device
    flip: bool = False
    accumulation: int = 1

    def task(self, batch_size: int) -> Task:
        """The task with batches of a size."""
        return Task(
            name=self.name,
            build=self.build,
            batches=partial(self.batches, batch_size),
            loss=loss,
            metric=self.metric,
            cycle=1 + DISCRIMINATOR_STEPS,
            put=put_layer,
            rung_by_metric=True,
            optimizer=begin,
            after_step=self.after_step,
            curves=curves,
            pictures=self.pictures,
            resized=cache(self.task),
        )

    def build(self, seed: int) -> nn.Module:
        """Both networks with the initial weights of a seed."""
        return Players(initialized(self.make, seed)).to(self.device)

    def batches(self, batch_size: int, seed: int) -> Iterator[Batch]:
        """Batches for the players in turn."""
        return batches(
            self.train,
            self.evaluation.latent,
            self.evaluation.classes,
            size=batch_size,
            seed=seed,
            flip=self.flip,
            accumulation=self.accumulation,
        )

    def after_step(self, model: nn.Module, steps: int) -> None:
        """Let the average follow, and now and then evaluate it."""
        players = as_players(model)
        if players.progress is None or players.latest is None:
            return
        progress, (player, value) = players.progress, players.latest
        progress.step(steps, player, value, players.gan.generator)
        if steps % progress.every == 0:
            generator = self.evaluation.prepared(progress.average.network)
            progress.watch.see(steps, self.evaluation(generator), generator, progress.recent_loss("discriminator"))

    def metric(self, model: nn.Module) -> Mapping[str, float]:
        """The score, what it comes from, the number of generated images, and whether the training collapsed (1) or not.

        All of the best average of the generator so far; nothing is noted of it, so that a training that was looked at
        goes on as one that was not.
        """
        found, _ = self.best(as_players(model))
        progress = as_players(model).progress
        collapsed = progress is not None and progress.watch.collapsed is not None
        return {
            "score": found.score,
            DISTANCE: found.distance,
            "classes": found.classes,
            "generated images": float(found.generated),
            "collapsed": float(collapsed),
        }

    def pictures(self, model: nn.Module) -> Mapping[str, bytes]:
        """Images of the best average of the generator, a row for each class."""
        _, generator = self.best(as_players(model))
        rows = self.evaluation.samples(generator, min(ROWS, self.evaluation.classes), COLUMNS)
        return {"samples": image_grid(rows)}

    def best(self, players: Players) -> tuple[Quality, nn.Module]:
        """The averaged generator at the lowest distance of all evaluations and of now, ready to sample."""
        progress = players.progress
        if progress is None:
            generator = self.evaluation.prepared(players.gan.generator)
            return self.evaluation(generator), generator
        known = progress.watch.best
        if known and progress.watch.evaluations[-1][0] == progress.steps:
            return known
        generator = self.evaluation.prepared(progress.average.network)
        found = self.evaluation(generator)
        return known if known and known[0].distance <= found.distance else (found, generator)


def curves(model: nn.Module) -> Mapping[str, Curve]:
    """Losses, distances and class scores over the steps of the training."""
    progress = as_players(model).progress
    return progress.curves() if progress else {}
