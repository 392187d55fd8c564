"""Spectra of weights and of blocks, which are said to change before a training collapses.

Three measures: the stable rank of a matrix falls where few directions take over; the leading directions of neighbouring
blocks align, so that what one block amplifies the next amplifies again; and the singular values of the product of query
and key weights concentrate.

Source: the first two from MSign, arXiv 2602.01734, which measures Jacobians of neighbouring layers; the third from
arXiv 2606.28116, there on updates. Here Jacobians are those of the branches of whole blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

EXACT = 256  # rows or columns up to which singular values are computed exactly
MATRIX_ITERATIONS = 40
ITERATIONS = 6  # of the power iteration; the start is the same in every reading


@torch.no_grad()
def stable_rank(weight: Tensor) -> Tensor:
    r"""$\lVert W\rVert_F^2 / \sigma_1^2$: between 1 and the rank. Shapes: [m, n] -> a scalar."""
    matrix = weight.float()
    largest: Tensor = torch.linalg.svdvals(matrix)[0] if min(matrix.shape) <= EXACT else _largest(matrix)
    return matrix.square().sum() / largest.square()


@torch.no_grad()
def qk_spectral_entropy(query: Tensor, key: Tensor, heads: int) -> Tensor:
    r"""Entropy of the squared singular values of $W_q^T W_k$ of each head, over log of the head size.

    It is 1 where all directions count alike and 0 where one is all there is. Shapes: query, key [heads * d_h, width] ->
    [heads].
    """
    # of Q1 R1 (Q2 R2)^T the singular values are those of R1 R2^T
    left, right = (torch.linalg.qr(w.float().unflatten(0, (heads, -1)).mT).R for w in (query, key))
    energy = torch.linalg.svdvals(left @ right.mT).square()
    share = energy / energy.sum(-1, keepdim=True)
    largest = torch.log(torch.tensor(float(share.shape[-1])))
    found: Tensor = torch.special.entr(share).sum(-1) / largest
    return found


@dataclass(frozen=True, slots=True)
class Leading:
    """The leading singular value of a Jacobian, and its unit directions: what it amplifies most, and into what."""

    value: Tensor
    into: Tensor
    of: Tensor


def leading(branch: Callable[[Tensor], Tensor], x: Tensor) -> Leading:
    """Of the Jacobian of a function at x, by power iteration.

    Args:
        branch: from [b, t, width] to the same.
        x: where.
    """
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # fused kernels have no second derivative
        x = x.detach().float().requires_grad_()
        y = branch(x)
        dual = torch.zeros_like(y).requires_grad_()
        (pulled,) = torch.autograd.grad(y, x, dual, create_graph=True)  # J^T dual, linear in dual
        generator = torch.Generator().manual_seed(0)
        of = _unit(torch.randn(x.shape, generator=generator).to(x))
        into, value = of, x.new_zeros(())
        for _ in range(ITERATIONS):
            (pushed,) = torch.autograd.grad(pulled, dual, of, retain_graph=True)
            value, into = pushed.norm(), _unit(pushed)
            (back,) = torch.autograd.grad(y, x, into, retain_graph=True)
            of = _unit(back)
    return Leading(value.detach(), into.detach(), of.detach())


def alignments(
    blocks: Sequence[Callable[[Tensor], Tensor]], inputs: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Leading singular values of the Jacobians of blocks' branches, and how they hang together.

    The second list has, for each block but the last, the cosine of what it amplifies most into with what the next block
    amplifies most.

    Args:
        blocks: of a transformer; each gives x and what it adds.
        inputs: of each, [b, t, width].
    """
    found = [leading(lambda x, block=block: block(x) - x, x) for block, x in zip(blocks, inputs, strict=True)]  # type: ignore[misc]
    between = [(first.into * second.of).sum().abs() for first, second in pairwise(found)]
    return [one.value for one in found], between


def _largest(matrix: Tensor) -> Tensor:
    """The largest singular value, by power iteration from a fixed start; below it by less than 1 % as a rule."""
    vector = torch.randn(matrix.shape[1], generator=torch.Generator().manual_seed(0)).to(matrix)
    for _ in range(MATRIX_ITERATIONS):
        vector = _unit(matrix.mT @ (matrix @ vector))
    value: Tensor = (matrix @ vector).norm()
    return value


def _unit(x: Tensor) -> Tensor:
    unit: Tensor = x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)
    return unit
