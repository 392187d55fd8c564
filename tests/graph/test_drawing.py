"""What notebooks show of a layer. Oracles: the graph's own counts, and a parser of XML."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from oracles import genomes

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.drawing import STYLES, kind_of, svg
from evonas.graph.genome import Genome
from evonas.graph.placement import order_matters
from evonas.graph.primitive import INDEX_SETS
from evonas.search.outcome import Evaluation
from evonas.search.ranking import Entry

SPACE = "{http://www.w3.org/2000/svg}"


@given(genomes(axes=tuple(INDEX_SETS)))
def test_a_picture_has_a_box_for_each_node_and_a_line_for_each_edge(genome: Genome) -> None:
    picture = ElementTree.fromstring(svg(genome))
    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    boxes = picture.findall(f"{SPACE}rect")
    assert len(boxes) == len(genome.graph)
    for box in boxes:
        x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
    lines = [path for path in picture.findall(f"{SPACE}path") if path.attrib["fill"] == "none"]
    assert len(lines) == genome.graph.number_of_edges()
    fills = sorted(box.attrib["fill"] for box in boxes)
    assert fills == sorted(STYLES[kind_of(genome, name)].fill for name in genome.graph)
    numbers = sum(genome.graph.in_degree(name) for name in genome.graph if order_matters(genome, name))
    axes = sum(bool(data) for _, data in genome.graph.nodes(data="axes"))
    assert len(picture.findall(f"{SPACE}text")) == len(boxes) + axes + numbers


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_notebook_shows_formula_text_key_and_picture(name: str) -> None:
    genome = CATALOGUE[name]
    shown = ElementTree.fromstring(f"<div>{genome._repr_html_()}</div>")
    assert [code.text for code in shown.iter("code")] == [genome.formula(), genome.to_text(), genome.key]
    assert shown.find(f"{SPACE}svg") is not None


def test_an_entry_of_a_ranking_shows_its_layer_and_its_scores() -> None:
    genome = CATALOGUE["evonorm-s0"]
    entry = Entry(3, "#3", genome, Evaluation(genome.key, 1, objectives={"a": 0.25, "b": 0.75}), candidate=7)
    assert repr(entry) == f"Entry(#3, {genome.formula()!r}, mean 0.5000)"
    assert entry._repr_html_() == "<p>#3: a 0.2500, b 0.7500</p>" + genome._repr_html_()
