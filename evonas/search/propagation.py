"""The propagation protocol: a layer stacked many deep in random networks, one forward and one backward, no training.

A deep network can learn only if signals survive it: activations must neither explode nor vanish on the way up, nor
gradients on the way down, and different inputs must stay different without near-equal ones drifting apart. Sources:
Poole et al. 2016 (arXiv 1606.05340), Schoenholz et al. 2017 (arXiv 1611.01232); stacks, measures and limits are ours.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from evonas.config import LayerConfig, PropagationConfig
from evonas.errors import first_line
from evonas.graph.genome import Genome
from evonas.layer.lower import NormActLayer, lower
from evonas.search.outcome import Rejection
from evonas.seeding import derive_seed

CHANNELS, GROUPS, SIZE = 16, 4, 6
IMAGES, CLASSES, COLOURS = 4, 10, 3  # each image comes with a near copy, so a batch has 2 IMAGES samples
TWIN = 0.9  # correlation of an image and its near copy


@dataclass(frozen=True, slots=True)
class Propagation:
    """How signals went through a stack of L layers. A measure is inf or nan where numbers overflow.

    Attributes:
        activation: growth of the activations' root mean square per layer: (rms h_L / rms h_1)^(1 / (L - 1)).
        gradient: growth of the gradient's root mean square per layer, from the top down:
            (rms dl/dh_1 / rms dl/dh_L)^(1 / (L - 1)).
        weight_gradient: the least norm ||dl/dW_i|| over the L convolutions.
        different: mean cosine between h_L of different images; 1 is a collapse to one direction.
        alike: mean cosine between h_L of an image and its near copy; 0 is chaos.
    """

    activation: float
    gradient: float
    weight_gradient: float
    different: float
    alike: float


def propagate(
    genome: Genome,
    layer: LayerConfig,
    *,
    depth: int,
    seed: int = 0,
    activation: tuple[float, float] | None = None,
) -> Propagation:
    """Send a batch through h_i+1 = W_i f(h_i), i = 0 .. L - 1, and the gradient of a loss back.

    f is the layer as at the start of training, W_i are 3x3 convolutions with entries N(0, 1 / fan-in), and h_0 is a
    random convolution of smooth random images, scaled to unit root mean square. The loss is the cross entropy of
    W f(h_L), averaged over space, with a random matrix W.

    Args:
        genome: the layer.
        layer: how it is lowered; groups are capped at 4, since there are 16 channels.
        depth: L, at least 1; there is no growth to see in a single layer.
        seed: of weights and images.
        activation: where the growth of the activations is not within these limits, nothing else is measured, and the
            other measures are nan: a backward pass takes longer than a forward pass.

    Raises:
        RuntimeError: from torch.
    """
    setting = _setting(depth, seed)
    layout = next(iter(genome.layouts), "bchw")  # one without moments does the same to tokens
    module = _on_maps(lower(genome, CHANNELS, layout=layout, groups=min(GROUPS, layer.groups), eps=layer.eps))
    h, activations = setting.h, []
    for kernel in setting.kernels:
        h = functional.conv2d(module(h), kernel, padding=1)
        activations.append(h)
    first, last = activations[0], activations[-1]
    exponent = 1 / max(1, depth - 1)
    with torch.no_grad():
        growth = _ratio(*(float(t.double().norm()) for t in (last, first))) ** exponent
    if activation is not None and not activation[0] <= growth <= activation[1]:
        return Propagation(growth, math.nan, math.nan, math.nan, math.nan)
    loss = functional.cross_entropy(module(last).mean((2, 3)) @ setting.head.T, setting.labels)
    gradients = torch.autograd.grad(loss, [first, last, *setting.kernels], allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        norms = torch.stack([t.double().norm() for t in gradients]).tolist()
        different, alike = _cosines(last.double().flatten(1))
    return Propagation(
        activation=growth,
        gradient=_ratio(norms[0], norms[1]) ** exponent,
        weight_gradient=min(norms[2:]),
        different=different,
        alike=alike,
    )


def _on_maps(layer: NormActLayer) -> Callable[[Tensor], Tensor]:
    """The layer as a function of maps; one for tokens takes positions for them."""
    if layer.layout == "bchw":
        return layer
    return lambda h: layer(h.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(h.shape)


def propagation(genome: Genome, settings: PropagationConfig, layer: LayerConfig) -> Rejection | None:
    """Reject a layer through which signals do not propagate; 0 ``depth`` lets everything pass."""
    if not settings.depth:
        return None
    try:
        found = propagate(genome, layer, depth=settings.depth, activation=settings.activation)
    except RuntimeError as error:
        return Rejection("propagation", "error", detail=first_line(error))
    for measured, (low, high), too_low, too_high in (
        (found.activation, settings.activation, "activations vanish", "activations explode"),
        (found.gradient, settings.gradient, "gradient vanishes", "gradient explodes"),
        (found.weight_gradient, settings.weight_gradient, "weight gradient too small", "weight gradient too large"),
        (found.different, (-math.inf, settings.different), "", "inputs collapse"),
        (found.alike, (settings.alike, math.inf), "inputs decorrelate", ""),
    ):
        if measured < low:
            return Rejection("propagation", too_low, measured=measured, limit=low)
        if not measured <= high:
            finite = math.isfinite(measured)
            return Rejection("propagation", too_high, measured=measured if finite else sys.float_info.max, limit=high)
    return None


@dataclass(frozen=True, slots=True)
class _Setting:
    """What does not depend on the layer."""

    h: Tensor  # [2 IMAGES, CHANNELS, SIZE, SIZE]; sample i and sample i + IMAGES are near copies
    labels: Tensor
    kernels: tuple[Tensor, ...]
    head: Tensor


@lru_cache(maxsize=4)
def _setting(depth: int, seed: int) -> _Setting:
    generator = torch.Generator().manual_seed(derive_seed(seed, "propagation"))

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def smooth() -> Tensor:
        noise = functional.avg_pool2d(normal(IMAGES, COLOURS, SIZE + 4, SIZE + 4), 3, stride=1)
        images = functional.avg_pool2d(noise, 3, stride=1)
        return images / images.square().mean().sqrt()

    images = smooth()
    copies = TWIN * images + math.sqrt(1 - TWIN**2) * smooth()
    stem = normal(CHANNELS, COLOURS, 3, 3)
    h = functional.conv2d(torch.cat([images, copies]), stem, padding=1)
    kernels = tuple(normal(CHANNELS, CHANNELS, 3, 3).div(3 * CHANNELS**0.5).requires_grad_() for _ in range(depth))
    labels = torch.arange(IMAGES).repeat(2) % CLASSES
    return _Setting(h / h.square().mean().sqrt(), labels, kernels, normal(CLASSES, CHANNELS) / CHANNELS**0.5)


def _ratio(a: float, b: float) -> float:
    """Quotient a / b; 0 / 0 is 0: nothing that stays nothing has vanished."""
    return a / b if b else math.inf * a if a else 0.0


def _cosines(h: Tensor) -> tuple[float, float]:
    """Mean cosine between samples of different images, and between an image and its near copy."""
    h = h / h.norm(dim=1, keepdim=True)
    c = h @ h.T
    twins = c.diagonal(IMAGES).sum()
    pairs = (c.sum() - c.diagonal().sum()) / 2
    return float((pairs - twins) / (2 * IMAGES * (IMAGES - 1))), float(twins / IMAGES)
