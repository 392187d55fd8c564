"""Layers of very many nodes. Oracles: formulas and counts that follow from how a layer is made."""

import pytest

from evonas.errors import InputError
from evonas.graph.catalogue import parse_layer
from evonas.graph.genome import Genome
from evonas.limits import LARGEST_LAYER, MOST_DRAWN, MOST_NODES
from evonas.report.pictures import draw_genome, is_drawable


def chain(nodes: int, statement: str) -> str:
    """A layer in which every node is made of the one before it."""
    parts = [f"n{n} = {statement.format(f'n{n - 1}' if n else 'x')}" for n in range(nodes - 1)]
    return "; ".join([*parts, statement.format(f"n{nodes - 2}")])


def test_a_deep_layer_has_a_formula_without_recursion() -> None:
    genome = Genome.from_text(chain(3000, "tanh({0})"))
    assert genome.formula() == "tanh(" * 3000 + "x" + ")" * 3000
    assert genome.formula(latex=True).count("tanh") == 3000
    assert Genome.from_text(genome.to_text()) == genome


def test_a_layer_whose_tree_is_beyond_all_numbers_has_a_short_formula() -> None:
    formula = Genome.from_text(chain(3000, "add({0}, {0})")).formula(exact=True)
    assert formula.count("=") == 2999  # each part once
    assert len(formula) < 100_000


def test_layers_have_a_largest_size() -> None:
    Genome.from_text(chain(MOST_NODES - 4, "tanh({0})"))
    with pytest.raises(InputError, match=rf"{MOST_NODES + 1} nodes; accepted: up to {MOST_NODES}"):
        Genome.from_text(chain(MOST_NODES - 3, "tanh({0})"))
    for read in (Genome.from_text, Genome.from_formula, Genome.from_json):
        with pytest.raises(InputError, match=f"has {LARGEST_LAYER + 1} characters"):
            read("x" * (LARGEST_LAYER + 1))


@pytest.mark.parametrize("text", ["tanh({}x)", "{}tanh(x)", "tanh{}(x)", "a{}= x; tanh(x)", "x{}+ v0", "x + v0{}"])
def test_long_runs_of_blanks_are_one(text: str) -> None:
    blanks = " \t" * 200_000  # quadratic time would be hours
    try:
        assert parse_layer(text.format(blanks), "here").key == parse_layer(text.format(" "), "here").key
    except InputError:
        with pytest.raises(InputError):
            parse_layer(text.format(" "), "here")


def test_long_formulas_are_read_to_their_end() -> None:
    with pytest.raises(InputError, match="unknown name 'y'"):
        Genome.from_formula("x + " * 30_000 + "y")


def test_errors_about_large_layers_are_short() -> None:
    with pytest.raises(InputError, match=r"in all\)") as error:
        Genome.from_text(chain(5000, "tanh({0})").replace("(n4998)", "(q)"))
    assert len(str(error.value)) < 2500
    with pytest.raises(InputError, match="character 120001") as error:
        Genome.from_formula("x + " * 30_000 + "?")
    assert len(str(error.value)) < 2500


def test_a_layer_that_is_too_large_for_a_picture_says_so() -> None:
    large, small = (Genome.from_text(chain(nodes, "tanh({0})")) for nodes in (MOST_DRAWN, MOST_DRAWN - 1))
    assert is_drawable(small)
    assert not is_drawable(large)
    texts = [text.get_text() for text in draw_genome(large, title="a $b$ \x1b", subtitle="c").texts]
    assert texts == ["a $b$ \\x1b", "c", f"a graph of {MOST_DRAWN + 1} nodes, too large for a picture"]
    assert "<svg" not in large._repr_html_()
