r"""Squared Wasserstein distances between samples, of each neuron alone.

In one dimension the best coupling pairs quantiles, so $W_2^2(u, v) = \int_0^1 (F_u^{-1}(p) - F_v^{-1}(p))^2 dp$.
Quantile functions of samples are steps: for n and m samples the integral is a finite sum, exact also where they differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evonas.errors import InputError

REDUCTIONS = ("mean", "sum")


@dataclass(frozen=True, slots=True, eq=False)
class Quantiles:
    """What n source samples need to know of the target samples to be compared with them.

    Attributes:
        means: [n, d], the mean of the target's quantile function over each n-th of its range; with n target samples
            these are the sorted samples.
        spread: [d], the part of the squared distance that no n source samples can undo; 0 with n target samples.
    """

    means: Tensor
    spread: Tensor


def pairing(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """The optimal coupling of n and m sorted samples: indices i, j of the pairs, and their masses times n * m."""
    ends = torch.cat([m * torch.arange(1, n + 1), n * torch.arange(1, m + 1)]).unique()
    return (ends - 1) // m, (ends - 1) // n, ends.diff(prepend=ends.new_zeros(1))


def quantiles(target: Tensor, n: int) -> Quantiles:
    """What n source samples are compared with. Shapes: target [m, d]."""
    m = len(target)
    source_index, target_index, mass = (part.to(target.device) for part in pairing(n, m))
    share = mass.to(target.dtype)[:, None] / m  # of the source sample's mass
    matched = target.sort(0).values[target_index]
    means = target.new_zeros(n, target.shape[1]).index_add(0, source_index, share * matched)
    spread = (share * (matched - means[source_index]).square()).sum(0) / n
    return Quantiles(means, spread)


def squared_distance(source: Tensor, goal: Quantiles) -> Tensor:
    """Squared distance per neuron. Shapes: source [n, d] -> [d]; ``goal`` is that of n samples."""
    return (source.sort(0).values - goal.means).square().mean(0) + goal.spread


def squared_wasserstein(source: Tensor, target: Tensor) -> Tensor:
    """W_2^2 of each neuron. Shapes: source [n, d], target [m, d] -> [d]."""
    return squared_distance(source, quantiles(target, len(source)))


def transport_loss(sources: Sequence[Tensor], goals: Sequence[Quantiles], reduction: str) -> Tensor:
    r"""The loss over all sites, from pooled activations [n, d_l] of each.

    ``sum``: $\sum_l \sum_k W_2^2$, as the paper writes it. ``mean``: $\frac1L \sum_l \frac1{d_l} \sum_k n W_2^2$, a sum
    over samples and a mean over neurons and sites, as its released code computes it; with equal widths d this is
    n / (L d) times the other. Learning rates of the paper belong to ``mean``.

    Source: Rodriguez et al. 2025, section 3.

    Raises:
        InputError: an unknown reduction.
    """
    require_reduction(reduction)
    distances = [squared_distance(source, goal) for source, goal in zip(sources, goals, strict=True)]
    if reduction == "sum":
        return torch.stack([distance.sum() for distance in distances]).sum()
    return len(sources[0]) * torch.stack([distance.mean() for distance in distances]).mean()


def require_reduction(reduction: str) -> None:
    """Raise an InputError unless the reduction is a known one."""
    if reduction not in REDUCTIONS:
        raise InputError("reduction", repr(reduction), accepted=", ".join(REDUCTIONS))
