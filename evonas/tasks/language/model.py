"""The proxy model: a small decoder-only transformer whose norms can be exchanged."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.tasks.language.attention import Attention, capped
from evonas.tasks.language.settings import ModelConfig
from evonas.training.modes import seeded

NormFactory = Callable[[int], nn.Module]

NORMS: dict[str, Callable[[int, float], nn.Module]] = {
    "layernorm": lambda width, eps: nn.LayerNorm(width, eps=eps, bias=False),
    "rmsnorm": lambda width, eps: nn.RMSNorm(width, eps=eps),
}
TRUNCATED_STD = 0.8796256610342398  # of the standard normal distribution cut at -2 and 2


class Mlp(nn.Module):
    """down(GELU(up(x))), four times as wide inside. Shapes: x [b, t, width] -> the same.

    GELU is the exact one, by the error function; nanodo, the paper's code base, has JAX's default, the form with tanh.
    Logits then differ by about 1e-3.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the two layers."""
        output: Tensor = self.down(functional.gelu(self.up(x)))
        return output


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). Shapes: x [b, t, width] -> the same."""

    def __init__(self, config: ModelConfig, make_norm: NormFactory) -> None:
        super().__init__()
        self.attention_norm = make_norm(config.width)
        self.attention = Attention(config)
        self.mlp_norm = make_norm(config.width)
        self.mlp = Mlp(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both branches."""
        x = x + self.attention(self.attention_norm(x))
        output: Tensor = x + self.mlp(self.mlp_norm(x))
        return output


class Transformer(nn.Module):
    """Embedding, blocks, final norm, untied head.

    Weights are torch's defaults until ``initialize``; ``build`` does both.

    Args:
        config: its size and switches.
        make_norm: from a width to what stands at the two norms of each block and at the final one, on [b, t, width];
            without it ``config.norm`` names LayerNorm or RMSNorm. It must not mix positions, or the model sees what
            it is to predict.

    Shapes: tokens [b, t] int64 -> logits [b, t, vocabulary]; t up to ``context``.

    Raises:
        InputError: an unknown norm without ``make_norm``, or the name of a known one with it.

    Source: Wortsman et al. 2023, experimental set-up.
    """

    def __init__(self, config: ModelConfig, make_norm: NormFactory | None = None) -> None:
        super().__init__()
        make = make_norm or _named_norm(config)
        if make_norm is not None and config.norm in NORMS:
            remedy = "give your layer a name of its own"
            raise InputError("model.norm", f"{config.norm!r}, and a layer in its place", remedy=remedy)
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        blocks = nn.ModuleList(Block(config, make) for _ in range(config.depth))
        self.blocks: Sequence[Block] = blocks  # type: ignore[assignment]  # which it is
        self.norm = make(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the token that follows each position."""
        if tokens.shape[1] > self.config.context:
            raise InputError("tokens", f"{tokens.shape[1]} positions", accepted=f"up to {self.config.context}")
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return capped(self.head(self.norm(x)), self.config.output_softcap)

    @property
    def size(self) -> int:
        """N, the number of parameters without embedding and head, as the paper counts."""
        outside = self.embedding.weight.numel() + self.head.weight.numel()
        return sum(parameter.numel() for parameter in self.parameters()) - outside

    def linear_weights(self) -> dict[str, nn.Parameter]:
        """Weights of the linear layers by name, head included; those inside exchanged norms are not among them."""
        parts = ("attention.query", "attention.key", "attention.value", "attention.out", "mlp.up", "mlp.down")
        inside = (f"blocks.{block}.{part}.weight" for block in range(self.config.depth) for part in parts)
        return {name: self.get_parameter(name) for name in (*inside, "head.weight")}


def build_transformer(config: ModelConfig, seed: int, make_norm: NormFactory | None = None) -> Transformer:
    """A freshly initialized model; what exchanged norms draw from torch's generator depends on the seed alone."""
    with seeded(derive_seed(seed, "norms")):
        model = Transformer(config, make_norm)
    initialize(model, seed)
    return model


@torch.no_grad()
def initialize(model: Transformer, seed: int) -> None:
    r"""Draw the weights, in place.

    The embedding from $N(0, 1 / width)$; linear weights from a normal distribution cut at two standard deviations, with
    a standard deviation of $1 / \sqrt{fan_{in}}$ after the cut. Under muParam ``intermediate`` and ``full`` that of the
    head is $\sqrt{width_{base}} / width$; under ``full`` query weights are 0.

    Each weight has a stream of its own, by its name: models that differ in a switch or in depth share the others.

    Source: Wortsman et al. 2023; that the cut keeps the standard deviation is a convention of
    JAX's initializers, taken here because the paper does not say.
    """
    config = model.config
    embedding = model.embedding.weight
    embedding.normal_(0, config.width**-0.5, generator=_generator(seed, "embedding.weight"))
    for name, weight in model.linear_weights().items():
        std = weight.shape[1] ** -0.5
        if name == "head.weight" and config.mu_param in ("intermediate", "full"):
            std *= (config.base_width / config.width) ** 0.5
        cut = std / TRUNCATED_STD
        nn.init.trunc_normal_(weight, std=cut, a=-2 * cut, b=2 * cut, generator=_generator(seed, name))
        if config.mu_param == "full" and name.endswith("query.weight"):
            weight.zero_()


def _generator(seed: int, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, "weights", name))


def _named_norm(config: ModelConfig) -> NormFactory:
    if config.norm not in NORMS:
        remedy = "or give make_norm, which makes the layer of that name"
        raise InputError("model.norm", repr(config.norm), accepted=", ".join(NORMS), remedy=remedy)
    make = NORMS[config.norm]
    return lambda width: make(width, config.norm_eps)
