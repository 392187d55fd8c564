"""Everything that needs a GPU, in two tables: python scripts/gpu_check.py (minutes; ``--device cpu`` tries the script).

For each catalogue layer: the same output and gradients as on the CPU in float32; finite results under autocast in
bfloat16 and float16, for channels-last inputs and 1x1 maps; and the time of forward + backward relative to
BatchNorm2d + ReLU (LayerNorm + ReLU for layers of transformers) on the same tensors, eager and compiled, beside timm's
layers. For the product with a sparse vector: its difference to float64, and its time relative to the dense product, in
bfloat16, called from Python and in a CUDA graph. Times are medians of interleaved rounds in this process.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial

import timm.layers
import torch
import torch._dynamo
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from evonas import CATALOGUE, lower
from evonas.graph.catalogue import known_layout
from evonas.studies.sparsity.kernels import gather_mv, masked_mv
from evonas.training.timing import forward_backward, relative_time

CHANNELS = 64
TOLERANCE = 1e-4  # relative, float32, different summation order
SPARSE_TOLERANCE = 1e-2  # relative, bfloat16
TIMM = {
    "evonorm-b0": timm.layers.EvoNorm2dB0,
    "evonorm-s0": timm.layers.EvoNorm2dS0,
    "frn-tlu": timm.layers.FilterResponseNormTlu2d,
}
SHAPES = {"cuda": [(4096, 11008), (11008, 4096), (8192, 28672)], "cpu": [(512, 1024)]}  # inputs, outputs
LEVELS = (0.0, 0.25, 0.5, 0.65, 0.8)
CALLS = 20  # products in one timing, each with a matrix of its own, which no cache holds


def tensor(name: str, batch: int, side: int, device: torch.device | None = None) -> Tensor:
    """A batch of images, or of side^2 tokens for layers of transformers."""
    if known_layout(CATALOGUE[name]) == "bchw":
        return torch.randn(batch, CHANNELS, side, side, device=device)
    return torch.randn(batch, side * side, CHANNELS, device=device)


def results(layer: nn.Module, x: Tensor, autocast: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Output of a layer, and its input gradient in a random direction."""
    x = x.detach().requires_grad_()
    with torch.autocast(x.device.type, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        y = layer(x)
    # not that of x, along which a normalization has no gradient
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.device)
    (y.float() * direction).mean().backward()
    assert x.grad is not None
    return y, x.grad


def agrees(name: str, device: torch.device) -> float:
    """Largest relative difference between the device and the CPU, over output and input gradient."""
    torch.manual_seed(0)
    reference = lower(CATALOGUE[name], CHANNELS)
    x = tensor(name, 8, 14)
    moved = lower(CATALOGUE[name], CHANNELS).to(device)
    moved.load_state_dict(reference.state_dict())
    pairs = zip(results(reference, x), results(moved, x.to(device)), strict=True)
    return max(float(((a - b.cpu()).abs().max() / a.abs().max()).detach()) for a, b in pairs)


def faults(name: str, device: torch.device) -> list[str]:
    """What is wrong with results in half precision, for channels-last inputs and for 1x1 maps."""
    layer = lower(CATALOGUE[name], CHANNELS).to(device)
    inputs = {"": tensor(name, 8, 14, device), " of 1x1": tensor(name, 2, 1, device)}
    images = inputs[""].ndim == 4
    if images:
        inputs[""] = inputs[""].to(memory_format=torch.channels_last)
    found = []
    for dtype in (torch.bfloat16, torch.float16):
        for which, x in inputs.items():
            y, gradient = results(layer, x.to(dtype), dtype)
            if y.dtype != dtype:
                found.append(f"{y.dtype} for {dtype}{which}")
            if not (y.isfinite().all() and gradient.isfinite().all()):
                found.append(f"{dtype}{which} not finite")
    y, _ = results(layer, inputs[""])
    if images and not y.is_contiguous(memory_format=torch.channels_last):
        found.append("channels-last not kept")
    return found


