"""Formulas as MathML. Oracle: the plain formula of the same layer, which MathML read from left to right gives back."""

import random
import re
import xml.etree.ElementTree as ElementTree

import pytest

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.primitive import ATOM, INDEX_SETS, Primitive, PrintedForm, of_kind, register_primitive
from evonas.graph.space import SearchSpace
from evonas.report.page.mathml import Element, mathml

NAMES = {"\u03c3": "sigmoid", "\u03bc": "mean", "r": "rms", "s": "std"}
AXES = {index_set.latex: name for name, index_set in INDEX_SETS.items() if index_set.layout == "bchw"}
SIGNS = {"\u2212": "-", "\u22c5": "*"}


def read(element: ElementTree.Element) -> str:
    """A formula that evonas reads, with more parentheses than it needs."""
    parts = [read(child) for child in element]
    text = element.text or ""
    match element.tag:
        case "mfrac":
            return f"(({parts[0]}) / ({parts[1]}))"
        case "msup":
            return f"exp({parts[1]})" if parts[0] == "e" else f"(({parts[0]})^{parts[1]})"
        case "msub" if parts[0] == "v":
            return f"v{parts[1]}"
        case "msub":
            return f"{NAMES[parts[0]]}[{AXES[parts[1]]}]"
        case "mrow":
            if parts[0] == parts[-1] == "|":
                return f"abs({''.join(parts[1:-1])})"
            return "".join(NAMES.get(part, part) for part in parts)
        case "mo":
            return SIGNS.get(text, text)
    return text


def formula_of(genome: Genome) -> str:
    whole, *definitions = (read(ElementTree.fromstring(str(line))) for line in mathml(genome))
    return f"{whole} where {'; '.join(definitions)}" if definitions else whole


@pytest.mark.parametrize("name", [name for name, genome in CATALOGUE.items() if "btd" not in genome.layouts])
def test_a_known_layer_is_written_as_its_formula_says(name: str) -> None:
    shown = Genome.from_formula(CATALOGUE[name].formula())
    assert Genome.from_formula(formula_of(CATALOGUE[name])).key == shown.key


def test_random_layers_are_written_as_their_formulas_say() -> None:
    rng, space = random.Random(3), SearchSpace(primitives=of_kind("elementwise", "moment"))
    for _ in range(300):
        genome = space.sample(rng)
        assert Genome.from_formula(formula_of(genome)).formula() == genome.formula(), genome.to_text()


def test_numbers_powers_and_signs_keep_their_places() -> None:
    for formula in ("x - 0.5 * v1", "-x * (x - 2)", "(x + v0)^3", "-(x + v0)^2", "abs(x - 1)"):
        genome = Genome.from_formula(formula)
        assert Genome.from_formula(formula_of(genome)).formula() == genome.formula()


@pytest.mark.usefixtures("tables")
def test_an_operation_of_a_user_is_a_call_of_its_name() -> None:
    form = PrintedForm("<b>{0}</b>", ATOM)
    register_primitive(
        Primitive(
            "softsign",
            1,
            lambda x: x / (1 + x.abs()),
            lambda x, _: x / (1 + abs(x)),
            lambda g, *_: (g,),
            form,
            form,
            "x / (1 + |x|)",
            source="mine",
        )
    )
    (line,) = mathml(Genome.from_text("softsign(x)"))
    assert str(line) == "<mrow><mi>softsign</mi><mo>(</mo><mi>x</mi><mo>)</mo></mrow>"
    assert line.as_json() == ["row", ["i", "softsign"], ["o", "("], ["i", "x"], ["o", ")"]]


def test_text_is_escaped() -> None:
    assert re.fullmatch(r"<mi>&lt;/mi&gt;&amp;</mi>", str(Element("i", "</mi>&")))
