"""Torch functions of the primitives that torch itself does not have, numerically guarded by ``eps``.

Every function here uses torch alone and none of its neighbours' state, so that the exporter can copy its source
into a stand-alone module. Statistics are computed in float32 for half-precision inputs and returned in the input's
dtype. A tensor may come in reduced shape (size 1 along axes it does not vary over): a moment of a value that repeats
along an axis equals the moment of the value itself, so nothing is ever expanded.
"""

import torch
from torch import Tensor


def div(x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Quotient x / y with abs(y) held at ``eps`` or above; y = 0 counts as positive."""
    return x / torch.copysign(y.abs().clamp_min(eps), y)


def slog(x: Tensor, eps: float) -> Tensor:
    """sign(x) ln(abs(x) + eps), the signed logarithm."""
    return torch.sign(x) * torch.log(x.abs() + eps)


def ssqrt(x: Tensor, eps: float) -> Tensor:
    """Signed root x / sqrt(abs(x) + eps): about sign(x) sqrt(abs(x)), with a finite slope at 0."""
    return x * torch.rsqrt(x.abs() + eps)


def widen(x: Tensor) -> Tensor:
    """Bring x to at least single precision: sums over a map overflow or stall in half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def mean(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """First moment over ``dims``, kept as size 1."""
    return widen(x).mean(dims, keepdim=True).to(x.dtype)


def rms(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """Root of the uncentred second moment over ``dims``: sqrt(mean(x^2) + eps)."""
    return torch.sqrt(widen(x).square().mean(dims, keepdim=True) + eps).to(x.dtype)


def std(x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """Root of the biased variance over ``dims``: sqrt(mean((x - mean x)^2) + eps)."""
    wide = widen(x)
    # two passes: torch.var is 9 times slower on CPU over several axes
    centred = wide - wide.mean(dims, keepdim=True)
    return torch.sqrt(centred.square().mean(dims, keepdim=True) + eps).to(x.dtype)


def split_groups(x: Tensor, groups: int) -> Tensor:
    """View [b, c, h, w] as [b, g, c/g, h, w] (any memory format)."""
    return torch.unflatten(x, 1, (groups, -1))


def merge_groups(x: Tensor, channels: int) -> Tensor:
    """Repeat a group statistic [b, g, 1, 1, 1] for the channels of its group: [b, c, 1, 1]."""
    return x.expand(-1, -1, channels // x.shape[1], -1, -1).flatten(1, 2)


def per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    """A parameter [c] as [1, c, 1, 1] in the dtype of x, so that autocast does not widen what follows."""
    return parameter.view(1, -1, 1, 1).to(x.dtype)
