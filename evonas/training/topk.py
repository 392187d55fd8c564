"""Linear layers that see only the inputs that count most: scores, counts, masks, and hooks that apply them."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

ROUNDING = 1e-9  # 10 * (1 - 0.9) is a little below 1


def kept_count(inputs: int, sparsity: float) -> int:
    """K = floor(n (1 - s)), at least 1."""
    return max(1, int(inputs * (1 - sparsity) + ROUNDING))


def column_norms(matrix: Tensor) -> Tensor:
    """c_i = ||W[:, i]||_2, in single precision at least. Shapes: W [m, n] -> [n]."""
    exact = torch.promote_types(matrix.dtype, torch.float32)
    norms: Tensor = torch.linalg.vector_norm(matrix.detach(), dim=0, dtype=exact)
    return norms


def largest(scores: Tensor, keep: int) -> Tensor:
    """Where the K largest scores of each token are; of equal ones any. Shapes: [..., n] -> the same, bool."""
    chosen = torch.zeros_like(scores, dtype=torch.bool)
    return chosen.scatter_(-1, scores.topk(keep, dim=-1, sorted=False).indices, True)


def inner_linear_layers(model: nn.Module) -> list[nn.Linear]:
    """All linear layers but the last one, the head, which stays dense wherever inputs are dropped."""
    return [module for module in model.modules() if type(module) is nn.Linear][:-1]


@contextmanager
def sparse_inputs(layers: Iterable[nn.Linear], sparsity: float) -> Iterator[None]:
    """Let layers y = W x see, of each token, only the K inputs with the largest |x_i| ||W[:, i]||; 0 for the others.

    Source: the score of WINA (Chen et al. 2025), without its transform; ``evonas.studies.sparsity`` has the method.
    """
    with ExitStack() as hooks:
        for layer in layers:
            keep, scale = kept_count(layer.in_features, sparsity), column_norms(layer.weight)
            hooks.enter_context(layer.register_forward_pre_hook(partial(_drop, keep, scale)))
        yield


def _drop(keep: int, scale: Tensor, _layer: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    (x,) = inputs
    return x.masked_fill(~largest(x.abs() * scale, keep), 0)
