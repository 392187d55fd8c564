"""Rejection protocols that need no training: structure, numerics, and the fingerprint behind equivalence.

A protocol looks at a genome and returns a ``Rejection`` or lets it pass. They run cheapest first. Users register theirs
and name them in ``protocols.screens``.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from evonas.config import LayerConfig, NumericsConfig, ProtocolsConfig
from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.graph.primitive import constant
from evonas.graph.references import Array
from evonas.registry import Registry
from evonas.search.outcome import OF_THE_MOMENT, Rejection
from evonas.search.probe import CHANNELS, TRAINABLE, Probe, Sample
from evonas.search.propagation import propagation

SHAPES = ((3, CHANNELS, 6, 5), (3, CHANNELS, 1, 1), (1, CHANNELS, 4, 4))
OVERFLOW = float(np.finfo(np.float32).max)  # layers train in single precision
NEGLIGIBLE = 1e-6  # relative variation below this counts as none
DIGITS = 17  # significant bits, about 5 decimal digits, that must agree for two values to count as equal
RANGE = 33  # bits below the largest value where a fingerprint ends: what is left of a cancellation is noise


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
    """Reject what single precision cannot hold at the configured scales, and what makes no real use of the input.

    One forward and backward pass in float64, at every scale on a map, on 1x1 maps and on a batch of one, in training
    mode, with random v0 and v1. The loss is the mean square of the output. A value or gradient of any active node
    that is not finite, or larger than the largest single-precision number, counts as not finite: training in single
    precision would lose it. (An overflow inside one operation, as of the square in rms, is not seen.) At the first
    scale the output must change with the input, and over height and width.
    """
    probe = _numerics_probe(settings.scales)
    with np.errstate(all="ignore"):
        values = probe.forward(genome, layer.eps)
        y = values[len(genome.nodes) - 1]
        if not holds(values.values()):
            return Rejection("numerics", "output is not finite", detail=_where(probe, values.values()))
        gradient = 2 * y * probe.weights
        gradients = probe.backward(genome, values, gradient, layer.eps)
        checked = [*gradients.values(), gradient * y]  # the last: of the trailing affine's weight
        if not holds(checked):
            return Rejection("numerics", "gradient is not finite", detail=_where(probe, checked))
    return _uses_input(*(y[part].reshape(SHAPES[0]) for part in probe.parts[:2]))


@cache
def _numerics_probe(scales: tuple[float, ...]) -> Probe:
    """Another draw at the first scale goes before everything else: together they show whether the input matters."""
    samples = [Sample(shape, scale, number, 0) for scale in scales for number, shape in enumerate(SHAPES)]
    return Probe([Sample(SHAPES[0], scales[0], 10, 0), *samples])


def holds(arrays: Iterable[Array]) -> bool:
    """Whether single precision holds every element; the norm is an upper bound of them and quick."""
    return all(a @ a <= OVERFLOW**2 or bool(np.abs(a).max() <= OVERFLOW) for a in arrays)


def _where(probe: Probe, arrays: Iterable[Array]) -> str:
    """The first sample where single precision does not hold everything."""
    arrays = tuple(arrays)
    return next(
        str(s) for s, part in zip(probe.samples, probe.parts, strict=True) if not holds(a[part] for a in arrays)
    )


def _uses_input(first: Array, second: Array) -> Rejection | None:
    """Reachability is not enough: x - x, or sigmoid of a huge constant, reach x and ignore it."""
    scale = float(np.abs(first).max()) or 1.0
    if float(np.abs(first - second).max()) <= NEGLIGIBLE * scale:
        return Rejection("numerics", "output does not depend on the input", measured=0.0, limit=NEGLIGIBLE)
    spread = float(np.ptp(first, axis=(2, 3)).max()) / scale
    if spread <= NEGLIGIBLE:
        return Rejection("numerics", "output is constant over space", measured=spread, limit=NEGLIGIBLE)
    return None


def fingerprint(genome: Genome, layer: LayerConfig) -> str:
    """A hash of what the layer computes: equal for genomes that are the same function written differently.

    One forward pass in float64 and training mode over random inputs of several scales, each with its own random v0
    and v1 (initial values would merge functions that part once v0 and v1 train), but for those that no gradient
    reaches: they keep their initial values in training, and so they do here. Each output is rounded to ``DIGITS``
    significant bits relative to itself, element by element, and never finer than ``RANGE`` bits below the largest of
    its input: values on the edge between two roundings are rare. Numbers such as the 6 of ReLU6 are hashed too, since a
    cap may lie beyond every value of the inputs.
    """
    probe = _fingerprint_probe(unreached(genome, layer.eps))
    with np.errstate(all="ignore"):
        y = probe.forward(genome, layer.eps)[len(genome.nodes) - 1].reshape(len(probe.samples), -1)
        y = np.where(np.isfinite(y), y, 0.0)
        _, exponent = np.frexp(y)
        unit = np.ldexp(1.0, np.maximum(exponent - DIGITS, exponent.max(1, keepdims=True) - RANGE))
        rounded = np.rint(y / unit) * unit + 0.0  # + 0.0 turns -0 into 0
    operations = {genome.nodes[position].op for position in genome.active_positions}
    numbers = " ".join(sorted(op for op in operations if constant(op) is not None))
    return hashlib.blake2b(rounded.tobytes() + numbers.encode(), digest_size=8).hexdigest()


@cache
def _fingerprint_probe(held: frozenset[str] = frozenset()) -> Probe:
    """Many draws of v0 and v1, since a maximum hides the smaller operand; a small scale for what differs near 0."""
    scales = enumerate((1.0, 3.0, 1.0, 0.01, 3.0, 1.0))
    return Probe([Sample((3, CHANNELS, 2, 3), scale, 20 + number, number, held) for number, scale in scales])


@cache
def _reach_probe(held: frozenset[str]) -> Probe:
    """As that of fingerprints, but v1 may have any sign, as it may after long training."""
    return Probe([replace(sample, held=held, spread=2.0) for sample in _fingerprint_probe().samples])


def unreached(genome: Genome, eps: float) -> frozenset[str]:
    """Which of v0 and v1 a layer holds but never trains: no gradient reaches them at their initial values.

    As v0 in max(v0, x^2) or in v0^2 + x. Where only one of the two is unreached it must be so whatever the other is,
    since that one will train.
    """
    used = frozenset(TRAINABLE) & {genome.nodes[p].op for p in genome.active_positions}
    found = _without_gradient(genome, used, eps) if used else used
    return _without_gradient(genome, found, eps) if found != used else found


def _without_gradient(genome: Genome, held: frozenset[str], eps: float) -> frozenset[str]:
    """The members of ``held`` that get no gradient at all while they are held at their initial values."""
    if not held:
        return held
    probe = _reach_probe(held)
    places = {genome.nodes[p].op: p for p in genome.active_positions if genome.nodes[p].op in held}
    with np.errstate(all="ignore"):
        values = probe.forward(genome, eps)
        gradients = probe.backward(genome, values, probe.weights, eps)
    return frozenset(name for name, place in places.items() if not gradients.get(place, np.zeros(1)).any())


EQUIVALENCE = "equivalence"


@dataclass(frozen=True, slots=True)
class Protocol:
    """A rejection protocol that needs no training.

    Attributes:
        name: what the search file calls it; also the stage of its rejections.
        reject: from a genome to a rejection, or to None if it passes; a pure function.
        meaning: in a few words, what passes.
        after: of a user's protocol, the screen of evonas after which it runs: ``structure``, ``numerics`` or
            ``equivalence``. After the last it runs only for functions that were no candidate before.
        configured: ``reject`` also takes the sections ``[protocols]`` and ``[layer]``.
    """

    name: str
    reject: Callable[..., Rejection | None]
    meaning: str
    after: str = "structure"
    configured: bool = False


_TAKEN = (EQUIVALENCE, "propagation", "quality", "stability", "rungs", "training", "objectives", *OF_THE_MOMENT)


def _require_usable(protocol: Protocol) -> None:
    """Refuse what could not be run or counted."""
    where = f"protocol {protocol.name!r}"
    if not protocol.name.isidentifier() or protocol.name in _TAKEN:
        raise InputError(where, "is no name, or that of a stage of evonas", accepted="letters, digits and _")
    if protocol.after not in (places := (*PROTOCOLS.builtin, EQUIVALENCE)):
        raise InputError(where, f"runs after {protocol.after!r}", accepted=", ".join(places))
    if not callable(protocol.reject) or not protocol.meaning:
        raise InputError(where, "has no reject or no meaning", accepted="a function of a Genome, and a text")


PROTOCOLS = Registry(
    "screen",
    (
        Protocol("structure", structure, "the output can depend on the input and vary over batch and space"),
        Protocol(
            "numerics",
            lambda genome, settings, layer: numerics(genome, settings.numerics, layer),
            "values and gradients are finite, and the output makes real use of the input",
            configured=True,
        ),
    ),
    _require_usable,
)


def register_protocol(protocol: Protocol) -> Protocol:
    """Add a rejection protocol, which a search has where ``protocols.screens`` names it.

    Raises:
        InputError: another protocol has the name, or the record lacks something.
    """
    return PROTOCOLS.register(protocol)


class Screens:
    """The protocols without training that are switched on, cheapest first.

    Args:
        settings: which they are, and their settings; by default those of a search file without ``[protocols]``.
        layer: how layers are lowered.

    Raises:
        InputError: an unknown screen.
    """

    def __init__(self, settings: ProtocolsConfig | None = None, layer: LayerConfig | None = None) -> None:
        settings, layer = settings or ProtocolsConfig(), layer or LayerConfig()
        self._settings, self._layer = settings, layer
        for name in settings.screens:
            if name not in (known := (*PROTOCOLS, EQUIVALENCE)):
                raise PROTOCOLS.unknown(name, "protocols.screens", known)
        builtin = (*PROTOCOLS.builtin, EQUIVALENCE)
        own = [PROTOCOLS[name] for name in dict.fromkeys(settings.screens) if name not in builtin]
        self._first: list[Protocol] = []
        for place in PROTOCOLS.builtin:
            self._first += [PROTOCOLS[place]] if place in settings.screens else []
            self._first += [protocol for protocol in own if protocol.after == place]
        self._last = [protocol for protocol in own if protocol.after == EQUIVALENCE]

    def __call__(self, genome: Genome) -> Rejection | str:
        """Screen one genome: a rejection, or the fingerprint of its function ("" without the equivalence protocol)."""
        if rejection := self._rejected(genome, self._first):
            return rejection
        return fingerprint(genome, self._layer) if EQUIVALENCE in self._settings.screens else ""

    def probe(self, genome: Genome) -> Rejection | None:
        """The expensive protocols, for functions that were no candidate before; propagation is the last of them."""
        return self._rejected(genome, self._last) or propagation(genome, self._settings.propagation, self._layer)

    def _rejected(self, genome: Genome, protocols: Iterable[Protocol]) -> Rejection | None:
        for protocol in protocols:
            settings = (self._settings, self._layer) if protocol.configured else ()
            if rejection := protocol.reject(genome, *settings):
                if rejection.stage != protocol.name:
                    found = f"gives a rejection of stage {rejection.stage!r}"
                    raise InputError(f"protocol {protocol.name!r}", found, accepted=repr(protocol.name))
                return rejection
        return None


def repeats(first: int) -> Rejection:
    """The equivalence protocol's rejection of a layer that candidate ``first`` has computed already."""
    return Rejection("equivalence", "same function as an earlier candidate", detail=f"candidate {first}")


def silent(parent: int | None) -> Rejection:
    """The equivalence protocol's word on a mutation that changed nothing: its scores are those of its parent."""
    return Rejection("equivalence", "silent mutation, takes its parent's place", detail=f"candidate {parent}")
