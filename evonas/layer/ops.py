"""The stateful operation of lowered layers: a moment over the batch with a running value for evaluation."""

import torch
from torch import Tensor, nn

from evonas.graph.functions import mean, mean_square, variance, widen


class BatchMoment(nn.Module):
    """A moment of each channel over batch and space: the batch's in training, a running one in evaluation.

    The raw statistic is the mean (``mean``), the mean square (``rms``) or the biased variance (``std``); the
    result is the statistic itself (``mean``) or sqrt(statistic + eps). running <- (1 - momentum) running +
    momentum statistic, detached; it starts at 0 for ``mean`` and at 1 otherwise. Statistics are computed in
    float32 for half precision.

    Shapes: x [b, c, h, w] (any axis may have size 1) -> [1, c, 1, 1].
    Source: authors' released EvoNorm-B0 (biased variance, initial 1, decay 0.9).
    """

    running: Tensor

    def __init__(self, moment: str, channels: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.moment, self.eps, self.momentum = moment, eps, momentum
        initial = 0.0 if moment == "mean" else 1.0
        self.register_buffer("running", torch.full((1, channels, 1, 1), initial))

    def forward(self, x: Tensor) -> Tensor:
        """The moment, in the dtype of x."""
        if self.training:
            statistic = self._statistic(widen(x), (0, 2, 3))
            with torch.no_grad():
                self.running.lerp_(statistic.detach().to(self.running.dtype), self.momentum)
        else:
            statistic = self.running
        return (statistic if self.moment == "mean" else torch.sqrt(statistic + self.eps)).to(x.dtype)

    def _statistic(self, x: Tensor, dims: tuple[int, ...]) -> Tensor:
        if self.moment == "mean":
            return mean(x, dims)
        return mean_square(x, dims) if self.moment == "rms" else variance(x, dims)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return f"{self.moment}, eps={self.eps}, momentum={self.momentum}"
