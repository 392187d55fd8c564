"""Linear maps whose spectral norm is 1: W / s(W), s the largest singular value by power iteration.

Their initial weights are orthogonal and their biases 0. A forward pass in training mode takes one step of the power
iteration, so that s is a little below the largest singular value while W changes.
Source: Miyato et al. 2018, arXiv:1802.05957; the one step and the orthogonal weights: Brock et al. 2019,
arXiv:1809.11096.
"""

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

EPS = 1e-6


def conv(channels_in: int, channels_out: int, kernel: int, *, bias: bool = True) -> nn.Module:
    """A convolution that keeps the size of the map, spectrally normalized as the matrix [out, in * kernel^2]."""
    return spectral_norm(
        orthogonal(nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=bias)), eps=EPS
    )


def linear(features_in: int, features_out: int, *, bias: bool = True) -> nn.Module:
    """A spectrally normalized linear map."""
    return spectral_norm(orthogonal(nn.Linear(features_in, features_out, bias=bias)), eps=EPS)


def embedding(classes: int, features: int) -> nn.Module:
    """A spectrally normalized vector of each class."""
    return spectral_norm(orthogonal(nn.Embedding(classes, features)), eps=EPS)


def orthogonal(module: nn.Module) -> nn.Module:
    """The module with an orthogonal weight, flattened to a matrix, and a bias of 0; changed in place and given back."""
    for name, parameter in module.named_parameters(recurse=False):
        (nn.init.orthogonal_ if name == "weight" else nn.init.zeros_)(parameter)
    return module


def power_iteration(module: nn.Module) -> nn.Module | None:
    """The part of a module that estimates the spectral norm of its weight; None where the weight is plain."""
    if not parametrize.is_parametrized(module, "weight"):
        return None
    return module.get_submodule("parametrizations")


@torch.no_grad()
def iterate(model: nn.Module) -> None:
    """One step of the power iteration of every spectrally normalized weight, whatever the mode of its module."""
    for module in model.modules():
        power = power_iteration(module)
        if power is not None:
            training = power.training
            power.train()
            _ = module.weight  # takes the step
            power.train(training)
