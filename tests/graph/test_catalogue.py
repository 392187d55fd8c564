"""Finding a layer by what a file calls it, and what the catalogue says of its layers.

Oracle of the latter: the READMEs of the searches that found them.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE, KNOWN, from_catalogue, genome_of, parse_layer
from evonas.graph.genome import Genome


def test_names_and_text_forms() -> None:
    assert from_catalogue("dyt", "layer") is CATALOGUE["dyt"] is parse_layer("dyt", "layer")
    assert parse_layer("tanh(x)", "layer") == Genome.from_text("tanh(x)")


def test_every_notation_of_every_known_layer_means_it() -> None:
    for genome in CATALOGUE.values():
        for text in (genome.to_text(), genome.to_json(), genome.formula(exact=True)):
            assert parse_layer(text, "layer").key == genome_of(text).key == genome.key


def test_the_catalogue_suggests_a_name() -> None:
    with pytest.raises(KeyError, match=r"unknown layer 'evonorms0'.*did you mean 'evonorm-s0'") as caught:
        CATALOGUE["evonorms0"]
    assert isinstance(caught.value, InputError)
    assert str(caught.value).startswith("catalogue: unknown layer")
    assert CATALOGUE.get("evonorms0") is None
    assert "evonorms0" not in CATALOGUE
    assert dict(CATALOGUE) == {name: Genome.from_text(known.text) for name, known in KNOWN.items()}


@pytest.mark.parametrize(
    ("typed", "meant"), [("EvoNormS0", "evonorm-s0"), ("bn_relu", "bn-relu"), ("LayerNorm", "layernorm")]
)
def test_a_name_in_another_spelling_is_suggested(typed: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"did you mean {meant!r}"):
        parse_layer(typed, "layer")


@pytest.mark.parametrize(
    ("find", "text", "message"),
    [
        (from_catalogue, "evonorm-s9", "run.layer: unknown layer 'evonorm-s9'; accepted: bn-relu, "),
        (from_catalogue, "tanh(x)", "run.layer: unknown layer 'tanh(x)'; accepted: bn-relu, "),
        (
            parse_layer,
            "evonorm-s9",
            "run.layer: 'evonorm-s9'; accepted: a formula or text form such as 'x * sigmoid(x)'",
        ),
        (parse_layer, "runs/first", "run.layer: 'runs/first'; accepted: a formula or text form"),
        (parse_layer, "tan(x)", "run.layer: formula 'tan(x)', character 1: unknown primitive 'tan'"),
        (parse_layer, "a = tan(x); exp(a)", "run.layer: layer text, statement 'a = tan(x)': unknown primitive 'tan'"),
        (parse_layer, "{}", "run.layer: layer JSON: format: None"),
    ],
)
def test_what_is_neither_is_refused_where_it_stands(
    find: Callable[[str, str], Genome], text: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        find(text, "run.layer")
    assert str(caught.value).startswith(message)


def test_every_layer_has_a_source_and_those_found_here_say_what_was_measured() -> None:
    assert list(KNOWN) == list(CATALOGUE)
    assert [name for name, known in KNOWN.items() if not re.search(r"arXiv \d{4}\.\d{5}|found in", known.source)] == []
    assert [name for name, known in KNOWN.items() if known.evidence] == ["evonas-s1", "evonas-b1"]


@pytest.mark.parametrize(("name", "run"), [("evonas-s1", "cifar-s-warm"), ("evonas-b1", "cifar-b")])
def test_figures_of_a_layer_found_are_those_of_the_run_that_found_it(name: str, run: str) -> None:
    readme = (Path(__file__).parents[2] / "runs" / "kept" / run / "README.md").read_text()
    figures = re.findall(r"[-+]?\d\.\d+", KNOWN[name].evidence)
    assert len(figures) >= 10
    assert [figure for figure in figures if figure not in readme] == []
