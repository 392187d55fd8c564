"""Products of a matrix with a sparse vector that read only the columns they need."""

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional


def gather_mv(columns: Tensor, indices: Tensor, values: Tensor, starts: Tensor | None = None) -> Tensor:
    """The sum of values_j * columns[indices_j], by torch's embedding bag: one bag for each thread.

    Shapes: columns [n, m], the transposed weight, contiguous; indices [k], values [k] -> [m]; starts as of
    ``bag_starts``, which gives them where they are not given.
    """
    if not len(indices):
        return columns.new_zeros(columns.shape[1])
    starts = bag_starts(indices) if starts is None else starts
    bags = functional.embedding_bag(indices, columns, starts, mode="sum", per_sample_weights=values)
    return bags[0] if len(bags) == 1 else bags.sum(0)


def bag_starts(indices: Tensor) -> Tensor:
    """Where the bags of an embedding bag begin, one for each thread. Shapes: indices [k], k > 0 -> [bags]."""
    count = len(indices)
    return torch.arange(0, count, ceil(count / _threads()), device=indices.device)


class BagStarts:
    """``bag_starts``, kept for as long as the numbers of indices and of threads stay the same.

    In a model that decodes a token in some milliseconds, every call of torch in a layer counts. While torch compiles
    nothing is kept.
    """

    def __init__(self) -> None:
        self._rule: tuple[int, int] | None = None
        self._starts: Tensor | None = None

    def __call__(self, indices: Tensor) -> Tensor:
        """Where the bags of these indices begin; there is one at least."""
        if torch.compiler.is_compiling():
            return bag_starts(indices)
        rule = len(indices), torch.get_num_threads()
        if self._starts is None or self._rule != rule:
            with torch.inference_mode(False):  # whatever uses it later
                self._rule, self._starts = rule, bag_starts(indices)
        return self._starts


def _threads() -> int:
    return torch.get_num_threads()


# Fixed in compiled code, as in all of it. This is what torch.compiler.assume_constant_result sets; calling that would
# import the compiler, which takes a second.
_threads._dynamo_marked_constant = True  # type: ignore[attr-defined]


class Int8Columns(nn.Module):
    """The columns of W as 8-bit numbers, each column with a scale and an offset of its own.

    Args:
        columns: W transposed [n, m], float32.
    """

    packed: Tensor

    def __init__(self, columns: Tensor) -> None:
        super().__init__()
        packed = torch.ops.quantized.embedding_bag_byte_prepack(columns.detach().contiguous())
        self.register_buffer("packed", packed, persistent=False)

    def unpacked(self) -> Tensor:
        """The rounded columns [n, m], float32."""
        found: Tensor = torch.ops.quantized.embedding_bag_byte_unpack(self.packed)
        return found

    def forward(self, indices: Tensor, values: Tensor, starts: Tensor | None = None) -> Tensor:
        """The sum of values_j * columns[indices_j]; see ``gather_mv``."""
        if not len(indices):
            return values.new_zeros(self.packed.shape[1] - 8)  # a scale and an offset end each row
        starts = bag_starts(indices) if starts is None else starts
        product = torch.ops.quantized.embedding_bag_byte_rowwise_offsets
        bags: Tensor = product(self.packed, indices, starts, False, 0, False, values, None, False)
        return bags[0] if len(bags) == 1 else bags.sum(0)


def masked_mv(columns: Tensor, x: Tensor) -> Tensor:
    """The sum of x_i * columns[i] over the i with x_i != 0, on a GPU, by a Triton kernel.

    Shapes: columns [n, m], the transposed weight, contiguous; x [n] -> [m].
    """
    from evonas.studies.sparsity.triton_kernel import skip_zeros  # where there is no GPU there may be no triton

    return skip_zeros(columns, x)
