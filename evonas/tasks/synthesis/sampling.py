"""What is put into a generator, and the running values it samples with."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.surgery.recalibrate import recalibrate

STANDING_BATCHES = 16


def draw_latents(count: int, latent: int, rng: torch.Generator, *, truncation: float | None = None) -> Tensor:
    """Latent vectors [count, latent] of the standard normal distribution, on the CPU.

    Args:
        count: how many.
        latent: the number of latent variables.
        rng: where they are drawn from.
        truncation: t draws from the normal distribution on [-t, t], as if every variable outside were drawn again; None
            draws from all of it. Smaller values give images that are less varied.

    Raises:
        InputError: a truncation that is not above 0.

    Source: the truncation trick of Brock et al. 2019, arXiv:1809.11096, section 3.1.
    """
    if truncation is None:
        return torch.randn((count, latent), generator=rng)
    if not truncation > 0:
        raise InputError("truncation", str(truncation), accepted="a number above 0")
    return nn.init.trunc_normal_(torch.empty((count, latent)), a=-truncation, b=truncation, generator=rng)


def standing_statistics(
    generator: nn.Module, draws: Iterable[tuple[Tensor, Tensor]], *, batches: int | None = STANDING_BATCHES
) -> int:
    """Set the running values of a generator, in place, to the means over batches of what it generates.

    They take the place of running values that followed the weights as these changed in training, or came from an
    average of weights. Layers without statistics over the batch have none, and nothing changes.

    Args:
        generator: called with latents and labels; its modes are kept.
        draws: latents and labels of each batch, on the generator's device.
        batches: how many to take; None takes all.

    Returns:
        The number of batches seen.

    Raises:
        InputError: no batch came.

    Source: Brock et al. 2019, arXiv:1809.11096, section 3.
    """
    return recalibrate(_Generating(generator), ((draw,) for draw in draws), steps=batches)


class _Generating(nn.Module):
    """A generator that is called with one argument."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, draw: tuple[Tensor, Tensor]) -> Tensor:
        images: Tensor = self.generator(*draw)
        return images
