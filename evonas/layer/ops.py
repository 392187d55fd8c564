"""The stateful operation of lowered layers: a moment over the batch with a running value for evaluation."""

import torch
from torch import Tensor, nn

from evonas.graph.functions import batch_moment


class BatchMoment(nn.Module):
    """A moment of each channel over batch and space: the batch's in training, a running one in evaluation.

    The raw statistic is the mean (``mean``), the mean square (``rms``) or the biased variance (``std``); the
    result is the statistic itself (``mean``) or sqrt(statistic + eps). running <- (1 - momentum) running +
    momentum statistic, detached; it starts at 0 for ``mean`` and at 1 otherwise. Statistics of half precision are in
    single precision.

    Shapes: x [b, c, h, w] (any axis may have size 1) -> [1, c, 1, 1].
    Source: authors' released EvoNorm-B0 (biased variance, initial 1, decay 0.9).
    """

    running: Tensor

    def __init__(
        self,
        moment: str,
        channels: int,
        eps: float,
        momentum: float,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.moment, self.eps, self.momentum = moment, eps, momentum
        self.register_buffer("running", torch.empty((1, channels, 1, 1), device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the running value to its initial one."""
        self.running.fill_(0.0 if self.moment == "mean" else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """The moment, in at least single precision."""
        return batch_moment(x, self.running, self.moment, self.eps, self.momentum, self.training)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return f"{self.moment}, eps={self.eps}, momentum={self.momentum}"
