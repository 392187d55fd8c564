"""BigGAN's generator: images from latent vectors and classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.tasks.synthesis.attention import SelfAttention
from evonas.tasks.synthesis.conditional import ConditionalNormAct
from evonas.tasks.synthesis.spectral import conv, linear, orthogonal
from evonas.tasks.synthesis.stages import START, Stage


class Generator(nn.Module):
    """Images in [-1, 1] of classes, from latent vectors z ~ N(0, 1).

    With a shared embedding of the classes, z is cut into one part for the first map and one for each block. The
    condition of a block is the embedding of the class, which is not spectrally normalized, followed by the block's part
    of z. Without one, the first map takes all of z, and the condition is the class itself, one-hot, so that every site
    has an embedding of its own.

    Attributes:
        latent: the number of latent variables.
        classes: the number of classes.

    Shapes: latents [b, latent], labels [b] int64 -> images [b, 3, size, size].
    Source: Brock et al. 2019, arXiv:1809.11096, appendix B.
    """

    def __init__(self, stages: tuple[Stage, ...], *, classes: int, latent: int, shared: int) -> None:
        """Take the blocks and sizes; ``shared`` is the number of features of the shared embedding, 0 for none."""
        super().__init__()
        self.latent, self.classes = latent, classes
        self.part = latent // (len(stages) + 1) if shared else latent
        features = shared + self.part if shared else classes
        self.embedding = orthogonal(nn.Embedding(classes, shared)) if shared else None
        self.start = linear(self.part, stages[0].channels_in * START**2)
        self.blocks = nn.ModuleList(GeneratorBlock(stage, features, spectral=shared > 0) for stage in stages)
        self.attentions = nn.ModuleList(
            SelfAttention(stage.channels_out) if stage.attends else nn.Identity() for stage in stages
        )
        last = stages[-1].channels_out
        self.output = nn.Sequential(nn.BatchNorm2d(last), nn.ReLU())
        self.image = conv(last, 3, 3)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Make an image of each latent vector and label."""
        first, *conditions = self._conditions(latents, labels)
        x = self.start(first).view(len(latents), -1, START, START)
        for block, attend, condition in zip(self.blocks, self.attentions, conditions, strict=True):
            x = attend(block(x, condition))
        return torch.tanh(self.image(self.output(x)))

    def _conditions(self, latents: Tensor, labels: Tensor) -> list[Tensor]:
        """What the first map is made of, and the condition of each block."""
        if self.embedding is None:
            one_hot = functional.one_hot(labels, self.classes).to(latents.dtype)
            return [latents, *[one_hot] * len(self.blocks)]
        first, *parts = latents.split(self.part, dim=1)
        embedded = self.embedding(labels)
        return [first, *(torch.cat((embedded, part), dim=1) for part in parts)]


class GeneratorBlock(nn.Module):
    """conv(layer(conv(up(layer(x))))) + up(conv(x)): doubles the map.

    Both layers depend on the condition, the first two convolutions are 3x3, the one of the shortcut 1x1, and ``up``
    repeats each pixel. A 1x1 convolution gives the same before ``up`` as after it, at a quarter of the cost.
    """

    def __init__(self, stage: Stage, features: int, *, spectral: bool) -> None:
        super().__init__()
        self.norm1 = ConditionalNormAct(stage.channels_in, features, spectral=spectral)
        self.conv1 = conv(stage.channels_in, stage.channels_out, 3)
        self.norm2 = ConditionalNormAct(stage.channels_out, features, spectral=spectral)
        self.conv2 = conv(stage.channels_out, stage.channels_out, 3)
        self.shortcut = conv(stage.channels_in, stage.channels_out, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Apply the block."""
        branch: Tensor = self.conv2(self.norm2(self.conv1(_doubled(self.norm1(x, condition))), condition))
        return branch + _doubled(self.shortcut(x))


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")
