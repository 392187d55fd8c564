"""The stability protocol's adversary: how large a small change of the weights can make the gradient.

A layer that trains well for a while may still blow up later. The adversary looks for the blow-up right away: it moves
the convolution weights uphill on the norm of the loss gradient. Source: Liu et al. 2020, stability criterion; step size
and batch are not known from it and are settings here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Ascent:
    """How an ascent went.

    Attributes:
        norms: the gradient norm at the start and after each step; the last is infinite where it left the numbers.
        exceeded: whether the last norm is above the limit.
    """

    norms: tuple[float, ...]
    exceeded: bool


def ascend_gradient_norm(
    loss: Callable[[], Tensor], weights: list[nn.Parameter], *, steps: int, step_size: float, limit: float
) -> Ascent:
    """Ascend along d ||dl/dw|| / dw, changing the weights in place, until the limit is passed or the steps are over.

    Each step moves the weights by ``step_size`` times their own initial norm in the direction of the ascent: the raw
    direction's length ranges over many orders of magnitude between layers, and no one step size would fit all.

    Args:
        loss: the loss on a fixed batch; called once per step.
        weights: what the adversary may change.
        steps: at most so many steps.
        step_size: length of a step relative to the norm of all weights together.
        limit: a gradient norm above it ends the ascent.
    """
    length = step_size * float(_norm([w.detach() for w in weights]))
    norms: list[float] = []
    for step in range(steps + 1):
        gradients = torch.autograd.grad(loss(), weights, create_graph=True)
        norm = _norm(gradients)
        value = norm.item()
        norms.append(value if isfinite(value) else inf)
        if norms[-1] > limit:
            return Ascent(tuple(norms), exceeded=True)
        if step < steps:
            _move(weights, torch.autograd.grad(norm, weights, allow_unused=True), length)
    return Ascent(tuple(norms), exceeded=False)


def weight_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The kernels of all convolutions of a network; where there are none, the matrices of its linear layers."""
    for kind in (nn.Conv2d, nn.Linear):
        modules = [m for m in model.modules() if isinstance(m, kind)]
        if found := [p for m in modules for name, p in m.named_parameters() if name == "weight"]:
            return found
    return []


def _norm(tensors: "list[Tensor] | tuple[Tensor, ...]") -> Tensor:
    return torch.stack([t.square().sum() for t in tensors]).sum().sqrt()


@torch.no_grad()
def _move(weights: list[nn.Parameter], directions: tuple[Tensor | None, ...], length: float) -> None:
    present = [d for d in directions if d is not None]
    total = float(_norm(present)) if present else 0.0
    if not 0 < total < inf:
        return  # flat, or beyond the numbers: the next norm tells which
    for weight, direction in zip(weights, directions, strict=True):
        if direction is not None:
            weight.add_(direction, alpha=length / total)
