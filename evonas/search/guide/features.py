"""What a layer does, in some 60 numbers: features of the function, not of how it is written.

A layer is evaluated once on fixed inputs that are changes of one another, as at the start of training: outputs, and
the gradient of a fixed random weighting of the outputs. The numbers say how the output answers to the changes, how it
and the gradient are distributed, and what the response of a single element looks like. Only ``size`` depends on how
the layer is written.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from evonas.graph.genome import Genome
from evonas.graph.references import Array
from evonas.search.guide.inputs import CURVE, PLACE, fixed_inputs

TINY = 1e-12
LIMIT = 1e6  # features are within -LIMIT and LIMIT
ALMOST_NOTHING = 1e-6  # share of the root mean square below which an element counts as zero
_ALL = (1, 2, 3, 4)  # the axes of an input after the layers


def features(genomes: Sequence[Genome], eps: float) -> Array:
    """The features of layers, one row each, in the order of ``feature_names``; always finite.

    Args:
        genomes: the layers.
        eps: of ``[layer]``.
    """
    inputs = fixed_inputs()
    size = len(inputs.probe.weights)
    outputs, gradients = np.zeros((len(genomes), size)), np.zeros((len(genomes), size))
    facts = np.zeros((len(genomes), len(_FACTS)))
    with np.errstate(all="ignore"):
        for row, genome in enumerate(genomes):
            values = inputs.probe.forward(genome, eps)
            found = inputs.probe.backward(genome, values, _weighting(), eps)
            outputs[row] = values[len(genome.nodes) - 1]
            gradients[row] = found.get(0, 0.0)
            ops = [genome.nodes[position].op for position in genome.active_positions]
            part = inputs.parts["base"]
            sensitivity = [_rms_of(found[p][part]) if p in found else 0.0 for p in (2, 3)]
            facts[row] = (len(ops), "v0" in ops, "v1" in ops, *sensitivity)
        columns = [*dict(_described(outputs, gradients)).values(), *facts.T]
        table = np.stack(columns, axis=1)
    return np.asarray(np.clip(np.nan_to_num(table, nan=-LIMIT, posinf=LIMIT, neginf=-LIMIT), -LIMIT, LIMIT))


_FACTS = ("size", "has v0", "has v1", "gradient of v0", "gradient of v1")


@cache
def feature_names() -> tuple[str, ...]:
    """What each column of ``features`` is."""
    nothing = np.zeros((1, len(fixed_inputs().probe.weights)))
    with np.errstate(all="ignore"):
        return (*dict(_described(nothing, nothing)), *_FACTS)


@cache
def _weighting() -> Array:
    """Random weights of the outputs, whose weighted sum is differentiated; inputs of one shape have the same."""
    shapes = fixed_inputs().shapes.values()
    return np.concatenate([np.random.RandomState(1).standard_normal(shape).ravel() for shape in shapes])


def _described(outputs: Array, gradients: Array) -> Iterator[tuple[str, Array]]:
    yield from _of_changes(outputs)
    yield from _of_distribution(outputs)
    yield from _of_gradient(gradients)
    yield from _of_curve(outputs)


def _of_changes(outputs: Array) -> Iterator[tuple[str, Array]]:
    """How the output answers to changes of the input: does it stay, scale or shift, and where?"""
    of = fixed_inputs().of
    y = of(outputs, "base")
    size = _rms(y)
    yield "degree when smaller", np.log10(size / _rms(of(outputs, "small")))
    yield "degree when larger", np.log10(_rms(of(outputs, "large")) / size)
    yield "change when larger", _rms(of(outputs, "large") - y) / size
    negated = of(outputs, "negated")
    yield "even part", _rms(negated + y) / (2 * size)
    yield "odd part", _rms(negated - y) / (2 * size)
    shifted = of(outputs, "shifted") - y
    yield "change when shifted", _rms(shifted) / size
    yield "shift when shifted", shifted.mean(_ALL)
    for change, inside in (("sample", np.s_[:, :1]), ("channel", np.s_[:, :, :1])):
        outside = np.s_[:, 1:] if change == "sample" else np.s_[:, :, 1:]
        scaled, moved = of(outputs, f"{change} scaled"), of(outputs, f"{change} shifted") - y
        yield f"degree in a scaled {change}", np.log(_rms(scaled[inside]) / _rms(y[inside])) / np.log(3)
        yield f"change in a scaled {change}", _rms(scaled[inside] - y[inside]) / size
        yield f"change beside a scaled {change}", _rms(scaled[outside] - y[outside]) / size
        yield f"change in a shifted {change}", _rms(moved[inside]) / size
        yield f"change beside a shifted {change}", _rms(moved[outside]) / size
    pixel = of(outputs, "pixel changed") - y
    yield "change in a changed pixel", _rms(pixel[:, :1, :, :1, :1]) / size
    yield "change in other pixels", _rms(pixel[:, :1, :, 1:]) / size
    yield "change in other samples", _rms((of(outputs, "others changed") - y)[:, :1]) / size
    yield "change by v0 and v1", _rms(of(outputs, "trained") - y) / size


def _of_distribution(outputs: Array) -> Iterator[tuple[str, Array]]:
    """How the output is distributed, and how it goes with the input."""
    inputs = fixed_inputs()
    for name in ("base", "off centre", "points"):
        y = inputs.of(outputs, name)
        yield f"size, {name}", np.log10(_rms(y) + TINY)
        yield f"mean, {name}", y.mean(_ALL) / (_rms(y) + TINY)
        spread = y.std(_ALL) + TINY
        yield f"between channels, {name}", y.mean((1, 3, 4)).std(1) / spread
        yield f"between samples, {name}", y.mean((2, 3, 4)).std(1) / spread
    y = inputs.of(outputs, "base")
    centred = (y - y.mean(_ALL, keepdims=True)) / (y.std(_ALL, keepdims=True) + TINY)
    yield "skewness", (centred**3).mean(_ALL)
    yield "kurtosis", (centred**4).mean(_ALL)
    yield "largest", np.abs(centred).max(_ALL)
    yield "share of zeros", (np.abs(y) <= ALMOST_NOTHING * _rms(y)[:, None, None, None, None]).mean(_ALL)
    yield "share below zero", (y < 0).mean(_ALL)
    x = inputs.probe.initial["x"][inputs.parts["base"]].reshape(inputs.shapes["base"])
    for name, values in (("x", x), ("|x|", np.abs(x)), ("max(x, 0)", np.maximum(x, 0)), ("tanh(x)", np.tanh(x))):
        yield f"correlation with {name}", (centred * ((values - values.mean()) / values.std())).mean(_ALL)
    flat = centred.reshape(len(centred), -1)
    for side, mask in (("below", x < 0), ("above", x > 0)):
        there = np.compress(mask.ravel(), flat, axis=1)
        yield f"mean where x is {side} zero", there.mean(1)
        yield f"deviation where x is {side} zero", there.std(1)


def _of_gradient(gradients: Array) -> Iterator[tuple[str, Array]]:
    """How large the gradient is, what it is free of, and how much of it stays at its element."""
    inputs = fixed_inputs()
    for name in ("base", "small", "large", "off centre"):
        yield f"gradient, {name}", np.log10(_rms(inputs.of(gradients, name)) + TINY)
    g, part = inputs.of(gradients, "base"), inputs.parts["base"]
    size = _rms(g) + TINY
    x, weights = (v[part].reshape(inputs.shapes["base"]) for v in (inputs.probe.initial["x"], _weighting()))
    yield "gradient at its element", (g * weights).mean(_ALL) / size
    yield "gradient size at its element", (np.abs(g) * np.abs(weights)).mean(_ALL) / size
    yield "gradient along samples", _rms(g.mean((2, 3, 4), keepdims=True)) / size
    yield "gradient along channels", _rms(g.mean((1, 3, 4), keepdims=True)) / size
    yield "gradient along maps", _rms(g.mean((3, 4), keepdims=True)) / size
    yield "gradient along x", (g * x).mean((2, 3, 4)).std(1) / size
    yield "share without gradient", (np.abs(g) <= ALMOST_NOTHING * size[:, None, None, None, None]).mean(_ALL)
    yield "largest gradient", np.abs(g).max(_ALL) / size


def _of_curve(outputs: Array) -> Iterator[tuple[str, Array]]:
    """What the output at an element is as a function of the input there, everything else held."""
    curve = fixed_inputs().of(outputs, "curve")[:, :, PLACE[0], PLACE[1], PLACE[2]]
    steps = np.diff(curve, axis=1)
    reach = np.ptp(curve, axis=1) + TINY
    yield "reach of the curve", np.log10(reach)
    yield "rise of the curve", (curve[:, -1] - curve[:, 0]) / reach
    yield "length of the curve", np.abs(steps).sum(1) / reach
    yield "slope of the curve below zero", steps[:, : len(CURVE) // 2].mean(1) / reach
    yield "slope of the curve above zero", steps[:, len(CURVE) // 2 :].mean(1) / reach
    yield "slope of the curve at its left end", steps[:, :2].mean(1) / reach
    yield "slope of the curve at its right end", steps[:, -2:].mean(1) / reach
    yield "bend of the curve at zero", np.diff(steps, axis=1)[:, len(CURVE) // 2 - 1] / reach
    yield "flat share of the curve", (np.abs(steps) < 0.01 * reach[:, None]).mean(1)


def _rms(values: Array) -> Array:
    """Root mean square of each layer's values."""
    return np.asarray(np.sqrt((values**2).mean(tuple(range(1, values.ndim)))))


def _rms_of(values: Array) -> float:
    return float(np.sqrt((values @ values) / len(values)))
