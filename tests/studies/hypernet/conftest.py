"""Small primary networks with every kind of parameter, far from their initialization."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional


class Text(nn.Module):
    """Embedding, layer norm, feature-wise scale and shift, a top-level parameter, a tied decoder, a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((6,), 2.0))
        self.film = nn.ParameterDict({"gamma": torch.ones(6), "beta": torch.zeros(6)})
        self.embedding = nn.Embedding(11, 6)
        self.norm = nn.LayerNorm(6)
        self.decoder = nn.Linear(6, 11)
        self.decoder.weight = self.embedding.weight
        self.register_buffer("offset", torch.linspace(-1, 1, 6))

    def forward(self, tokens: Tensor, *, power: float = 1.0) -> Tensor:
        x = self.norm(self.embedding(tokens) + self.offset) * self.weight**power
        return self.decoder(functional.gelu(x * self.film["gamma"] + self.film["beta"]))


def convolutional() -> nn.Sequential:
    """Convolution, batch norm, dropout, linear; 3-channel images of any size to 10 logits."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 10),
    )


@pytest.fixture
def seeded() -> Callable[[Callable[[], nn.Module]], nn.Module]:
    """Make a module from a fixed seed, with the global generator as it was."""

    def make(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build()

    return make


@pytest.fixture
def text(seeded: Callable[..., nn.Module]) -> nn.Module:
    return seeded(Text)


@pytest.fixture
def images(seeded: Callable[..., nn.Module]) -> nn.Module:
    return seeded(convolutional)


@pytest.fixture
def tokens() -> Tensor:
    return torch.arange(8).view(2, 4)


@pytest.fixture
def pictures() -> Tensor:
    return torch.randn((5, 3, 7, 7), generator=torch.Generator().manual_seed(3))
