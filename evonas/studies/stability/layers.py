"""Layers in the place of a proxy's norms."""

from functools import partial

from evonas.errors import InputError
from evonas.graph.catalogue import parse_layer
from evonas.graph.primitive import INDEX_SETS
from evonas.layer.lower import lower
from evonas.layer.plan import layout_of
from evonas.tasks.language.model import NormFactory


def norm_of(layer: str, groups: int, eps: float) -> NormFactory:
    """A function that makes the layer for a width, lowered for tokens.

    Args:
        layer: a catalogue name, a formula or a text form.
        groups: of ``gd``.
        eps: guard of roots and divisions.

    Raises:
        InputError: neither of these, a layer of maps, or one that would see the tokens that a causal model predicts.
    """
    genome = parse_layer(layer, "layer").active()
    layout_of(genome, "btd")
    for node in genome.nodes:
        if node.axes and INDEX_SETS[node.axes].over_tokens:
            raise InputError("layer", f"{node.op}[{node.axes}] looks at later tokens", accepted="moments over d and gd")
    return partial(lower, genome, layout="btd", groups=groups, eps=eps)
