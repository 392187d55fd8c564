"""A small random feature network and small networks to train, for tests without the weights of EfficientNet-lite0."""

import torch
from torch import Tensor, nn

from evonas.tasks.data import LabelledImages
from evonas.tasks.synthesis.biggan import BigGan, build_biggan
from evonas.tasks.synthesis.evaluation import SampleEvaluation
from evonas.tasks.synthesis.features import Described
from evonas.tasks.synthesis.task import Synthesis

CLASSES, LATENT = 3, 4
CPU = torch.device("cpu")


class RandomFeatures(nn.Module):
    """Six features and five probabilities of the pixels of an image at 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(3)
        self.register_buffer("first", torch.randn((48, 6), generator=drawn) / 4)
        self.register_buffer("second", torch.randn((6, 5), generator=drawn))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Described:
        pixels = nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
        features = (pixels @ self.first).tanh()
        return Described(features, (features @ self.second).softmax(1))


def small_gan() -> BigGan:
    return build_biggan(32, classes=CLASSES, channels=1, latent=LATENT, shared=4, attention=())


def striped(count: int, seed: int = 0) -> LabelledImages:
    """Real images of three classes: bright above, bright below, or bright all over, with noise."""
    drawn = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.full((count, 3, 32, 32), -0.8)
    images[labels != 1, :, :16] = 0.7
    images[labels != 0, :, 16:] = 0.7
    return LabelledImages((images + 0.1 * torch.randn(images.shape, generator=drawn)).clamp(-1, 1), labels)


def small_synthesis(train: int = 24, scoring: int = 30) -> Synthesis:
    evaluation = SampleEvaluation(striped(scoring, seed=1), RandomFeatures(), LATENT, CLASSES, batch=5)
    return Synthesis("small", small_gan, striped(train), evaluation, CPU)
