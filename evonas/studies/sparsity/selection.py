"""Which inputs are kept, given their scores: the K largest of each token, or all above a threshold."""

from dataclasses import dataclass

from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.sparsity.memo import Memo
from evonas.training.topk import largest


@dataclass(frozen=True, slots=True)
class Prefill:
    """Which positions of an input with several positions [b, t, n] stay dense: max(first, t - int(share * t)) of them.

    A single position, as in decoding, is always sparse. ``Prefill()`` leaves none dense, ``Prefill(0.99)`` is the
    convention of WINA's released code, ``Prefill(0.5)`` that of TEAL's, ``Prefill(0)`` a dense prefill.

    Attributes:
        share: the share of positions, counted from the last one, that may be sparse.
        first: that many first positions are dense in any case; the first tokens of a text draw attention to themselves
            with very large activations.
    """

    share: float = 1.0
    first: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError("prefill.share", str(self.share), accepted="0 to 1")
        if self.first < 0:
            raise InputError("prefill.first", str(self.first), accepted="0 or more")

    def dense(self, positions: int) -> int:
        """How many of the first positions stay dense."""
        if positions == 1:
            return 0
        return min(positions, max(self.first, positions - int(self.share * positions)))


@dataclass(frozen=True, slots=True)
class Selected:
    """The part of an input that was kept.

    Attributes:
        values: the input with 0 in place of what was dropped [..., n], or the kept values alone [k].
        indices: of the kept values [k]; None where ``values`` has all places.
        dropped: how many numbers were dropped.
    """

    values: Tensor
    indices: Tensor | None
    dropped: int | Tensor


class Selector(nn.Module):
    """Drops inputs by score; layers that share an input and a rule share one selector, which then works once.

    Args:
        score: from x [..., n] to scores of the same shape.
        keep: K, the number of inputs that each token keeps; where scores are equal, any of them.
        threshold: without ``keep``, inputs with a score up to it are dropped.
        prefill: which positions stay dense.
    """

    def __init__(
        self, score: nn.Module, *, keep: int | None = None, threshold: float = 0.0, prefill: Prefill | None = None
    ) -> None:
        super().__init__()
        self.score, self.keep, self.threshold = score, keep, threshold
        self.prefill = prefill or Prefill()
        self._masked: Memo[Selected] = Memo()
        self._kept: Memo[Selected] = Memo()

    def masked(self, x: Tensor) -> Selected:
        """Put 0 in place of what is dropped. Shapes: x [..., n] -> values [..., n]."""
        return self._masked(x, self._mask)

    def kept(self, x: Tensor) -> Selected:
        """Take what is kept of one token. Shapes: x [..., n] with n numbers -> values [k], indices [k]."""
        return self._kept(x, self._keep)

    def _mask(self, x: Tensor) -> Selected:
        scores = self.score(x)
        # what is not a number stays, and is seen
        chosen = ~(scores <= self.threshold) if self.keep is None else largest(scores, self.keep)
        dense = self.prefill.dense(x.shape[1]) if x.ndim == 3 else 0
        if dense:
            chosen[:, :dense] = True
        if self.keep is None:
            return Selected(x.masked_fill(~chosen, 0), None, chosen.numel() - chosen.sum())
        tokens = x.numel() // x.shape[-1] - (dense * x.shape[0] if dense else 0)
        return Selected(x.masked_fill(~chosen, 0), None, tokens * (x.shape[-1] - self.keep))

    def _keep(self, x: Tensor) -> Selected:
        scores, values = self.score(x).reshape(-1), x.reshape(-1)
        if self.keep is None:
            indices = (~(scores <= self.threshold)).nonzero()[:, 0]
        else:
            indices = scores.topk(self.keep, sorted=False).indices
        return Selected(values.index_select(0, indices), indices, len(values) - len(indices))

    def extra_repr(self) -> str:
        """What ``print(selector)`` shows."""
        return f"threshold={self.threshold:.3g}" if self.keep is None else f"keep={self.keep}"
