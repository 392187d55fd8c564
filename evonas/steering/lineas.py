"""LinEAS: all maps trained together, through the network, to match pooled activations neuron by neuron."""

import math
from collections.abc import Callable, Sequence
from itertools import cycle

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.instrument.fit import StopReason, Trace, fit
from evonas.steering.maps import AffineMap
from evonas.steering.pooling import Pooling
from evonas.steering.proximal import shrink_to_identity
from evonas.steering.recording import Recorder
from evonas.steering.sites import Batch, Site, steered
from evonas.steering.wasserstein import Quantiles, quantiles, require_reduction, transport_loss

OPTIMIZERS: dict[str, Callable[[list[Tensor], float], torch.optim.Optimizer]] = {
    "sgd": lambda parameters, rate: torch.optim.SGD(parameters, rate),
    "adam": lambda parameters, rate: torch.optim.Adam(parameters, rate, betas=(0.9, 0.9)),
}
FLOOR = 1e-3  # share of the learning rate at the end


def train(
    model: nn.Module,
    sites: Sequence[Site],
    source: Sequence[Batch],
    target: Sequence[Tensor],
    *,
    pooling: Pooling,
    steps: int,
    lr: float,
    sparsity: float,
    reduction: str,
    optimizer: str,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> tuple[list[AffineMap], Trace]:
    r"""Maps that start at the identity and end where the steered source resembles the target.

    Each step takes one source batch through the network with its maps, compares what comes out of each site with the
    whole target, $C = \sum_l \sum_k W_2^2$ (``transport_loss``), and moves all w and b against the gradient. Then, with
    sparsity $\gamma$, the proximal step of $\gamma\sum_l (\lVert w_l - 1\rVert_1 + \lVert b_l\rVert_1 +
    \sqrt{d_l}(\lVert w_l - 1\rVert_2 + \lVert b_l\rVert_2))$ at that step's learning rate, which falls to a thousandth
    along a half cosine.

    Args:
        model: frozen, in evaluation mode.
        sites: in the order of calls.
        source: batches, taken in turn, over and over.
        target: [m, d] for each site, from the untouched network.
        pooling: as it was for the target.
        steps: how many.
        lr: the first learning rate; 0.1 is the paper's for language models, with ``sgd`` and ``mean``.
        sparsity: gamma; 0 leaves the proximal step out.
        reduction: ``mean`` or ``sum``; see ``transport_loss``.
        optimizer: ``sgd`` without momentum, or ``adam`` with betas of 0.9.
        on_step: called last in each step, with its number (from 0) and its loss.

    Source: Rodriguez et al. 2025, sections 3 and 4; the threshold of the proximal step, learning rate times gamma, is
    that of the released code, as Algorithm 1 leaves the step size out.

    Raises:
        InputError: a setting out of range, or a loss that leaves the finite numbers.
    """
    require_reduction(reduction)
    if optimizer not in OPTIMIZERS:
        raise InputError("optimizer", repr(optimizer), accepted=", ".join(OPTIMIZERS))
    weights = [nn.Parameter(torch.ones_like(goal[0])) for goal in target]
    biases = [nn.Parameter(torch.zeros_like(goal[0])) for goal in target]
    maps = list(map(AffineMap, weights, biases))
    descent = OPTIMIZERS[optimizer]([*weights, *biases], lr)
    goals: dict[int, list[Quantiles]] = {}  # by number of source samples

    def fall(step: int) -> float:
        return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * step / steps)) / 2

    def after_step(step: int, loss: Tensor) -> None:
        if sparsity:
            for weight, bias in zip(weights, biases, strict=True):
                shrink_to_identity(weight, bias, lr * fall(step) * sparsity)
        if on_step is not None:
            on_step(step, loss)

    with steered(model, sites, maps), Recorder(model, sites, pooling) as record:

        def loss(batch: Batch) -> Tensor:
            pooled = record(batch)
            n = len(pooled[0])
            if n not in goals:
                goals[n] = [quantiles(samples, n) for samples in target]
            return transport_loss(pooled, goals[n], reduction)

        schedule = torch.optim.lr_scheduler.LambdaLR(descent, fall)
        trace = fit(loss, cycle(source), descent, steps=steps, schedule=schedule, after_step=after_step)
    finite = all(parameter.isfinite().all() for parameter in (*weights, *biases))
    if trace.stop is StopReason.DIVERGED or not finite:
        found = f"{lr}: loss or maps became infinite or not a number at step {len(trace.losses)} of {steps}"
        raise InputError("lr", found, remedy="lower it")
    return [AffineMap(affine.weight.detach(), affine.bias.detach()) for affine in maps], trace
