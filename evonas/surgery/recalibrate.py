"""Running statistics of layers that normalize over the batch."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.training.modes import evaluating


def recalibrate(model: nn.Module, batches: Iterable[Any], *, steps: int | None = None) -> int:
    """Set running statistics, in place, to the mean of those of the given batches; nothing is trained.

    For each statistic s over the batch, of an evolved layer or of torch's: s <- (s_1 + ... + s_n) / n, where s_k is
    that of batch k as training sees it. Everything else, such as dropout, stays in evaluation.

    Args:
        model: a network with batch statistics; its modes are kept.
        batches: inputs, or tuples whose first element is the input, on the model's device.
        steps: how many batches to take; None takes all.

    Returns:
        The number of batches seen.

    Raises:
        InputError: no batch came.

    Source: the cumulative average of ``torch.nn.BatchNorm2d(momentum=None)``.
    """
    layers = [module for module in model.modules() if has_running_statistics(module)]
    momenta = [layer.momentum for layer in layers]
    seen = 0
    with evaluating(model), torch.no_grad():
        for layer in layers:
            layer.train()
        try:
            for batch in islice(batches, steps):
                seen += 1
                for layer in layers:
                    layer.momentum = 1 / seen  # type: ignore[assignment]  # a float in each of them
                model(batch if isinstance(batch, Tensor) else batch[0])
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum
    if not seen:
        raise InputError("batches", "empty", accepted="at least one batch")
    return seen


def has_running_statistics(module: nn.Module) -> bool:
    """A batch norm that keeps statistics, or a moment over the batch of a layer that evonas lowered or exported."""
    buffers = dict(module.named_buffers(recurse=False))
    return hasattr(module, "momentum") and ("running" in buffers or "running_mean" in buffers)
