"""The product with a sparse vector on a GPU."""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"

from math import ceil

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_INPUTS, BLOCK_OUTPUTS, BLOCK_SUMS = 64, 64, 256
WAVES = 8  # programs for each multiprocessor


@triton.jit
def _partial_sums(
    x_ptr,
    columns_ptr,
    sums_ptr,
    n,
    m,
    chunk,
    block_n: tl.constexpr,
    block_m: tl.constexpr,
):
    part = tl.program_id(1)
    outputs = tl.program_id(0) * block_m + tl.arange(0, block_m)
    inside = outputs < m
    total = tl.zeros([block_n, block_m], dtype=tl.float32)  # summed over inputs once, at the end: that needs barriers
    for start in range(0, chunk, block_n):
        inputs = part * chunk + start + tl.arange(0, block_n)
        x = tl.load(x_ptr + inputs, mask=inputs < n, other=0.0)
        wanted = (x != 0.0)[:, None] & inside[None, :]
        places = inputs.to(tl.int64)[:, None] * m + outputs[None, :]
        weights = tl.load(columns_ptr + places, mask=wanted, other=0.0)
        total += x.to(tl.float32)[:, None] * weights.to(tl.float32)
    tl.store(sums_ptr + part * m + outputs, tl.sum(total, axis=0), mask=inside)


@triton.jit
def _add_parts(sums_ptr, y_ptr, m, parts, block: tl.constexpr):
    outputs = tl.program_id(0) * block + tl.arange(0, block)
    inside = outputs < m
    total = tl.zeros([block], dtype=tl.float32)
    for part in range(parts):
        total += tl.load(sums_ptr + part * m + outputs, mask=inside, other=0.0)
    tl.store(y_ptr + outputs, total.to(y_ptr.dtype.element_ty), mask=inside)


def skip_zeros(columns: Tensor, x: Tensor, parts: int | None = None) -> Tensor:
    """The sum of x_i * columns[i] over the i with x_i != 0; rows of ``columns`` where x is 0 are not read.

    Each program sums, in single precision, a block of outputs over a chunk of inputs; a second kernel sums the chunks
    in order, so that the result is the same every time. From Python the two launches take longer than most products:
    the gain shows in a CUDA graph (``scripts/gpu_check.py``).

    Args:
        columns: [n, m], contiguous; any floating-point type.
        x: [n], of the same type.
        parts: chunks of inputs; None takes as many as keep the GPU busy.

    Shapes: -> [m], of the type of x.

    Source: the idea is that of TEAL's kernel (Liu et al. 2024); there chunks are added by atomics in half precision.
    """
    (n, m), device = columns.shape, columns.device
    assert columns.is_contiguous()
    assert x.shape == (n,)
    blocks = ceil(m / BLOCK_OUTPUTS)
    if parts is None:
        wanted = WAVES * torch.cuda.get_device_properties(device).multi_processor_count / blocks
        parts = max(1, min(ceil(wanted), ceil(n / BLOCK_INPUTS)))
    chunk = ceil(n / parts / BLOCK_INPUTS) * BLOCK_INPUTS
    sums = torch.empty(parts, m, dtype=torch.float32, device=device)
    _partial_sums[(blocks, parts)](
        x.contiguous(), columns, sums, n, m, chunk, block_n=BLOCK_INPUTS, block_m=BLOCK_OUTPUTS
    )
    y = torch.empty(m, dtype=x.dtype, device=device)
    _add_parts[(ceil(m / BLOCK_SUMS),)](sums, y, m, parts, block=BLOCK_SUMS)
    return y
