"""What the search space holds and how uniformly it is drawn.

Oracles: chi-square tests against uniform draws, and figures of a separate numpy program: a random genome of ten
intermediate nodes has 2.33 active ones on average, and 26.5 % of them have one.
"""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from oracles import interpret, random_parameters
from scipy import stats

from evonas.config import SpaceConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.node import NUM_INITIAL
from evonas.graph.primitive import INDEX_SETS, PUBLISHED
from evonas.graph.space import SearchSpace

FULL = SearchSpace()
SMALL = SearchSpace(("add", "tanh", "std"), ("hw", "ghw"), intermediate_nodes=3)


def is_uniform(counts: Counter, categories: int) -> bool:
    return len(counts) == categories and stats.chisquare(list(counts.values())).pvalue > 0.001


def test_the_full_space_has_twelve_operations_and_three_moments_over_four_index_sets() -> None:
    assert len(FULL.choices) == 12 + 3 * 4
    assert FULL.index_sets == ("bhw", "chw", "hw", "ghw")
    assert FULL.intermediate_nodes == 10


def test_a_space_without_the_batch_has_no_choice_over_it() -> None:
    space = SearchSpace(index_sets=("chw", "hw", "ghw"))
    assert len(space.choices) == 12 + 3 * 3
    assert not any(INDEX_SETS[axes].batch for _, axes in space.choices if axes)


def test_operations_are_drawn_uniformly(rng: random.Random) -> None:
    nodes = [node for _ in range(1000) for node in FULL.sample(rng).nodes[NUM_INITIAL:]]
    assert is_uniform(Counter((node.op, node.axes) for node in nodes), categories=len(FULL.choices))


@pytest.mark.parametrize("position", [4, 9, 13])
def test_inputs_are_drawn_uniformly_among_all_earlier_nodes(position: int, rng: random.Random) -> None:
    nodes = [FULL.sample(rng).nodes[position] for _ in range(3000)]
    assert is_uniform(Counter(i for node in nodes for i in node.inputs), categories=position)


def test_both_operands_are_drawn_independently(rng: random.Random) -> None:
    nodes = [FULL.sample_node(4, rng) for _ in range(6000)]
    assert is_uniform(Counter(node.inputs for node in nodes if len(node.inputs) == 2), categories=16)


def test_random_genomes_have_few_active_nodes(rng: random.Random) -> None:
    active = [len(FULL.sample(rng).active().nodes) - NUM_INITIAL for _ in range(4000)]
    assert sum(active) / len(active) == pytest.approx(2.33, abs=0.06)
    assert active.count(1) / len(active) == pytest.approx(0.265, abs=0.02)


def test_two_thirds_of_random_genomes_do_not_use_the_input(rng: random.Random) -> None:
    samples = [FULL.sample(rng) for _ in range(4000)]
    assert sum(0 not in genome.active_positions for genome in samples) / 4000 == pytest.approx(0.685, abs=0.02)


@pytest.mark.parametrize("space", [FULL, SMALL], ids=["full", "small"])
def test_samples_are_of_the_space_and_the_same_for_a_seed(space: SearchSpace) -> None:
    for seed in range(50):
        genome = space.sample(random.Random(seed))
        assert space.violations(genome) == ()
        assert len(genome.nodes) == NUM_INITIAL + space.intermediate_nodes
        assert space.sample(random.Random(seed)) == genome


def test_violations_say_which_node_and_why() -> None:
    genome = Genome.from_text("a = exp(x); b = std[chw](a); c = add(a, b); tanh(c)")
    assert SMALL.violations(genome) == (
        "4 intermediate nodes, more than 3",
        "node 4: primitive exp is not in the space",
        "node 5: index set chw is not in the space",
    )


def test_inactive_nodes_violate_too() -> None:
    assert SMALL.violations(Genome.from_text("a = exp(x); tanh(x)")) == ("node 4: primitive exp is not in the space",)


LAYERS_FOR_MAPS = [name for name in CATALOGUE if name.split("-")[0] in ("bn", "gn", "frn", "evonorm", "evonas")]


@pytest.mark.parametrize("name", [name for name in LAYERS_FOR_MAPS if name != "bn-relu6"])
def test_known_layers_are_of_the_full_space_and_can_be_padded(name: str) -> None:
    padded = FULL.padded(CATALOGUE[name])
    assert len(padded.nodes) == NUM_INITIAL + 10
    assert padded.key == CATALOGUE[name].key
    assert padded.active() == CATALOGUE[name]
    assert FULL.violations(padded) == ()


def test_a_capped_layer_is_not_of_the_published_space() -> None:
    assert FULL.violations(CATALOGUE["bn-relu6"]) == (
        "node 12: primitive 6 is not in the space",
        "node 13: primitive min is not in the space",
    )


