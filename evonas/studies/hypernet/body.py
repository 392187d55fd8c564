"""The hidden layers of a hypernetwork: a multilayer perceptron that keeps the norm of what it gets, in the mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from evonas.errors import InputError
from evonas.seeding import derive_seed

BODY_NORMS = ("layer", "weight")
SLOPE = 0.01


@dataclass(frozen=True, slots=True)
class Activation:
    """An activation of hidden layers, and the nonlinearity whose gain ``torch.nn.init`` is to use for it."""

    make: Callable[[], nn.Module]
    gain_of: Literal["relu", "leaky_relu", "tanh"]


# torch has no gains for gelu and silu; relu's, as in the authors' library
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "relu": Activation(nn.ReLU, "relu"),
        "leaky_relu": Activation(lambda: nn.LeakyReLU(SLOPE), "leaky_relu"),
        "tanh": Activation(nn.Tanh, "tanh"),
        "gelu": Activation(nn.GELU, "relu"),
        "silu": Activation(nn.SiLU, "relu"),
    }
)


def make_body(size: int, hidden: Sequence[int], *, activation: str, norm: str | None, seed: int) -> nn.Sequential:
    """Linear layers, each followed by the activation: Kaiming-normal with fan-out, N(0, gain^2 / width); biases 0.

    Args:
        size: of the input.
        hidden: widths of the layers; none gives the identity.
        activation: a key of ``ACTIVATIONS``.
        norm: ``"layer"``: a layer norm after each activation; ``"weight"``: weight norm of each linear layer.
        seed: of the weights.

    Raises:
        InputError: an unknown activation or norm, a width below 1, or a norm without a layer.

    Source: arXiv 2304.07645; the authors' library for the initialization.
    """
    if activation not in ACTIVATIONS:
        raise InputError("activation", repr(activation), accepted=", ".join(ACTIVATIONS))
    if norm is not None and norm not in BODY_NORMS:
        raise InputError("norm", repr(norm), accepted=f"None, {', '.join(BODY_NORMS)}")
    if any(width < 1 for width in hidden) or (norm is not None and not hidden):
        accepted = "widths of 1 or more" if hidden else "at least one hidden layer, for a norm"
        raise InputError("hidden", str(tuple(hidden)), accepted=accepted)
    layers: list[nn.Module] = []
    for index, width in enumerate(hidden):
        linear = _linear(size, width, ACTIVATIONS[activation], derive_seed(seed, "body", index))
        layers += [weight_norm(linear) if norm == "weight" else linear, ACTIVATIONS[activation].make()]
        if norm == "layer":
            layers.append(nn.LayerNorm(width))
        size = width
    return nn.Sequential(*layers)


def _linear(size: int, width: int, activation: Activation, seed: int) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, size, width)  # whose own initialization uses the global generator
    assert isinstance(linear, nn.Linear)
    generator = torch.Generator().manual_seed(seed)
    nn.init.kaiming_normal_(linear.weight, SLOPE, "fan_out", activation.gain_of, generator=generator)
    nn.init.zeros_(linear.bias)
    return linear
