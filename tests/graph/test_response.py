"""Responses at held moments. Oracle: the lowered layer on a map with the population in it, and derivatives by hand."""

import numpy as np
import pytest
import torch

from evonas.graph.catalogue import CATALOGUE, known_layout
from evonas.graph.genome import Genome
from evonas.graph.response import POPULATION, evaluate, population, response
from evonas.layer.lower import lower

X = np.linspace(-3.0, 3.0, 25)


@pytest.mark.parametrize("name", CATALOGUE)
def test_on_the_population_itself_a_layer_does_what_it_does_to_a_map(name: str) -> None:
    genome = CATALOGUE[name]
    layout = known_layout(genome) or "bchw"
    values = population(0.4, 1.5)
    maps = torch.from_numpy(values)
    # one sample, one channel of the population; tokens have it as their features
    shaped = maps.view(1, 1, POPULATION, 1) if layout == "bchw" else maps.view(1, 1, POPULATION)
    features = 1 if layout == "bchw" else POPULATION
    with torch.no_grad():
        expected = lower(genome, features, layout=layout, groups=1).double().train()(shaped).flatten().numpy()
    found = evaluate(genome, values, v0=0.0, v1=1.0, eps=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_moments_are_held_while_the_element_moves() -> None:
    found = response(Genome.from_text("a = std[hw](x); div(x, a)"), X, mean=1.0, std=2.0)
    spread = population(1.0, 2.0).std()
    np.testing.assert_allclose(found.y, X / spread, rtol=1e-5)
    np.testing.assert_allclose(found.slope, 1 / spread, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "y", "slope"),
    [
        ("max(x, zero)", lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.0, np.where(x == 0, 0.5, 0.0))),
        ("a = mul(v1, x); b = sigmoid(a); mul(x, b)", lambda x: x / (1 + np.exp(-2 * x)), None),
        ("a = add(x, v0); square(a)", lambda x: (x + 0.5) ** 2, lambda x: 2 * (x + 0.5)),
    ],
)
def test_parameters_are_those_that_were_given(text: str, y: object, slope: object) -> None:
    found = response(Genome.from_text(text), X, v0=0.5, v1=2.0)
    np.testing.assert_allclose(found.y, y(X), rtol=1e-9, atol=1e-12)  # type: ignore[operator]
    if slope is not None:
        np.testing.assert_allclose(found.slope, slope(X), rtol=1e-6, atol=1e-6)  # type: ignore[operator]
