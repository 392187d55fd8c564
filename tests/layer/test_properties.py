"""Properties found numerically, against those that the formulas have."""

import pytest

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.layer.properties import properties

WHOLE = ("scale of the whole input", "shift of the whole input")
SAMPLE = ("scale of each sample", "shift of each sample")


@pytest.mark.parametrize(
    ("name", "invariant", "depends"),
    [
        ("bn-relu", {*WHOLE, "scale of each channel", "shift of each channel"}, {"batch", "positions"}),
        ("gn-relu", {*WHOLE, *SAMPLE}, {"positions", "features"}),
        ("layernorm", {*WHOLE, *SAMPLE}, {"features"}),
        ("rmsnorm", {"scale of the whole input", "scale of each sample"}, {"features"}),
        ("dyt", set(), set()),
        ("evonorm-s0", set(), {"positions", "features"}),
    ],
)
def test_invariances_and_dependences_of_published_layers(name: str, invariant: set[str], depends: set[str]) -> None:
    found = properties(CATALOGUE[name])
    assert set(found.invariant) == invariant
    assert set(found.depends_on) == depends


@pytest.mark.parametrize(
    ("text", "growth", "bounded", "monotonic", "at_zero", "slopes"),
    [
        ("tanh(x)", 0.0, True, "rising", 0.0, (0.0, 0.0)),
        ("max(x, zero)", 1.0, False, "rising", 0.0, (0.0, 1.0)),
        ("neg(x)", 1.0, False, "falling", 0.0, (-1.0, -1.0)),
        ("square(x)", 2.0, False, "", 0.0, (-20000.0, 20000.0)),
        ("a = sigmoid(x); mul(x, a)", 1.0, False, "", 0.0, (0.0, 1.0)),
        ("a = add(x, v1); sigmoid(a)", 0.0, True, "rising", 0.7310585786300049, (0.0, 0.0)),
    ],
)
def test_growth_and_shape_of_the_response(
    text: str, growth: float, bounded: bool, monotonic: str, at_zero: float, slopes: tuple[float, float]
) -> None:
    found = properties(Genome.from_text(text))
    assert found.growth == pytest.approx(growth, abs=0.01)
    assert (found.bounded, found.monotonic) == (bounded, monotonic)
    assert found.at_zero == pytest.approx(at_zero, abs=1e-9)
    assert found.slopes == pytest.approx(slopes, rel=1e-3, abs=1e-3)


def test_what_overflows_has_no_growth_and_no_slope_there() -> None:
    found = properties(Genome.from_text("exp(x)"))
    assert (found.growth, found.at_zero, found.bounded, found.monotonic) == (None, 1.0, False, "rising")
    assert found.slopes == (0.0, None)
    five = properties(Genome.from_text("a = exp(x); b = exp(a); c = exp(b); d = exp(c); exp(d)"))
    assert (five.at_zero, five.slopes) == (None, (pytest.approx(0.0, abs=1e-3), None))