def times(name: str, device: torch.device, batch: int) -> list[float | None]:
    """Of forward + backward over those of torch's layers: ours, eager and compiled; timm's."""
    x = tensor(name, batch, 28, device=device)
    norm = nn.BatchNorm2d(CHANNELS) if x.ndim == 4 else nn.LayerNorm(CHANNELS)
    baseline = forward_backward(nn.Sequential(norm, nn.ReLU()).to(device), x)
    layer = lower(CATALOGUE[name], CHANNELS)
    modules = [layer.to(device), torch.compile(layer.to(device), dynamic=False)]
    if name in TIMM:
        theirs = TIMM[name](CHANNELS).to(device)
        modules += [theirs, torch.compile(theirs, dynamic=False)]
    found: list[float | None] = [relative_time(forward_backward(module, x), baseline, device) for module in modules]
    return [*found, None, None][:4]


def layers(device: torch.device) -> tuple[Table, bool]:
    """The first table, and whether all is well."""
    table = Table(title="layers; times relative to BatchNorm2d (LayerNorm) + ReLU, eager", title_justify="left")
    columns = (
        "difference to CPU",
        "half precision, formats, 1x1",
        "eager",
        "compiled",
        "timm, eager",
        "timm, compiled",
    )
    table.add_column("layer")
    for column in columns:
        table.add_column(column, justify="right")
    well = True
    for name in CATALOGUE:
        difference, wrong = agrees(name, device), faults(name, device)
        well &= difference <= TOLERANCE and not wrong
        ratios = times(name, device, 256 if device.type == "cuda" else 8)
        shown = ("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
        table.add_row(name, f"{difference:.1e}", "; ".join(wrong) or "ok", *shown)
    return table, well


def products(device: torch.device) -> tuple[Table, bool]:
    """The second table, and whether all is well: the kernel alone, without the selection of inputs."""
    table = Table(
        title="products with a sparse vector, bfloat16; times relative to dense, called from Python / in a CUDA graph",
        title_justify="left",
    )
    for column in ("inputs -> outputs", "difference to float64", *(f"{100 * level:g} % zeros" for level in LEVELS)):
        table.add_column(column, justify="left" if column.startswith("inputs") else "right")
    well = True
    for n, m in SHAPES[device.type]:
        columns = [torch.randn(n, m, device=device, dtype=torch.bfloat16) for _ in range(CALLS)]
        weights = [matrix.t().contiguous() for matrix in columns]
        cells, worst = [], 0.0
        for level in LEVELS:
            x = torch.randn(n, device=device, dtype=torch.bfloat16)
            x[torch.randperm(n, device=device)[: int(level * n)]] = 0
            expected = x.double() @ columns[0].double()
            difference = (product(columns[0], x).double() - expected).norm() / expected.norm()
            worst = max(worst, float(difference))
            sparse, usual = partial(all_products, product, columns, x), partial(all_products, dense, weights, x)
            ratios = [relative_time(sparse, usual, device, wall=True)]
            if device.type == "cuda":
                ratios.append(relative_time(captured(sparse), captured(usual), device))
            cells.append(" / ".join(f"{ratio:.2f}" for ratio in ratios))
        well &= worst <= SPARSE_TOLERANCE
        table.add_row(f"{n} -> {m}", f"{worst:.1e}", *cells)
    return table, well


def captured(run: Callable[[], None]) -> Callable[[], None]:
    """The same in a CUDA graph, in which launches cost next to nothing."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def all_products(how: Callable[[Tensor, Tensor], Tensor], matrices: list[Tensor], x: Tensor) -> None:
    """One vector with each matrix."""
    for matrix in matrices:
        how(matrix, x)


def dense(weight: Tensor, x: Tensor) -> Tensor:
    """As torch's linear layers do it."""
    return functional.linear(x, weight)


def product(columns: Tensor, x: Tensor) -> Tensor:
    """As sparse layers do it on the device."""
    if columns.device.type == "cuda":
        return masked_mv(columns, x)
    indices = x.nonzero().flatten()
    return gather_mv(columns, indices, x[indices])


def main() -> int:
    """Print the tables; exit status 1 if a check fails, 2 without the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        print("gpu_check: torch sees no CUDA device; try --device cpu to test the script", file=sys.stderr)
        return 2
    torch._dynamo.config.recompile_limit = 1000  # all lowered layers have one forward function
    device = torch.device(arguments.device)
    console = Console(width=140)
    console.print(torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU", f"torch {torch.__version__}")
    well = True
    for make in (layers, products):
        table, sound = make(device)
        console.print(table)
        well &= sound
    return int(not well)


if __name__ == "__main__":
    raise SystemExit(main())
