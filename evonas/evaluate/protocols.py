"""Rejection protocols that need no training: structure, numerics, and the fingerprint behind equivalence.

A protocol looks at a genome and returns a ``Rejection`` or lets it pass. They run cheapest first.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evonas.config import LayerConfig, NumericsConfig, ProtocolsConfig
from evonas.graph.genome import Genome
from evonas.layer.lower import NormActLayer, lower
from evonas.record.outcome import Rejection

CHANNELS, GROUPS = 16, 4
SHAPES = ((4, CHANNELS, 6, 5), (3, CHANNELS, 1, 1), (1, CHANNELS, 4, 4))
DIGITS = 5  # significant decimal digits that must agree for two values to count as equal
NEGLIGIBLE = 1e-6  # relative variation below this counts as none


def structure(genome: Genome) -> Rejection | None:
    """Reject what cannot depend on the input, or cannot vary along batch, height or width, whatever the numbers."""
    if 0 not in genome.active_positions:
        return Rejection("structure", "output does not depend on the input")
    missing = frozenset("bhw") - genome.varies[-1]
    if missing:
        detail = f"constant along {', '.join(sorted(missing))}"
        return Rejection("structure", "output does not vary over batch and space", detail=detail)
    return None


def numerics(genome: Genome, settings: NumericsConfig, layer: LayerConfig) -> Rejection | None:
    """Probe the lowered layer: finite output and gradients at several scales and shapes, and real use of the input."""
    module = _probe(genome, layer, torch.float32, seed=0)
    for scale in settings.scales:
        for number, shape in enumerate(SHAPES):
            x = (scale * _noise(shape, seed=number)).requires_grad_()
            y = module(x)
            where = f"scale {scale:g}, input {'x'.join(map(str, shape))}"
            if not torch.isfinite(y).all():
                return Rejection("numerics", "output is not finite", detail=where)
            gradients = torch.autograd.grad(y.square().mean(), [x, *module.parameters()], allow_unused=True)
            if not all(torch.isfinite(g).all() for g in gradients if g is not None):
                return Rejection("numerics", "gradient is not finite", detail=where)
    return _uses_input(genome, layer)


def _uses_input(genome: Genome, layer: LayerConfig) -> Rejection | None:
    """Reachability is not enough: x - x, or sigmoid of a huge constant, reach x and ignore it."""
    module: Callable[[Tensor], Tensor] = _probe(genome, layer, torch.float64, seed=0)
    with torch.no_grad():
        first, second = (module(_noise(SHAPES[0], seed=s).double()) for s in (10, 11))
    scale = float(first.abs().max()) or 1.0
    if float((first - second).abs().max()) <= NEGLIGIBLE * scale:
        return Rejection("numerics", "output does not depend on the input", measured=0.0, limit=NEGLIGIBLE)
    spread = float((first.amax((2, 3)) - first.amin((2, 3))).max()) / scale
    if spread <= NEGLIGIBLE:
        return Rejection("numerics", "output is constant over space", measured=spread, limit=NEGLIGIBLE)
    return None


def fingerprint(genome: Genome, layer: LayerConfig) -> str:
    """A hash of what the layer computes: equal for genomes that are the same function written differently.

    The lowered layer runs in float64 and training mode on fixed random inputs of two shapes and scales, with random
    v0 and v1 (initial values would merge functions that part once v0 and v1 train). Each output is rounded to
    ``DIGITS`` significant digits relative to itself, element by element.
    """
    digest = hashlib.sha256()
    for seed, (shape, scale) in enumerate(((SHAPES[0], 1.0), ((2, CHANNELS, 3, 4), 3.0))):
        module = _probe(genome, layer, torch.float64, seed=seed)
        with torch.no_grad():
            y = module(scale * _noise(shape, seed=20 + seed).double()).numpy()
        digest.update(_rounded(y).tobytes())
    return digest.hexdigest()[:16]


def _rounded(y: np.ndarray) -> np.ndarray:
    floor = 1e-9 * float(np.abs(y).max())  # what is left of a cancellation is noise, not a value
    y = np.where(np.abs(y) <= floor, 0.0, y)
    mantissa, exponent = np.frexp(y)
    kept = float(2 ** round(DIGITS * np.log2(10)))
    result: np.ndarray = np.ldexp(np.round(mantissa * kept) / kept, exponent) + 0.0  # + 0.0 turns -0 into 0
    return result


def _probe(genome: Genome, layer: LayerConfig, dtype: torch.dtype, seed: int) -> NormActLayer:
    module = lower(genome, CHANNELS, groups=GROUPS, eps=layer.eps).to(dtype)
    generator = torch.Generator().manual_seed(1000 + seed)
    with torch.no_grad():
        for parameter, mean, spread in ((module.v0, 0.0, 1.0), (module.v1, 1.0, 0.3)):
            noise = torch.randn(CHANNELS, generator=generator)  # drawn in any case: streams stay aligned
            if parameter is not None:
                parameter.copy_(mean + spread * noise)
    return module


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Unit noise around a small offset per channel, as activations have."""
    generator = torch.Generator().manual_seed(seed)
    offset = 0.3 * torch.randn((1, shape[1], 1, 1), generator=generator)
    return torch.randn(shape, generator=generator) + offset


@dataclass(frozen=True, slots=True)
class Screens:
    """The protocols without training that are switched on, cheapest first."""

    settings: ProtocolsConfig
    layer: LayerConfig

    def __call__(self, genome: Genome) -> Rejection | str:
        """Screen one genome: a rejection, or the fingerprint of its function ("" without the equivalence protocol)."""
        screens = self.settings.screens
        if "structure" in screens and (rejection := structure(genome)):
            return rejection
        if "numerics" in screens and (rejection := numerics(genome, self.settings.numerics, self.layer)):
            return rejection
        return fingerprint(genome, self.layer) if "equivalence" in screens else ""


def repeats(first: int) -> Rejection:
    """The equivalence protocol's rejection of a layer that candidate ``first`` has computed already."""
    return Rejection("equivalence", "same function as an earlier candidate", detail=f"candidate {first}")


def silent(parent: int | None) -> Rejection:
    """The equivalence protocol's word on a mutation that changed nothing: its scores are those of its parent."""
    return Rejection("equivalence", "silent mutation, takes its parent's place", detail=f"candidate {parent}")
