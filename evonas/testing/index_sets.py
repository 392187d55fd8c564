"""Checks of index sets. Oracles: averages that numpy takes element by element, and inputs whose later tokens differ."""

import itertools
from collections.abc import Callable

import numpy as np
import torch

from evonas.graph.genome import Genome
from evonas.graph.primitive import PRIMITIVES, IndexSet, average_over, register_index_set
from evonas.testing import layers
from evonas.testing.moments import _GROUPS, MOMENT_CHECKS, SHAPE
from evonas.testing.sentences import require, saying


def index_set_says_what_it_is(index_set: IndexSet) -> None:
    """It has a meaning and a formula, and reduces something."""
    name = index_set.name
    require(index_set.meaning and index_set.latex, f"The index set {name!r} has no meaning or no latex.")
    require(index_set.reduced or index_set.grouped, f"The index set {name!r} reduces nothing.")
    require(
        index_set.over_tokens == ("h" in index_set.reduced),
        f"The index set {name!r} does not say whether it joins positions.",
    )


def averages_over_its_axes(index_set: IndexSet) -> None:
    """Its average of an element is the mean of all elements that share the axes which stay."""
    x = np.random.default_rng(0).standard_normal(SHAPE)
    found, size = average_over(index_set.name, _GROUPS)(x), SHAPE[1] // _GROUPS
    places = list(itertools.product(*map(range, SHAPE)))

    def of(place: tuple[int, ...]) -> tuple[int, ...]:
        stay = [(i // size if axis == "c" and index_set.grouped else i) for axis, i in zip("bchw", place, strict=True)]
        return tuple(i for axis, i in zip("bchw", stay, strict=True) if axis not in index_set.reduced)

    for place in places[:: len(places) // 7]:
        expected = np.mean([x[other] for other in places if of(other) == of(place)])
        with saying(f"The average over {index_set.name!r} is not that of its axes"):
            np.testing.assert_allclose(found[place], expected, rtol=1e-12, atol=1e-12)


def looks_ahead_only_if_it_says_so(index_set: IndexSet) -> None:
    """Of tokens, a layer with it depends on later ones only if the index set reaches over tokens."""
    if index_set.layout != "btd" or index_set.batch:
        return
    layer = layers.lowered(Genome.from_text(f"a = std[{index_set.name}](x); div(x, a)"), "btd")
    x = layers.noise((2, 5, layers.CHANNELS))
    changed = x.clone()
    changed[:, 3:] += layers.noise((2, 2, layers.CHANNELS), 9)
    same = torch.equal(layer(x)[:, :3], layer(changed)[:, :3])
    looks = "looks" if not same else "does not look"
    require(same != index_set.over_tokens, f"A layer with the index set {index_set.name!r} {looks} at later tokens.")


INDEX_SET_CHECKS: tuple[Callable[[IndexSet], None], ...] = (
    index_set_says_what_it_is,
    averages_over_its_axes,
    looks_ahead_only_if_it_says_so,
)


def check_index_set(index_set: IndexSet) -> None:
    """Check everything that evonas expects of an index set, with the moments of evonas over it; it is registered.

    Raises:
        AssertionError: with a sentence that says what is wrong.
    """
    with saying(f"The index set {index_set.name!r} cannot be registered"):
        register_index_set(index_set)
    for check in INDEX_SET_CHECKS:
        check(index_set)
    for moment in (PRIMITIVES[name] for name in ("mean", "rms", "std")):
        for moment_check in MOMENT_CHECKS:
            moment_check(moment, index_set)
