"""Linear layers and 1x1 convolutions that see only the inputs that count most: scores, counts, masks and hooks."""

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


def inner_linear_layers(model: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """All linear layers and 1x1 convolutions but the last, the head, which stays dense wherever inputs are dropped."""
    found: list[nn.Linear | nn.Conv2d] = []
    for module in model.modules():
        if type(module) is nn.Linear or (type(module) is nn.Conv2d and _is_pointwise(module)):
            found.append(module)
    return found[:-1]


def _is_pointwise(module: nn.Conv2d) -> bool:
    return module.kernel_size == (1, 1) and module.groups == 1


@contextmanager
def sparse_inputs(layers: Iterable[nn.Linear | nn.Conv2d], sparsity: float) -> Iterator[None]:
    """Let layers y = W x see, of each token, only the K inputs with the largest |x_i| ||W[:, i]||; 0 for the others.

    Of a 1x1 convolution, every pixel is a token.

    Source: the score of WINA (Chen et al. 2025), without its transform; ``evonas.studies.sparsity`` has the method.
    """
    with ExitStack() as hooks:
        for layer in layers:
            matrix = layer.weight.flatten(1)
            drop = partial(_drop, kept_count(matrix.shape[1], sparsity), column_norms(matrix))
            hooks.enter_context(layer.register_forward_pre_hook(drop))
        yield


def _drop(keep: int, scale: Tensor, layer: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    (x,) = inputs
    if not isinstance(layer, nn.Conv2d):
        return x.masked_fill(~largest(x.abs() * scale, keep), 0)
    kept = largest(x.movedim(-3, -1).abs() * scale, keep).movedim(-1, -3)
    return x.masked_fill(~kept, 0)
