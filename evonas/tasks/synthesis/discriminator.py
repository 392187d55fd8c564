"""BigGAN's discriminator: how real an image of a class looks."""

from torch import Tensor, nn
from torch.nn import functional

from evonas.tasks.synthesis.attention import SelfAttention
from evonas.tasks.synthesis.spectral import conv, embedding, linear
from evonas.tasks.synthesis.stages import Stage


class Discriminator(nn.Module):
    """A logit of each image: w h + b + <e(label), h>, where h is the sum of the last map's pixels after a ReLU.

    It has no normalization but spectral norms, those of the class vectors e among them, and so no place for a layer.

    Shapes: images [b, 3, size, size], labels [b] int64 -> logits [b].
    Source: Brock et al. 2019, arXiv:1809.11096, appendix B; the projection: Miyato & Koyama 2018, arXiv:1802.05637.
    """

    def __init__(self, stages: tuple[Stage, ...], *, classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DiscriminatorBlock(stage, first=stage is stages[0]) for stage in stages)
        self.attentions = nn.ModuleList(
            SelfAttention(stage.channels_out) if stage.attends else nn.Identity() for stage in stages
        )
        last = stages[-1].channels_out
        self.logit, self.embedding = linear(last, 1), embedding(classes, last)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Judge images as images of their labels."""
        x = images
        for block, attend in zip(self.blocks, self.attentions, strict=True):
            x = attend(block(x))
        features = functional.relu(x).sum((2, 3))
        logits: Tensor = self.logit(features).squeeze(1) + (self.embedding(labels) * features).sum(1)
        return logits


class DiscriminatorBlock(nn.Module):
    """half(conv(relu(conv(relu(x))))) + half(conv(x)): 3x3 convolutions, and a 1x1 convolution on the shortcut.

    ``half`` is the mean of 2x2 pixels, where the block halves the map. The first block takes the image without a ReLU.
    A block that keeps size and channels has nothing on its shortcut. ReLUs are not in place: the shortcut and what
    made the input need it as it is.
    """

    def __init__(self, stage: Stage, *, first: bool) -> None:
        super().__init__()
        self.first, self.halves = first, stage.resampled
        self.conv1 = conv(stage.channels_in, stage.channels_out, 3)
        self.conv2 = conv(stage.channels_out, stage.channels_out, 3)
        same = stage.channels_in == stage.channels_out and not stage.resampled
        self.shortcut: nn.Module = nn.Identity() if same else conv(stage.channels_in, stage.channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        inner = self.conv1(x if self.first else functional.relu(x))
        branch = self._halved(self.conv2(functional.relu(inner)))
        # a 1x1 convolution gives the same after the mean as before it, at a quarter of the cost
        shortcut: Tensor = self.shortcut(self._halved(x))
        return branch + shortcut

    def _halved(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2) if self.halves else x
