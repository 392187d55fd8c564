"""The output layer of a hypernetwork: one linear head a predicted tensor, all of them in one matrix product."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.seeding import derive_seed


class Heads(nn.Module):
    """W_k h for each predicted tensor k, shaped as the tensor; without biases.

    The heads lie in one matrix, which is faster than a layer each. A state dict holds them apart, as ``conv1.weight``
    [numel, width] and so on: what was saved for other tensors is refused by name.

    Attributes:
        weight: [total, width], the heads one after another.
        shapes: of the predicted tensors, by name, in the same order.

    Shapes: h [..., width] -> [..., *shape] by name.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], width: int) -> None:
        super().__init__()
        self.shapes = {name: torch.Size(shape) for name, shape in shapes.items()}
        self.sizes = [shape.numel() for shape in self.shapes.values()]
        self.weight = nn.Parameter(torch.zeros(sum(self.sizes), width))

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """What the heads predict."""
        flat = nn.functional.linear(hidden, self.weight).split(self.sizes, dim=-1)
        return {
            name: part.reshape((*hidden.shape[:-1], *shape))
            for (name, shape), part in zip(self.shapes.items(), flat, strict=True)
        }

    @torch.no_grad()
    def draw(self, stds: Mapping[str, float], seed: int) -> None:
        """Draw head k anew from N(0, stds[k]^2); the draw depends on seed and name only, whatever else is predicted."""
        for name, head in self.heads().items():
            head.normal_(0, stds[name], generator=torch.Generator(head.device).manual_seed(derive_seed(seed, name)))

    def heads(self) -> dict[str, Tensor]:
        """The heads [numel, width] by name: views of ``weight``."""
        return dict(zip(self.shapes, self.weight.split(self.sizes), strict=True))

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return f"{len(self.shapes)} tensors of {len(self.weight)} numbers from {self.weight.shape[1]}"

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, head in self.heads().items():
            destination[prefix + name] = head if keep_vars else head.detach()

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        prefix: str,
        local_metadata: Mapping[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        own = {prefix + name: head for name, head in self.heads().items()}
        given = {key: value for key, value in state_dict.items() if key.startswith(prefix)}
        missing_keys += [key for key in own if key not in given]
        unexpected_keys += [key for key in given if key not in own] if strict else []
        for key, head in own.items():
            if key in given and given[key].shape != head.shape:
                error_msgs.append(f"{key}: {list(given[key].shape)} in the state dict, {list(head.shape)} here")
        if not error_msgs:
            joined = torch.cat([given.get(key, head).to(head) for key, head in own.items()])
            super()._load_from_state_dict(  # type: ignore[no-untyped-call]
                {f"{prefix}weight": joined}, prefix, local_metadata, strict, [], [], error_msgs
            )


def matched_stds(norms: Mapping[str, float], sizes: Mapping[str, int], hidden_rms: float) -> dict[str, float]:
    """Standard deviations with which E ||W_k h||^2 is ``norms[k]``^2: sigma_k = norm_k / (sqrt(N_k) rms ||h||).

    Args:
        norms: wanted norms of the predictions.
        sizes: N_k, the numbers of elements.
        hidden_rms: root of the mean of ||h||^2 over the inputs.

    Raises:
        InputError: the hidden layers give 0 for all inputs.
    """
    if hidden_rms == 0:
        raise InputError("hidden", "gives 0 for all inputs at the start", remedy="take wider layers, or another seed")
    return {name: norm / (sizes[name] ** 0.5 * hidden_rms) for name, norm in norms.items()}


def fan_out_stds(sizes: Mapping[str, int], gain: float) -> dict[str, float]:
    """Kaiming fan-out of each head by itself: sigma_k = gain / sqrt(N_k), so that ||W_k h|| is about gain ||h||.

    Source: the authors' library (gain of leaky_relu, about sqrt 2) and research code (gain 1).
    """
    return {name: gain / size**0.5 for name, size in sizes.items()}
