"""The proximal step of the sparse group lasso, centred at the identity map."""

import torch
from torch import Tensor


def soft_threshold(v: Tensor, threshold: float) -> Tensor:
    r"""$\mathrm{sign}(v) \max(|v| - t, 0)$, elementwise."""
    return v.sign() * (v.abs() - threshold).clamp(min=0)


def group_shrink(v: Tensor, threshold: float) -> Tensor:
    r"""$\max(0, 1 - t / \lVert v \rVert_2) v$, all of ``v`` being one group; 0 stays 0."""
    norm = torch.linalg.vector_norm(v)
    return torch.where(norm > threshold, 1 - threshold / norm.clamp(min=torch.finfo(v.dtype).tiny), 0.0) * v


def sparse_group_prox(v: Tensor, threshold: float) -> Tensor:
    r"""The minimizer over u of $\frac12 \lVert u - v \rVert^2 + t (\lVert u \rVert_1 + \sqrt d \lVert u \rVert_2)$.

    It is the group shrinkage of the soft threshold. Shapes: v [d] -> [d]; zeros are exact.

    Source: Rodriguez et al. 2025, section 3 and Algorithm 1; Simon et al. 2013 for the order of the two.
    """
    return group_shrink(soft_threshold(v, threshold), threshold * v.numel() ** 0.5)


@torch.no_grad()
def shrink_to_identity(weight: Tensor, bias: Tensor, threshold: float) -> None:
    """One step, in place, of w - 1 and of b, which are separate groups. Shapes: [d] each."""
    weight.copy_(1 + sparse_group_prox(weight - 1, threshold))
    bias.copy_(sparse_group_prox(bias, threshold))
