"""Oracle: the dense product with the masked vector."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from evonas.studies.sparsity.kernels import gather_mv


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("keep", [0, 1, 7, 30])
def test_the_cpu_kernel_gives_the_masked_dense_product(
    threads: int, dtype: torch.dtype, keep: int, g: torch.Generator
) -> None:
    columns, x = torch.randn(30, 17, generator=g).to(dtype), torch.randn(30, generator=g).to(dtype)
    indices = torch.randperm(30, generator=g)[:keep]
    masked = torch.zeros(30, dtype=torch.float64)
    masked[indices] = x[indices].double()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y = gather_mv(columns, indices, x[indices])
    finally:
        torch.set_num_threads(before)
    assert y.dtype == dtype
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float64: 1e-12}[dtype]
    assert torch.allclose(y.double(), masked @ columns.double(), atol=tolerance)


def test_compiled_code_takes_the_number_of_threads_for_a_constant(g: torch.Generator) -> None:
    columns, indices = torch.randn(30, 17, generator=g), torch.tensor([1, 4, 7])
    values = torch.randn(3, generator=g)
    compiled = torch.compile(gather_mv, fullgraph=True, backend="eager")  # refuses to leave any of it to Python
    assert torch.equal(compiled(columns, indices, values), gather_mv(columns, indices, values))
    torch.compiler.reset()


INTERPRETED = """
import torch
from evonas.studies.sparsity.triton_kernel import skip_zeros

g = torch.Generator().manual_seed(0)
for n, m, parts, dtype in ((1, 1, 1, torch.float32), (70, 130, 1, torch.float32), (70, 130, 3, torch.float32),
                           (64, 128, 2, torch.float16), (33, 257, 2, torch.bfloat16), (40, 5, 9, torch.float32)):
    columns, x = torch.randn(n, m, generator=g).to(dtype), torch.randn(n, generator=g).to(dtype)
    x[torch.rand(n, generator=g) < 0.5] = 0
    columns[x == 0] = torch.nan  # must not be read
    y = skip_zeros(columns, x, parts)
    expected = x.double() @ columns.double().nan_to_num()
    assert y.dtype == dtype and y.shape == (m,)
    error = (y.double() - expected).abs().max().item()
    assert error < (1e-4 if dtype == torch.float32 else 0.1), (n, m, parts, dtype, error)
    assert torch.equal(y, skip_zeros(columns, x, parts))
print("equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="pip install triton")
def test_the_gpu_kernel_gives_the_masked_dense_product_in_tritons_interpreter() -> None:
    # triton reads the variable when it is imported: a process of its own
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.gpu
def test_the_gpu_kernel_gives_the_masked_dense_product_on_a_gpu(g: torch.Generator) -> None:
    from evonas.studies.sparsity.kernels import masked_mv

    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        columns, x = torch.randn(1000, 3001, generator=g).to("cuda", dtype), torch.randn(1000, generator=g)
        x = x.where(x.abs() > 0.7, 0).to("cuda", dtype)
        y = masked_mv(columns, x)
        expected = x.double() @ columns.double()
        assert (y.double() - expected).norm() / expected.norm() < (1e-5 if dtype == torch.float32 else 1e-2)
        assert torch.equal(y, masked_mv(columns, x))
