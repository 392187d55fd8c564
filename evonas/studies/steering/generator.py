"""A small image generator to steer: digits of a wanted class from noise, in one step.

It is trained on scikit-learn's digits by a distance between distributions, without adversary, teacher or sampler.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evonas.config import DataConfig
from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.tasks.data import load_arrays
from evonas.training.fit import Trace, fit
from evonas.training.modes import seeded

CLASSES, SIDE = 10, 8
_NOISE = 16


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Images [n, 1, 8, 8] float32 in [0, 1] and labels [n] int64."""

    images: Tensor
    labels: Tensor

    def of(self, label: int) -> Tensor:
        """The images of one class."""
        return self.images[self.labels == label]


def load_digits(*, test: bool = False) -> Digits:
    """The training or the test images of scikit-learn's digits, split as for all tasks."""
    images, labels = load_arrays(DataConfig(name="digits"), test=test)
    return Digits(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels))


class Generator(nn.Module):
    """Noise and class to an image: two dense layers, then maps of 2x2, 4x4 and 8x8.

    Places to steer are its norms, ``"**.norm*"``: of vectors in the dense part, of channels in the maps.

    Args:
        width: neurons of the dense layers and channels of the maps.

    Shapes: noise [b, 16], labels [b] -> [b, 1, 8, 8] in [0, 1].
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, width)
        self.dense = nn.Linear(width + _NOISE, width)
        self.norm = nn.LayerNorm(width)
        self.unfold = nn.Linear(width, 4 * width)
        self.blocks = nn.ModuleList(Upscale(width) for _ in range(2))
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        self.act = nn.SiLU()

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """One image per row of noise."""
        x = self.act(self.norm(self.dense(torch.cat([self.embedding(labels), noise], 1))))
        x = self.unfold(x).view(len(x), -1, 2, 2)
        for block in self.blocks:
            x = block(x)
        image: Tensor = self.last(x).sigmoid()
        return image


class Upscale(nn.Module):
    """Twice the size, then convolution, norm and SiLU. Shapes: x [b, c, h, w] -> [b, c, 2h, 2w]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2)
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(8, width)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        output: Tensor = self.act(self.norm(self.conv(self.up(x))))
        return output


def inputs(label: int, count: int, seed: int) -> dict[str, Tensor]:
    """A batch for the generator: noise of the seed, all of one class; the noise does not depend on the class."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "noise"))
    return {"noise": torch.randn(count, _NOISE, generator=generator), "labels": torch.full((count,), label)}


def energy_distance(real: Tensor, made: Tensor) -> Tensor:
    r"""$2\,E\lVert x - y\rVert - E\lVert x - x'\rVert - E\lVert y - y'\rVert$ per class, x real and y made.

    It is at least 0 for distributions, and 0 only for equal ones; here every mean over two of a set leaves equal
    indices out, so that it is unbiased and may fall below 0. Shapes: real [classes, n, d], made [classes, m, d] ->
    [classes].

    Source: Szekely and Rizzo 2013; as a loss for generators, Bellemare et al. 2017, who call it the Cramer distance.
    """
    between = torch.cdist(real, made).mean((1, 2))
    return 2 * between - _mean_within(real) - _mean_within(made)


def train_generator(
    digits: Digits,
    *,
    steps: int = 1000,
    seed: int = 0,
    width: int = 64,
    per_class: int = 16,
    lr: float = 2e-3,
) -> tuple[Generator, Trace]:
    """A generator whose images of each class are close to the real ones in energy distance, on pixels.

    Args:
        digits: what to imitate.
        steps: each draws ``per_class`` real and as many made images of every class.
        seed: of weights, noise and choice of images.
        width: of the generator, a multiple of 8.
        per_class: 2 or more.
        lr: Adam's first learning rate, which falls to 0 along a half cosine.

    Raises:
        InputError: ``width`` or ``per_class`` is out of range.
    """
    if width < 8 or width % 8:
        raise InputError("width", str(width), accepted="a multiple of 8")
    if per_class < 2:
        raise InputError("per_class", str(per_class), accepted="2 or more")
    with seeded(derive_seed(seed, "weights")):
        generator = Generator(width)
    optimizer = torch.optim.Adam(generator.parameters(), lr, betas=(0.9, 0.99))
    labels = torch.arange(CLASSES).repeat_interleave(per_class)

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        real, noise = batch
        made = generator(noise, labels)
        return energy_distance(real, made.view(CLASSES, per_class, -1)).mean()

    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    trace = fit(loss, _batches(digits, per_class, seed), optimizer, steps=steps, schedule=schedule)
    return generator.eval(), trace


def _batches(digits: Digits, per_class: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Real images [classes, n, 64] and noise [classes * n, 16] without end."""
    rng = torch.Generator().manual_seed(derive_seed(seed, "batches"))
    classes = [digits.of(label).flatten(1) for label in range(CLASSES)]
    while True:
        chosen = [images[torch.randint(len(images), (per_class,), generator=rng)] for images in classes]
        yield torch.stack(chosen), torch.randn(CLASSES * per_class, _NOISE, generator=rng)


def _mean_within(x: Tensor) -> Tensor:
    n = x.shape[1]
    return torch.cdist(x, x).sum((1, 2)) / (n * (n - 1))
