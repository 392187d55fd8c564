"""The places of the generator in which normalization and activation depend on the class and the latent vector."""

import torch
from torch import Tensor, nn

from evonas.tasks.synthesis.spectral import linear, orthogonal


class ConditionalNormAct(nn.Module):
    """A layer with gain 1 + G y and bias B y, where y is the condition of a sample.

    G and B have no bias and are spectrally normalized. With the 1 in the gain, the layer starts near the unconditional
    one and passes its input on.

    Attributes:
        gain: G.
        bias: B.
        layer: the layer that is exchanged: called with x, gain and bias.

    Shapes: x [b, channels, h, w], condition [b, features] -> [b, channels, h, w].
    """

    def __init__(self, channels: int, features: int, *, spectral: bool = True) -> None:
        """Take the sizes; ``spectral`` says whether G and B are spectrally normalized."""
        super().__init__()
        self.gain, self.bias = (_map(features, channels, spectral) for _ in range(2))
        self.layer: nn.Module = ConditionalBatchNormReLU(channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Apply the layer with the affine of each sample."""
        output: Tensor = self.layer(x, 1 + self.gain(condition), self.bias(condition))
        return output


class ConditionalBatchNormReLU(nn.Module):
    """max(norm(x) * gain + bias, 0) with torch's batch normalization: the layer that BigGAN was published with.

    Shapes: x [b, c, h, w], gain and bias [b, c] -> [b, c, h, w].
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.norm = nn.BatchNorm2d(num_features, affine=False)

    def forward(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Apply the layer with the affine of each sample."""
        return torch.addcmul(bias[:, :, None, None], self.norm(x), gain[:, :, None, None]).relu_()


def _map(features: int, channels: int, spectral: bool) -> nn.Module:
    return linear(features, channels, bias=False) if spectral else orthogonal(nn.Linear(features, channels, bias=False))
