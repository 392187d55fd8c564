"""The blocks of BigGAN's networks at each resolution, as data.

Source: Brock et al. 2019, arXiv:1809.11096, appendix B, and the author's released code (ajbrock/BigGAN-PyTorch) for 32.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

START = 4  # height and width of the generator's first map


@dataclass(frozen=True, slots=True)
class Stage:
    """One block of a network.

    Attributes:
        channels_in: of the map that it takes.
        channels_out: of the map that it gives.
        size: height and width of the map that it gives.
        resampled: whether a block of the discriminator halves the map; those of the generator all double it.
        attends: whether self-attention follows.
    """

    channels_in: int
    channels_out: int
    size: int
    resampled: bool
    attends: bool


@dataclass(frozen=True, slots=True)
class Widths:
    """Channels of both networks at one resolution, as multiples of the base width.

    Attributes:
        generator: of the first map, then of what each block gives.
        discriminator: of what each block gives.
        halved: the number of the discriminator's blocks that halve the map; they come first.
    """

    generator: tuple[int, ...]
    discriminator: tuple[int, ...]
    halved: int


WIDTHS: Mapping[int, Widths] = MappingProxyType(
    {
        32: Widths((4, 4, 4, 4), (4, 4, 4, 4), 2),
        64: Widths((16, 16, 8, 4, 2), (1, 2, 4, 8, 16), 4),
        128: Widths((16, 16, 8, 4, 2, 1), (1, 2, 4, 8, 16, 16), 5),
    }
)


def generator_stages(resolution: int, channels: int, attention: Sequence[int]) -> tuple[Stage, ...]:
    """The generator's blocks, each of which doubles the map; self-attention follows at the sizes of ``attention``."""
    widths = [channels * factor for factor in WIDTHS[resolution].generator]
    sizes = [START * 2**number for number in range(1, len(widths))]
    return tuple(
        Stage(before, after, size, resampled=True, attends=size in attention)
        for before, after, size in zip(widths, widths[1:], sizes, strict=False)
    )


def discriminator_stages(resolution: int, channels: int, attention: Sequence[int]) -> tuple[Stage, ...]:
    """The discriminator's blocks; self-attention follows the first map of each size of ``attention``."""
    return tuple(_discriminator_stages(resolution, channels, attention))


def _discriminator_stages(resolution: int, channels: int, attention: Sequence[int]) -> Iterator[Stage]:
    before, size = 3, resolution
    for number, factor in enumerate(WIDTHS[resolution].discriminator):
        halved = number < WIDTHS[resolution].halved
        size = size // 2 if halved else size
        yield Stage(before, channels * factor, size, resampled=halved, attends=halved and size in attention)
        before = channels * factor
