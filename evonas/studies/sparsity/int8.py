"""Weights rounded to 8 bits, on the CPU: dense layers by output, and the columns that sparse layers gather by input.

Both products are torch's own: ``_weight_int8pack_mm`` for dense layers, and the quantized embedding bag for columns.
Inputs, sums and everything but weights stay in float32.
"""

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.sparsity.kernels import Int8Columns
from evonas.studies.sparsity.layer import SparseLinear
from evonas.studies.sparsity.sites import LinearSite, is_linear, site_at

STEPS = 127  # on either side of 0


class Int8Linear(nn.Module):
    """y = W x + b with W rounded to 8 bits, each row with a scale of its own. Shapes: x [..., n] -> [..., m].

    Args:
        site: the layer in whose place it stands.
    """

    weight: Tensor
    scales: Tensor
    bias: nn.Parameter | None

    def __init__(self, site: LinearSite) -> None:
        super().__init__()
        matrix = site.matrix.detach()
        scales = (matrix.abs().amax(1) / STEPS).clamp(min=torch.finfo(matrix.dtype).tiny)
        self.register_buffer("weight", (matrix / scales[:, None]).round().to(torch.int8).contiguous())
        self.register_buffer("scales", scales)
        self.register_parameter("bias", site.module.bias)  # type: ignore[arg-type]  # a parameter or None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        flat = x.reshape(-1, x.shape[-1]).contiguous()
        product: Tensor = torch.ops.aten._weight_int8pack_mm(flat, self.weight, self.scales)
        y = product.view(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias


def weights_to_int8(model: nn.Module) -> None:
    """Round the weights of all linear layers, the head included, in place and for good.

    Sparse layers keep their float32 weights beside the rounded ones: this is for measuring, not for saving memory.

    Raises:
        InputError: weights of another type than float32, or on another device than the CPU.
    """
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if isinstance(module, SparseLinear):
            _require_float32(name, module.weight)
            if module.int8 is None:
                module.int8 = Int8Columns(module.matrix.t())
        elif is_linear(module):
            site = site_at(name, module)
            if site.stride is None:
                _require_float32(name, site.weight)
                model.set_submodule(name, Int8Linear(site))


def _require_float32(name: str, weight: Tensor) -> None:
    if weight.dtype is not torch.float32 or weight.device.type != "cpu":
        kind = str(weight.dtype).removeprefix("torch.")
        raise InputError(f"int8, {name}", f"{kind} on {weight.device.type}", accepted="float32 on cpu")
