"""Everything that needs a GPU, in one table: python scripts/gpu_check.py (minutes; ``--device cpu`` tries the script).

For each catalogue layer: the same output and gradients as on the CPU in float32; finite results under autocast in
bfloat16 and float16, for channels-last inputs and 1x1 maps; and the time of forward + backward relative to
BatchNorm2d + ReLU on the same tensors, measured in turn in this process (median of interleaved repetitions).
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from evonas import CATALOGUE, lower

CHANNELS = 64
TOLERANCE = 1e-4  # relative, float32, different summation order
REPETITIONS = 30


def forward_backward(layer: nn.Module, x: Tensor, autocast: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
    """Output and input gradient of a layer."""
    x = x.detach().requires_grad_()
    with torch.autocast(x.device.type, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
        y = layer(x)
    y.float().square().mean().backward()
    assert x.grad is not None
    return y, x.grad


def agrees(name: str, device: torch.device) -> float:
    """Largest relative difference between the device and the CPU, over output and input gradient."""
    torch.manual_seed(0)
    reference = lower(CATALOGUE[name], CHANNELS)
    x = torch.randn(8, CHANNELS, 14, 14)
    moved = lower(CATALOGUE[name], CHANNELS).to(device)
    moved.load_state_dict(reference.state_dict())
    pairs = zip(forward_backward(reference, x), forward_backward(moved, x.to(device)), strict=True)
    return max(float(((a - b.cpu()).abs().max() / a.abs().max()).detach()) for a, b in pairs)


def robust(name: str, device: torch.device) -> bool:
    """Whether half precision, channels-last and 1x1 maps give finite results in the right dtype and format."""
    layer = lower(CATALOGUE[name], CHANNELS).to(device)
    inputs = [
        torch.randn(8, CHANNELS, 14, 14, device=device).to(memory_format=torch.channels_last),
        torch.randn(2, CHANNELS, 1, 1, device=device),
    ]
    for x in inputs:
        for dtype in (torch.bfloat16, torch.float16):
            y, gradient = forward_backward(layer, x.to(dtype), dtype)
            if y.dtype != dtype or not (y.isfinite().all() and gradient.isfinite().all()):
                return False
    y, _ = forward_backward(layer, inputs[0])
    return y.is_contiguous(memory_format=torch.channels_last)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Time of one call, the device's queue emptied before and after."""
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronize()
    started = time.perf_counter()
    run()
    synchronize()
    return time.perf_counter() - started


def relative_time(name: str, device: torch.device, batch: int) -> float:
    """Median time of forward + backward over that of BatchNorm2d + ReLU, in turn on the same tensor."""
    x = torch.randn(batch, CHANNELS, 28, 28, device=device)
    layer = lower(CATALOGUE[name], CHANNELS).to(device)
    baseline = nn.Sequential(nn.BatchNorm2d(CHANNELS), nn.ReLU()).to(device)
    ratios = []
    for repetition in range(REPETITIONS + 3):
        pair = [seconds(lambda m=module: forward_backward(m, x), device) for module in (layer, baseline)]  # type: ignore[misc]
        if repetition >= 3:
            ratios.append(pair[0] / pair[1])
    return statistics.median(ratios)


def main() -> int:
    """Print the table; exit status 1 if a check fails, 2 without the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        print("gpu_check: torch sees no CUDA device; try --device cpu to test the script", file=sys.stderr)
        return 2
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    table = Table(title=f"{name}, torch {torch.__version__}", title_justify="left")
    for column in ("layer", "difference to CPU", "half precision, formats, 1x1", "eager time / BN-ReLU"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    failed = False
    for layer in CATALOGUE:
        difference, sound = agrees(layer, device), robust(layer, device)
        failed |= difference > TOLERANCE or not sound
        ratio = relative_time(layer, device, 256 if device.type == "cuda" else 8)
        table.add_row(layer, f"{difference:.1e}", "ok" if sound else "FAILED", f"{ratio:.2f}")
    Console().print(table)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
