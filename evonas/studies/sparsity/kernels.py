"""Products of a matrix with a sparse vector that read only the columns they need."""

from math import ceil

import torch
from torch import Tensor
from torch.nn import functional


def gather_mv(columns: Tensor, indices: Tensor, values: Tensor) -> Tensor:
    """The sum of values_j * columns[indices_j], by torch's embedding bag: one bag for each thread.

    Shapes: columns [n, m], the transposed weight, contiguous; indices [k], values [k] -> [m].
    """
    count = len(indices)
    if not count:
        return columns.new_zeros(columns.shape[1])
    offsets = torch.arange(0, count, ceil(count / _threads()), device=indices.device)
    bags = functional.embedding_bag(indices, columns, offsets, mode="sum", per_sample_weights=values)
    return bags[0] if len(bags) == 1 else bags.sum(0)


def _threads() -> int:
    return torch.get_num_threads()


# Fixed in compiled code, as in all of it. This is what torch.compiler.assume_constant_result sets; calling that would
# import the compiler, which takes a second.
_threads._dynamo_marked_constant = True  # type: ignore[attr-defined]


def masked_mv(columns: Tensor, x: Tensor) -> Tensor:
    """The sum of x_i * columns[i] over the i with x_i != 0, on a GPU, by a Triton kernel.

    Shapes: columns [n, m], the transposed weight, contiguous; x [n] -> [m].
    """
    from evonas.studies.sparsity.triton_kernel import skip_zeros  # where there is no GPU there may be no triton

    return skip_zeros(columns, x)
