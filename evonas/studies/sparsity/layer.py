"""The layer that stands in place of a linear one and multiplies with the inputs it keeps alone."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from evonas.studies.sparsity.kernels import BagStarts, Int8Columns, gather_mv, masked_mv
from evonas.studies.sparsity.memo import Memo
from evonas.studies.sparsity.selection import Selector
from evonas.studies.sparsity.sites import LinearSite, as_matrix, features_last


class Rotation(nn.Module):
    """x R, worked out once for all layers that read x. Shapes: x [..., n] -> the same, R [n, n]."""

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix, persistent=False)
        self._memo: Memo[Tensor] = Memo()

    def forward(self, x: Tensor) -> Tensor:
        """Rotate the input."""
        return self._memo(x, self._multiply)

    def _multiply(self, x: Tensor) -> Tensor:
        return x @ self.matrix


class LowRank(nn.Module):
    """(x V) (U S)^T with the r largest singular values of W = U S V^T.

    Args:
        factors: V [n, q] and (U S)^T [q, m] with q >= r singular values, from the largest down.
        rank: r.

    Shapes: x [..., n] -> [..., m]; down [n, r], up [r, m].

    Source: Zhang et al. 2025 (R-Sparse).
    """

    down: Tensor
    up: Tensor

    def __init__(self, factors: tuple[Tensor, Tensor], rank: int) -> None:
        super().__init__()
        self.register_buffer("down", factors[0][:, :rank].contiguous(), persistent=False)
        self.register_buffer("up", factors[1][:rank].contiguous(), persistent=False)

    @property
    def rank(self) -> int:
        """The number r of singular values."""
        return self.down.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """Multiply the input with the low-rank matrix."""
        return x @ self.down @ self.up


def low_rank_factors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """V [n, q] and (U S)^T [q, m] of W = U S V^T, q = min(n, m). Shapes: W [m, n]."""
    u, s, vh = torch.linalg.svd(matrix.detach().double(), full_matrices=False)
    return vh.T.to(matrix.dtype), (u * s).T.to(matrix.dtype)


@dataclass(slots=True)
class DropCounter:
    """How many input numbers a layer saw and dropped, at all positions and at single positions (decoding)."""

    seen: int = 0
    dropped: int | Tensor = 0
    decode_seen: int = 0
    decode_dropped: int | Tensor = 0

    def add(self, x: Tensor, dropped: int | Tensor) -> None:
        """Count an input [..., n]; nothing waits for the device, and what runs compiled is not counted."""
        if torch.compiler.is_compiling():
            return
        self.seen += x.numel()
        self.dropped = self.dropped + dropped
        if x.numel() == x.shape[-1] or (x.ndim == 3 and x.shape[1] == 1):
            self.decode_seen += x.numel()
            self.decode_dropped = self.decode_dropped + dropped


class SparseLinear(nn.Module):
    """y = W (g * x) + b, g in {0, 1}^n chosen for each token by a selector; with a rotation R, x is x R.

    Weight and bias are parameters of the old layer's names, and without a transform its very parameters. An input of
    one token goes through a kernel that reads the kept columns of W alone, if ``sparse``; all others through a masked
    dense product, which gives the same within rounding. A 1x1 convolution is the same layer at each pixel.

    Args:
        site: the layer in whose place it stands.
        selector: what is kept.
        weight: W in the rotated basis [m, n]; None takes the layer's own.
        rotation: R.
        low_rank: stands in for what is dropped.
        sparse: use the kernel; it needs W by columns, see ``to_columns``.

    Shapes: x [..., n] -> [..., m]; with a stride [..., n, h, w] -> [..., m, h', w'].
    """

    bias: nn.Parameter | None
    int8: Int8Columns | None  # rounded columns that are read in place of W

    def __init__(
        self,
        site: LinearSite,
        selector: Selector,
        *,
        weight: Tensor | None = None,
        rotation: Rotation | None = None,
        low_rank: LowRank | None = None,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride, self.sparse = site.inputs, site.outputs, site.stride, sparse
        self.transposed = site.transposed and weight is None
        self.weight = site.weight if weight is None else nn.Parameter(weight, requires_grad=False)
        self.register_parameter("bias", site.module.bias)  # type: ignore[arg-type]  # a parameter or None
        self.selector, self.rotation, self.low_rank = selector, rotation, low_rank
        self.tally = DropCounter()
        self.train(site.module.training)
        self.int8: Int8Columns | None = None
        self._starts = BagStarts()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.stride is None:
            return self._multiply(x)
        return self._multiply(features_last(x, self.stride)).movedim(-1, -3)

    @property
    def matrix(self) -> Tensor:
        """W, of shape [m, n]; a view."""
        return as_matrix(self.weight, self.transposed)

    @property
    def dropped_share(self) -> float | None:
        """The share of inputs that is dropped: as seen when decoding, else at all positions, else as planned.

        None where a threshold has not met an input yet.
        """
        for dropped, seen in (
            (self.tally.decode_dropped, self.tally.decode_seen),
            (self.tally.dropped, self.tally.seen),
        ):
            if seen:
                return float(dropped) / seen
        return None if self.selector.keep is None else 1 - self.selector.keep / self.inputs

    def to_columns(self) -> None:
        """Store W by columns, in place: the same numbers in another order of memory."""
        if not self.transposed:
            self.weight.data = self.weight.data.t().contiguous().t()

    def to_rows(self) -> None:
        """Store W by rows again, as torch does."""
        if not self.transposed:
            self.weight.data = self.weight.data.contiguous()

    def _multiply(self, x: Tensor) -> Tensor:
        if self.rotation is not None:
            x = self.rotation(x)
        if self.sparse and x.numel() == self.inputs and not torch.is_autocast_enabled(x.device.type):
            return self._multiply_one(x)
        selected = self.selector.masked(x)
        self.tally.add(x, selected.dropped)
        y = functional.linear(
            selected.values, self.matrix if self.int8 is None else self.int8.unpacked().t(), self.bias
        )
        return y if self.low_rank is None else y + self.low_rank(x - selected.values)

    def _multiply_one(self, x: Tensor) -> Tensor:
        columns = self.matrix.t()
        if x.is_cuda:
            selected = self.selector.masked(x)
            y = masked_mv(columns, selected.values.reshape(-1))
        else:
            selected = self.selector.kept(x)
            assert selected.indices is not None
            starts = self._starts(selected.indices) if len(selected.indices) else None
            if self.int8 is None:
                y = gather_mv(columns, selected.indices, selected.values, starts)
            else:
                y = self.int8(selected.indices, selected.values, starts)
        self.tally.add(x, selected.dropped)
        if self.bias is not None:
            y = y + self.bias
        if self.low_rank is not None:
            rest = x.reshape(-1) - selected.values if selected.indices is None else _without(x, selected.indices)
            y = y + self.low_rank(rest)
        return y.reshape(*x.shape[:-1], self.outputs)

    def extra_repr(self) -> str:
        """What ``print(layer)`` shows."""
        return f"{self.inputs}, {self.outputs}, kernel={'sparse' if self.sparse else 'masked'}"


def _without(x: Tensor, indices: Tensor) -> Tensor:
    return x.reshape(-1).index_fill(0, indices, 0)
