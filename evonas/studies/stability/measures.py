"""What is measured on tensors: root mean squares, attention logits and entropies, the softmax normalizer.

All are without gradient and in single precision or better, whatever autocast says.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from evonas.tasks.language.attention import capped

ROWS = 32  # queries whose logits are in memory at once


@torch.no_grad()
def tensor_rms(x: Tensor) -> Tensor:
    """Root of the mean square of all elements, a scalar; in double precision, as squares of gradients underflow."""
    root: Tensor = torch.linalg.vector_norm(x, dtype=torch.float64) / x.numel() ** 0.5
    return root


@torch.no_grad()
def log_z(logits: Tensor) -> Tensor:
    """Mean of log Z, Z = sum_v exp(logits_v), the normalizer of the softmax over the last axis."""
    return logits.float().logsumexp(-1).mean()


@torch.no_grad()
def max_logits(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Largest causal attention logit of each head, scale * q_i.k_j over the batch and all j <= i, before any softcap.

    Shapes: q, k [b, h, t, d_h] -> [h].
    """
    largest = [logits.amax((0, 2, 3)) for logits in _logits(q, k, scale)]
    return torch.stack(largest).amax(0)


@torch.no_grad()
def entropies(q: Tensor, k: Tensor, scale: float, softcap: float = 0.0) -> Tensor:
    """Mean entropy of each head's attention over batch and queries, in nats: log(i + 1) at most for a query at i.

    Shapes: q, k [b, h, t, d_h] -> [h].
    """
    sums = [torch.special.entr(logits.softmax(-1)).sum((0, 2, 3)) for logits in _logits(q, k, scale, softcap)]
    return torch.stack(sums).sum(0) / (q.shape[0] * q.shape[2])


def _logits(q: Tensor, k: Tensor, scale: float, softcap: float = 0.0) -> Iterator[Tensor]:
    """Masked logits [b, h, rows, j] of a few queries at a time, against the keys up to the last of them."""
    with torch.autocast(q.device.type, enabled=False):
        for start in range(0, q.shape[2], ROWS):
            stop = min(start + ROWS, q.shape[2])
            logits = scale * (q[:, :, start:stop].float() @ k[:, :, :stop].float().mT)
            later = torch.ones(stop - start, stop, dtype=torch.bool, device=q.device).triu(start + 1)
            yield capped(logits, softcap).masked_fill(later, -torch.inf)
