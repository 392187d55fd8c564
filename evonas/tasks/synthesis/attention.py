"""Self-attention over the pixels of a map, as in SAGAN and BigGAN."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.tasks.synthesis.spectral import conv


class SelfAttention(nn.Module):
    """x + g * o(a), where a mixes the values of all pixels: a = softmax(q k^T) v at every pixel.

    The queries q and keys k are 1x1 convolutions of x with c / 8 channels, the values v one with c / 2; keys and values
    are max-pooled 2x2. The 1x1 convolution o has c channels. No convolution has a bias, and all are spectrally
    normalized. The gain g is a number that starts at 0, so that the map is unchanged at first.

    Shapes: [b, c, h, w] -> the same; h and w are at least 2.
    Source: Zhang et al. 2019, arXiv:1805.08318.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, values = max(1, channels // 8), max(1, channels // 2)
        self.query, self.key = (conv(channels, inner, 1, bias=False) for _ in range(2))
        self.value, self.output = conv(channels, values, 1, bias=False), conv(values, channels, 1, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Add what each pixel attends to."""
        queries = _tokens(self.query(x))
        keys, values = (_tokens(functional.max_pool2d(part, 2)) for part in (self.key(x), self.value(x)))
        mixed = functional.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        added: Tensor = self.output(mixed.transpose(1, 2).reshape(len(x), -1, *x.shape[2:]))
        return x + self.gain * added


def _tokens(x: Tensor) -> Tensor:
    """[b, c, h, w] -> [b, hw, c]."""
    return x.flatten(2).transpose(1, 2)
