"""An exponential moving average of everything a network holds, buffers included."""

import copy

import torch
from torch import nn

from evonas.tasks.synthesis.spectral import iterate, power_iteration


class Ema:
    """a <- decay * a + (1 - decay) * w for each parameter and each running value w of a network.

    Before step ``start``, a is w. Whole numbers, such as the number of batches that batch normalization has seen, are
    w. The vectors of power iterations are not averaged: the mean of unit vectors is shorter than 1, and spectral norms
    would come out too small. They follow the averaged weights instead, one iteration for each update.

    Attributes:
        network: the average, in evaluation mode; its parameters take no gradients.
        decay: the share that is kept at each update.
        start: the first step whose network is averaged with those before it.

    Source: Brock et al. 2019, arXiv:1809.11096, appendix C.
    """

    def __init__(self, model: nn.Module, *, decay: float = 0.9999, start: int = 0) -> None:
        """Start from a copy of the network."""
        self.network = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.start = decay, start

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the network as it is after ``step`` steps."""
        decay = self.decay if step >= self.start else 0.0
        own = averaged(self.network)
        for name, value in averaged(model).items():
            if decay and value.is_floating_point():
                own[name].lerp_(value, 1 - decay)
            else:
                own[name].copy_(value)
        iterate(self.network)


def averaged(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters and buffers of a network by name, but for the vectors of power iterations."""
    powers = (part for module in model.modules() if (part := power_iteration(module)) is not None)
    vectors = {id(vector) for part in powers for vector in part.buffers()}
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor for name, tensor in tensors.items() if id(tensor) not in vectors}
