"""Times of two functions relative to each other, measured side by side."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

WARM_UP, ROUNDS = 3, 15


def relative_time(
    work: Callable[[], object], reference: Callable[[], object], device: torch.device, *, wall: bool = False
) -> float:
    """Median over rounds of time(work) / time(reference).

    The two take turns, and who begins alternates, so that whatever else the machine does burdens both. On a CPU this
    is processor time: on the clock, the longer of two is also the more often interrupted. With ``wall`` it is the
    clock, for work on several threads.
    """
    for run in (work, reference) * WARM_UP:
        run()
    ratios = []
    for number in range(ROUNDS):
        order = (work, reference) if number % 2 else (reference, work)
        times = {run: _time(run, device, wall) for run in order}
        ratios.append(times[work] / times[reference])
    return statistics.median(ratios)


def forward_backward(module: nn.Module, x: Tensor) -> Callable[[], object]:
    """The work of a forward and backward pass, to the input and all parameters, whose ``grad`` it leaves alone."""
    parameters = list(module.parameters())

    def run() -> object:
        inputs = x.detach().requires_grad_()
        y = module(inputs)
        return torch.autograd.grad(y, [inputs, *parameters], torch.ones_like(y), allow_unused=True)

    return run


def _time(run: Callable[[], object], device: torch.device, wall: bool) -> float:
    started = _now(device, wall)
    run()
    return _now(device, wall) - started


def _now(device: torch.device, wall: bool) -> float:
    if device.type == "cpu":
        return time.perf_counter() if wall else time.process_time()
    torch.accelerator.synchronize(device)
    return time.perf_counter()
