"""What a layer costs for each element of its input: arithmetic, memory traffic, parameters; and its time."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from evonas.graph.genome import Genome
from evonas.layer.lower import lower
from evonas.layer.plan import layout_of
from evonas.training.timing import forward_backward, relative_time

SHAPES = {"bchw": (16, 64, 16, 16), "btd": (16, 64, 256)}
FEATURES = {"bchw": 64, "btd": 256}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the forward and backward pass of a layer in training.

    Attributes:
        flops: floating-point operations for each element of the input: one for each number that an elementwise
            operation writes or a sum reads.
        traffic: numbers that are read or written for each element of the input, when no two operations are fused.
        parameters: trainable values for each feature.
    """

    flops: float
    traffic: float
    parameters: float

    def beside(self, other: "Cost", name: str) -> str:
        """What people read, with the costs of another layer in brackets."""
        return (
            f"{self.flops:.1f} operations and {self.traffic:.1f} numbers moved an element, {self.parameters:g} "
            f"parameters a feature ({name}: {other.flops:.1f}, {other.traffic:.1f}, {other.parameters:g})"
        )


def cost_of(genome: Genome, layout: str | None = None) -> Cost:
    """Count what torch calls for a layer, forward and backward.

    Args:
        genome: the layer.
        layout: as for ``lower``; None takes that of its moments, and images for a layer without any.
    """
    layer, x = _made(genome, layout)
    run = forward_backward(layer, x)
    with _Counter() as counter:
        run()
    count = sum(parameter.numel() for parameter in layer.parameters())
    return Cost(counter.flops / x.numel(), counter.traffic / x.numel(), count / FEATURES[layer.layout])


def time_beside_torch(genome: Genome, layout: str | None = None) -> float:
    """Time of forward and backward pass relative to BatchNorm2d and ReLU, of tokens to LayerNorm and GELU.

    Median of processor times side by side, on noise [16, 64, 16, 16] or [16, 64, 256]; not the same in two runs.
    """
    layer, x = _made(genome, layout)
    tokens = layer.layout == "btd"
    features = FEATURES[layer.layout]
    own = (nn.LayerNorm(features), nn.GELU()) if tokens else (nn.BatchNorm2d(features), nn.ReLU())
    reference = nn.Sequential(*own)
    return relative_time(forward_backward(layer, x), forward_backward(reference, x), torch.device("cpu"))


def _made(genome: Genome, layout: str | None) -> tuple[Any, Tensor]:
    layout = layout_of(genome, layout or next(iter(genome.layouts), "bchw"))
    x = torch.randn(SHAPES[layout], generator=torch.Generator().manual_seed(0))
    return lower(genome, FEATURES[layout], layout=layout).train(), x


class _Counter(TorchDispatchMode):
    """Counts the numbers that operations of torch read, write and compute."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.traffic = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        aliases = [each.alias_info for each in func._schema.returns]
        if any(alias is not None and not alias.is_write for alias in aliases):
            return result  # a view
        read = sum(each.numel() for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor))
        written = sum(each.numel() for each in tree_leaves(result) if isinstance(each, Tensor))
        largest = [each.numel() for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor)]
        self.traffic += read + written
        self.flops += max(largest, default=0)
        return result
