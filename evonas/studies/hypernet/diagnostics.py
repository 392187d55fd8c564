"""How the size of predicted parameters and of gradients depends on gamma."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.studies.hypernet.network import HyperNetwork

RAY_START = 0.1  # where on the diagonal of [0, 1]^d the slope is measured; to 1
_POINTS = 8
PREFIX = "hypernet"
GRADIENT_VARIANCE, GRADIENT_MEAN_SQUARED = "gradient variance", "gradient mean squared"


def log_log_slope(x: Tensor, y: Tensor) -> float:
    """The exponent p of the power law y = c x^p: the least-squares slope of log y on log x.

    Shapes: x [n], y [n].

    Raises:
        InputError: numbers that are not positive, or fewer than two different x.
    """
    if not (bool((x > 0).all()) and bool((y > 0).all())):
        raise InputError("log_log_slope", "numbers that are not positive", accepted="positive x and y")
    log_x, log_y = x.double().log(), y.double().log()
    deviation = log_x - log_x.mean()
    square = deviation.square().sum()
    if len(x) < 2 or not square > 0:
        raise InputError("log_log_slope", "one x", accepted="two different x or more")
    return float(deviation @ (log_y - log_y.mean()) / square)


def ray(model: HyperNetwork, count: int = _POINTS) -> Tensor:
    """Gammas [count, d] for which all coordinates of z are equal, from 0.1 to 1 in equal ratios."""
    return model.inputs.diagonal(RAY_START ** torch.linspace(1, 0, count))


@torch.no_grad()
def magnitudes(model: HyperNetwork, gammas: Tensor) -> tuple[Tensor, Tensor]:
    """||z|| and ||theta(gamma)||, z being gamma mapped to [0, 1]^d.

    Shapes: gammas [n, d] -> [n], [n].
    """
    thetas = (model.predict(gamma).values() for gamma in gammas)
    sizes = torch.stack([torch.stack([value.norm() for value in theta]).norm() for theta in thetas])
    return model.inputs.unit(gammas, like=sizes).norm(dim=-1), sizes


def magnitude_slope(model: HyperNetwork, gammas: Tensor) -> float:
    """The log-log slope of ||theta(gamma)|| against ||z||, z being gamma mapped to [0, 1]^d.

    1 for a default parametrization at the start, along a ray; 0 where the size of theta does not depend on gamma.

    Args:
        model: the hypernetwork.
        gammas: [n, d], none of them at the lower end of all ranges; ``ray`` gives some.
    """
    return log_log_slope(*magnitudes(model, gammas))


@dataclass(frozen=True, slots=True)
class GradientSpread:
    """How much gradients differ between gammas.

    Attributes:
        variance: mean of ||g(gamma) - mean g||^2, over all learned parameters together.
        square_of_mean: ||mean g||^2.
    """

    variance: float
    square_of_mean: float


def gradient_spread(
    model: HyperNetwork, loss: Callable[[HyperNetwork, Tensor], Tensor], gammas: Tensor
) -> GradientSpread:
    """The spread of the loss gradient over gammas, on what the hypernetwork learns.

    Args:
        model: the hypernetwork; its gradients are left alone.
        loss: from the hypernetwork and one gamma [d] to a scalar, on the same data for each gamma.
        gammas: [n, d].
    """
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    means = [torch.zeros_like(parameter) for parameter in learned]
    spread = 0.0
    for seen, gamma in enumerate(gammas, start=1):
        gradients = torch.autograd.grad(loss(model, gamma), learned, allow_unused=True, materialize_grads=True)
        for mean, gradient in zip(means, gradients, strict=True):  # Welford: differences of squares would cancel
            before = gradient - mean
            mean += before / seen
            spread += float((before * (gradient - mean)).sum())
    return GradientSpread(spread / len(gammas), sum(float(mean.square().sum()) for mean in means))


def scalars(
    model: HyperNetwork,
    gammas: Tensor,
    loss: Callable[[HyperNetwork, Tensor], Tensor] | None = None,
    *,
    tensors: bool = True,
    prefix: str = PREFIX,
) -> dict[str, float]:
    """What to show in TensorBoard, by tag; what does not exist, as the slope of a theta of 0, is left out.

    ``slope`` along ``ray``; ``correction`` of all tensors together, and of each; the mean ``norm`` of each; with a loss
    also the spread of gradients: ``gradient variance`` and ``gradient mean squared``, see ``GradientSpread``.

    Args:
        model: the hypernetwork.
        gammas: [n, d].
        loss: as for ``gradient_spread``.
        tensors: whether to say something of each tensor.
        prefix: first part of the tags.
    """
    sizes = _sizes(model, gammas)
    moved, base = (sum(column) for column in zip(*((s.moved, s.base) for s in sizes.values()), strict=True))
    found = {"correction": (moved / base) ** 0.5} if base > 0 else {}
    with suppress(InputError):
        found["slope"] = magnitude_slope(model, ray(model))
    if tensors:
        found |= {f"correction/{name}": ratio for name, ratio in _ratios(sizes).items()}
        found |= {f"norm/{name}": size.norm for name, size in sizes.items()}
    if loss is not None:
        spread = gradient_spread(model, loss, gammas)
        found |= {GRADIENT_VARIANCE: spread.variance, GRADIENT_MEAN_SQUARED: spread.square_of_mean}
    return {f"{prefix}/{tag}": value for tag, value in found.items()}


@dataclass(frozen=True, slots=True)
class _Size:
    """Of one tensor: means over gammas of ||theta_k - base_k||^2 and ||theta_k||, and ||base_k||^2."""

    moved: float
    norm: float
    base: float


@torch.no_grad()
def _sizes(model: HyperNetwork, gammas: Tensor) -> dict[str, _Size]:
    base = model.base
    moved, norms = dict.fromkeys(base, 0.0), dict.fromkeys(base, 0.0)
    for gamma in gammas:
        for name, value in model.predict(gamma).items():
            moved[name] += float((value - base[name]).square().sum()) / len(gammas)
            norms[name] += float(value.norm()) / len(gammas)
    return {name: _Size(moved[name], norms[name], float(base[name].square().sum())) for name in base}


def _ratios(sizes: Mapping[str, _Size]) -> dict[str, float]:
    return {name: (size.moved / size.base) ** 0.5 for name, size in sizes.items() if size.base > 0}
