"""docs/layers.md defines the notation. Oracle: the tables of primitives, index sets and known layers themselves."""

import json
import re
from pathlib import Path

import pytest

from evonas.graph.catalogue import CATALOGUE, parse_layer
from evonas.graph.genome import Genome
from evonas.graph.primitive import INDEX_SETS, INITIAL_NODES, PRIMITIVES, of_kind

PAGE = (Path(__file__).parents[2] / "docs" / "layers.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]


def row(name: str, columns: int = 3) -> list[str]:
    (found,) = [cells for cells in ROWS if cells[0] == f"`{name}`" and len(cells) == columns]
    return found


@pytest.mark.parametrize("name", [name for name in PRIMITIVES.builtin if PRIMITIVES[name].kind != "initial"])
def test_every_primitive_is_defined_as_it_is(name: str) -> None:
    primitive = PRIMITIVES[name]
    _, shown, meaning = row(name)
    assert shown == f"`{primitive.plain.template.format('x', 'y', axes='hw')}`"
    assert meaning == primitive.meaning


@pytest.mark.parametrize("name", INDEX_SETS.builtin)
def test_every_index_set_is_defined_as_it_is(name: str) -> None:
    index_set = INDEX_SETS[name]
    assert row(name)[1:] == ["feature maps" if index_set.layout == "bchw" else "tokens", index_set.meaning]


def test_every_initial_node_is_named() -> None:
    assert all(f"`{name}`" in PAGE for name in INITIAL_NODES)
    for name in ("v0", "v1"):
        assert PRIMITIVES[name].meaning.rpartition(", ")[2] in row(name, 2)[1]  # its initial value


def test_the_operations_outside_of_the_published_space_are_said() -> None:
    others = [n for n in of_kind("elementwise", "moment") if PRIMITIVES[n].source != PRIMITIVES["add"].source]
    (named,) = re.findall(r"all but (.+)\.\n", PAGE)
    assert sorted(re.findall(r"`(\w+)`", named)) == sorted(others)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_known_layer_is_listed_with_its_formula(name: str) -> None:
    assert row(name, 2)[1] == f"`{CATALOGUE[name].formula()}`"


def test_the_examples_are_layers() -> None:
    (text,) = re.findall(r"```text\n(a = .*)\n```", PAGE)
    assert Genome.from_text(text).key == CATALOGUE["evonorm-s0"].key
    (found,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert Genome.from_json(found) == Genome.from_text("tanh(x)")
    assert parse_layer(json.dumps(json.loads(found)), "here") == Genome.from_text("tanh(x)")
    relatives = re.findall(r"`([^`]*)`", re.findall(r"sign of the whole\. (.*?) are relatives", PAGE, re.DOTALL)[0])
    assert len(relatives) == 3
    assert len({Genome.from_formula(formula).family for formula in relatives}) == 1
