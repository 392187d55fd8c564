"""How good the images of a generator are against real ones of the same classes."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from evonas.surgery.recalibrate import has_running_statistics
from evonas.tasks.data import LabelledImages
from evonas.tasks.synthesis.distance import Quality, quality
from evonas.tasks.synthesis.features import Describe, Described, joined
from evonas.tasks.synthesis.sampling import STANDING_BATCHES, draw_latents, standing_statistics

SEED = 0  # of latents and of labels for statistics: every generator makes images of the same ones


@dataclass(frozen=True)
class SampleEvaluation:
    """Generators are compared with as many real images as they generate, of the same classes.

    Attributes:
        real: scoring images in [-1, 1].
        describe: the feature network.
        latent: the number of latent variables.
        classes: the number of classes.
        batch: images that are generated at a time.
    """

    real: LabelledImages
    describe: Describe
    latent: int
    classes: int
    batch: int = 100

    def prepared(self, generator: nn.Module) -> nn.Module:
        """A copy in evaluation mode that samples with standing statistics, where its layers have running values."""
        copied = copy.deepcopy(generator).eval()
        if any(map(has_running_statistics, copied.modules())):
            standing_statistics(copied, self._draws(), batches=STANDING_BATCHES)
        return copied

    def __call__(self, generator: nn.Module) -> Quality:
        """The quality of what a prepared generator makes of the labels of the real images."""
        parts = [self.describe(images) for images in self._generated(generator, self.real.labels)]
        return quality(joined(parts), self._of_real)

    def samples(self, generator: nn.Module, rows: int, columns: int) -> Tensor:
        """Images [rows, columns, 3, h, w] of a prepared generator; row i is of class i."""
        labels = torch.arange(rows, device=self.real.labels.device).repeat_interleave(columns)
        images = torch.cat(list(self._generated(generator, labels)))
        return images.view(rows, columns, *images.shape[1:])

    @cached_property
    def _of_real(self) -> Described:
        return joined([self.describe(part) for part in self.real.images.split(self.batch)])

    @torch.no_grad()
    def _generated(self, generator: nn.Module, labels: Tensor) -> Iterator[Tensor]:
        rng = torch.Generator().manual_seed(SEED)
        for part in labels.split(self.batch):
            images: Tensor = generator(draw_latents(len(part), self.latent, rng).to(part.device), part)
            yield images

    def _draws(self) -> Iterator[tuple[Tensor, Tensor]]:
        rng, device = torch.Generator().manual_seed(SEED + 1), self.real.images.device
        while True:
            latents = draw_latents(self.batch, self.latent, rng)
            yield latents.to(device), torch.randint(self.classes, (self.batch,), generator=rng).to(device)