def test_a_layer_outside_the_space_cannot_be_padded() -> None:
    with pytest.raises(InputError, match="primitive exp is not in the space"):
        SMALL.padded(Genome.from_text("exp(x)"))


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        ("tanh(2 * x)", "tanh(x + x)"),
        ("-3 * v1 * x", "(-(v1 + v1 + v1)) * x"),
        ("x * 4", "x + x + (x + x)"),
        ("x^3", "x^2 * x"),
        ("max(x, 1)", "max(x, exp(0))"),
        ("x + 1.5", "x + (sigmoid(0) + sigmoid(0) + sigmoid(0))"),
        ("0.5 * x", "sigmoid(0) * x"),
        ("max(x, 0.0)", "max(x, 0)"),
        ("1 * x", "x + 0"),
        ("2", "exp(0) + exp(0)"),
    ],
)
def test_numbers_of_a_formula_are_spelled_out_in_a_space(typed: str, spelled: str) -> None:
    assert FULL.padded(Genome.from_formula(typed)).formula(exact=True) == spelled
    x, parameters = np.random.default_rng(0).standard_normal((2, 4, 3, 5)), random_parameters(4, seed=0)
    values = [interpret(Genome.from_formula(text), x, parameters, groups=2) for text in (typed, spelled)]
    np.testing.assert_allclose(*values, rtol=1e-12, atol=1e-12)


def test_a_square_is_a_product_in_a_space_without_squares() -> None:
    space = SearchSpace(("mul", "tanh"), intermediate_nodes=3)
    assert space.padded(Genome.from_formula("tanh(x)^2")).formula(exact=True) == "tanh(x) * tanh(x)"


@pytest.mark.parametrize("typed", ["x + 0.1", "100000 * x", "min(x, 6)"])
def test_a_number_that_cannot_be_spelled_is_not_of_a_space(typed: str) -> None:
    with pytest.raises(InputError, match="is not in the space"):
        FULL.padded(Genome.from_formula(typed))


def test_layers_of_a_space_come_back_by_their_formulas_for_people() -> None:
    rng, shortened = random.Random(0), 0
    x, parameters = np.random.default_rng(0).standard_normal((2, 4, 3, 5)), random_parameters(4, seed=0)
    for _ in range(300):
        genome = FULL.sample(rng)
        again = FULL.padded(Genome.from_formula(genome.formula()))
        shortened += genome.formula() != genome.formula(exact=True)
        expected = interpret(genome, x, parameters, groups=2)
        if np.isfinite(expected).all() and np.abs(expected).max() < 1e3:
            np.testing.assert_allclose(interpret(again, x, parameters, groups=2), expected, rtol=1e-9, atol=1e-9)
    assert shortened > 50


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"primitives": ("add", "gelu")}, ["space.primitives", "'gelu'", "sigmoid"]),
        ({"primitives": ("add", "x")}, ["space.primitives", "'x'"]),
        ({"primitives": ("add", "add")}, ["space.primitives", "duplicate names: 'add'"]),
        ({"index_sets": ("hw", "bc")}, ["space.index_sets", "'bc'", "bhw, chw, hw, ghw"]),
        ({"index_sets": ("d",)}, ["space.index_sets", "'d'", "bhw, chw, hw, ghw"]),
        ({"layout": "btd", "index_sets": ("td",)}, ["space.index_sets", "td reaches over tokens", "d, gd", "causal"]),
        ({"layout": "btd", "index_sets": ("hw",)}, ["space.index_sets", "'hw'", "d, gd"]),
        ({"layout": "bdt"}, ["space.layout", "'bdt'", "bchw, btd"]),
    ],
)
def test_unknown_names_are_refused_with_the_key_of_the_search_file(arguments: dict, names: list[str]) -> None:
    with pytest.raises(InputError) as error:
        SearchSpace(**arguments)
    assert all(name in str(error.value) for name in names)
    assert len(str(error.value).splitlines()) == 1


def test_only_spaces_that_are_not_causal_reach_over_tokens() -> None:
    assert SearchSpace(layout="btd").index_sets == ("d", "gd")
    assert SearchSpace(layout="btd", causal=False).index_sets == ("d", "gd", "td", "t", "gtd", "bt")
    assert SearchSpace(layout="btd", causal=False, index_sets=("td",)).index_sets == ("td",)


def test_index_sets_may_be_empty_without_moments(rng: random.Random) -> None:
    space = SearchSpace(("add", "tanh"), ())
    assert space.violations(space.sample(rng)) == ()


def test_an_empty_list_of_primitives_in_a_file_means_the_published_ones() -> None:
    assert SearchSpace.from_config(SpaceConfig()) == SearchSpace(PUBLISHED, ("bhw", "chw", "hw", "ghw"))


def test_a_space_loads_from_a_search_file_and_names_it_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "search.toml"
    head = 'name = "tiny"\n[[tasks]]\narchitecture = "efficientnet"\n[space]\n'
    path.write_text(f'{head}primitives = ["add", "tanh"]\nintermediate_nodes = 4\n')
    assert SearchSpace.load(path) == SearchSpace(("add", "tanh"), ("bhw", "chw", "hw", "ghw"), 4)
    path.write_text(f'{head}primitives = ["gelu"]\n')
    with pytest.raises(InputError, match=r"search\.toml: space\.primitives: unknown primitive 'gelu'"):
        SearchSpace.load(path)
