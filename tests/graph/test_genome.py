"""Identity, activity and the networkx form of genomes.

Oracles: the definitions written out by hand on small genomes, networkx's own ancestors and counts, and the numpy
interpreter for ``varies``.
"""

import pickle

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from oracles import genomes, interpret, random_parameters

from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.graph.node import INITIAL, Node

text = Genome.from_text


@given(genomes())
def test_the_graph_of_an_active_genome_reads_back(genome: Genome) -> None:
    assert Genome.from_graph(genome.graph) == genome.active()


@given(genomes())
def test_the_graph_has_the_active_nodes_and_one_edge_for_each_operand(genome: Genome) -> None:
    active = genome.active()
    assert len(genome.graph) == len(genome.active_positions)
    for position, data in genome.graph.nodes(data=True):
        assert Node(data["op"], active.nodes[position].inputs, data["axes"]) == active.nodes[position]
    edges = {(source, position, slot) for source, position, slot in genome.graph.edges(keys=True)}
    used = [p for p in active.active_positions if active.nodes[p].inputs]
    assert edges == {(s, p, slot) for p in used for slot, s in enumerate(active.nodes[p].inputs)}
    assert nx.descendants(genome.graph, genome.graph.graph["output"]) == set()


@given(genomes())
def test_active_keeps_the_function_and_drops_what_the_output_does_not_need(genome: Genome) -> None:
    active = genome.active()
    assert active.active() is active
    assert active.key == genome.key
    assert active.formula() == genome.formula()
    assert active.uses_batch_statistics == genome.uses_batch_statistics
    ancestors = nx.ancestors(active.graph, active.graph.graph["output"])
    assert ancestors | {active.graph.graph["output"]} == set(active.active_positions)
    assert set(range(4, len(active.nodes))) <= set(active.active_positions)


@given(genomes())
def test_a_genome_is_shown_as_code_that_makes_it_and_printed_as_its_formula(genome: Genome) -> None:
    assert eval(repr(genome), {"Genome": Genome}).key == genome.key
    assert str(genome) == genome.formula()


@given(genomes())
def test_pickling_leaves_the_caches_behind(genome: Genome) -> None:
    fresh = len(pickle.dumps(genome))
    _ = genome.graph, genome.node_keys, genome.varies, genome.active_positions
    data = pickle.dumps(genome)
    restored = pickle.loads(data)
    assert len(data) == fresh
    assert restored == genome
    assert set(vars(restored)) == {"nodes"}


@given(genomes())
def test_a_value_only_differs_along_the_axes_it_varies_over(genome: Genome) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 5))
    parameters = {**random_parameters(4, seed=1), "weight": np.ones(4), "bias": np.zeros(4)}
    output = interpret(genome, x, parameters, groups=2)
    for position, axis in enumerate("bchw"):
        if axis not in genome.varies[-1]:
            repeated = np.take(output, [0], axis=position)
            np.testing.assert_allclose(output, np.broadcast_to(repeated, output.shape), rtol=1e-6, atol=1e-9)


def test_the_graph_is_frozen() -> None:
    with pytest.raises(nx.NetworkXError):
        text("sigmoid(x)").graph.add_node(7)


def test_a_square_written_as_a_product_keeps_both_edges() -> None:
    genome = text("mul(x, x)")
    assert genome.graph.number_of_edges(0, 4) == 2
    assert Genome.from_graph(genome.graph) == genome


def test_the_key_ignores_inactive_nodes() -> None:
    plain = text("b = sigmoid(x); mul(x, b)")
    padded = text("a = exp(x); b = sigmoid(x); c = std[hw](a); mul(x, b)")
    assert plain.key == padded.key
    assert plain != padded


@pytest.mark.parametrize("op", ["add", "mul", "max"])
def test_the_key_ignores_the_operand_order_of_commutative_operations(op: str) -> None:
    assert text(f"a = tanh(x); {op}(x, a)").key == text(f"a = tanh(x); {op}(a, x)").key
    nested = text(f"a = tanh(x); b = {op}(x, a); c = exp(b); {op}(c, v1)")
    assert nested.key == text(f"a = tanh(x); b = {op}(a, x); c = exp(b); {op}(v1, c)").key


def test_the_key_ignores_the_order_of_independent_nodes() -> None:
    assert text("a = tanh(x); b = exp(x); div(a, b)").key == text("a = exp(x); b = tanh(x); div(b, a)").key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a = tanh(x); div(a, x)", "a = tanh(x); div(x, a)"),
        ("mean[hw](x)", "mean[chw](x)"),
        ("mean[hw](x)", "rms[hw](x)"),
        ("mul(x, v0)", "mul(x, v1)"),
        ("mul(x, x)", "mul(x, v1)"),
        ("a = mul(x, x); neg(a)", "a = neg(x); mul(a, a)"),
    ],
)
def test_the_key_tells_layers_apart(one: str, other: str) -> None:
    assert text(one).key != text(other).key


def test_equal_expressions_have_equal_node_keys() -> None:
    genome = text("a = sigmoid(x); b = sigmoid(x); add(a, b)")
    assert genome.node_keys[4] == genome.node_keys[5]
    assert len(genome.key) == 16


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        ("sigmoid(x)", "bchw"),
        ("neg(zero)", ""),
        ("exp(v1)", "c"),
        ("std[bhw](x)", "c"),
        ("std[hw](x)", "bc"),
        ("std[ghw](x)", "bc"),
        ("std[chw](x)", "b"),
        ("a = std[chw](x); mul(a, v0)", "bc"),
        ("a = std[hw](x); mean[chw](a)", "b"),
        ("a = std[bhw](x); div(x, a)", "bchw"),
    ],
)
def test_varies_names_the_axes(layer: str, axes: str) -> None:
    assert text(layer).varies[-1] == frozenset(axes)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [("std[bhw](x)", True), ("std[chw](x)", False), ("a = std[bhw](x); sigmoid(x)", False), ("tanh(x)", False)],
)
def test_only_active_moments_over_the_batch_make_batch_statistics(layer: str, expected: bool) -> None:
    assert text(layer).uses_batch_statistics is expected


@pytest.mark.parametrize(
    ("node", "names"),
    [
        (Node("sub", (0, 0)), ["unknown primitive 'sub'", "add"]),
        (Node("x"), ["unknown primitive 'x'"]),
        (Node("mul", (0,)), ["mul has 1 operands", "accepted: 2"]),
        (Node("std", (0,)), ["no index set", "bhw"]),
        (Node("std", (0,), "bw"), ["index set 'bw'", "ghw"]),
        (Node("tanh", (0,), "hw"), ["index set 'hw'", "moments only"]),
        (Node("tanh", (4,)), ["(4,)", "earlier nodes", "no cycles"]),
        (Node("tanh", (-1,)), ["(-1,)", "earlier nodes"]),
    ],
)
def test_a_node_that_cannot_stand_is_refused_with_its_position(node: Node, names: list[str]) -> None:
    with pytest.raises(InputError) as error:
        Genome((*INITIAL, node))
    assert "genome node 4" in str(error.value)
    assert all(name in str(error.value) for name in names)


@pytest.mark.parametrize("nodes", [(), INITIAL, INITIAL[:3], (*INITIAL[::-1], Node("neg", (0,)))])
def test_a_genome_needs_the_initial_nodes_and_one_more(nodes: tuple[Node, ...]) -> None:
    with pytest.raises(InputError, match="initial nodes x, zero, v0, v1"):
        Genome(nodes)


def graph_of(nodes: dict[object, dict[str, str]], edges: list[tuple[object, object, int]]) -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(nodes.items())
    for source, position, slot in edges:
        graph.add_edge(source, position, key=slot)
    return graph


def test_a_graph_made_by_hand_with_names_for_nodes_is_read() -> None:
    nodes = {"input": {"op": "x"}, "gate": {"op": "sigmoid"}, "size": {"op": "std", "axes": "hw"}, "y": {"op": "div"}}
    edges = [("input", "gate", 0), ("input", "size", 0), ("gate", "y", 1), ("size", "y", 0)]
    genome = Genome.from_graph(graph_of(nodes, edges))
    assert genome.formula() == "std[hw](x) / sigmoid(x)"


X, NEG = {"op": "x"}, {"op": "neg"}


@pytest.mark.parametrize(
    ("graph", "names"),
    [
        (graph_of({0: X, 1: NEG, 2: NEG}, [(1, 2, 0), (2, 1, 0)]), ["cycle", "acyclic"]),
        (graph_of({0: X, 1: NEG, 2: NEG}, [(0, 1, 0), (0, 2, 0)]), ["2 nodes without a successor"]),
        (graph_of({}, []), ["0 nodes without a successor"]),
        (graph_of({0: X, 1: NEG}, [(0, 1, 1)]), ["graph node 1", "operand slots [1]"]),
        (graph_of({0: X, 1: {}}, [(0, 1, 0)]), ["graph node 1", "op None"]),
        (graph_of({0: X, 1: {"op": "v0"}, 2: NEG}, [(0, 1, 0), (1, 2, 0)]), ["graph node 1", "v0 has 1 operands"]),
        (graph_of({0: X, 1: {"op": "sub"}}, [(0, 1, 0)]), ["unknown primitive 'sub'"]),
        (graph_of({0: X, 1: {"op": "add"}}, [(0, 1, 0)]), ["add has 1 operands"]),
        (graph_of({0: X, 1: {"op": "rms"}}, [(0, 1, 0)]), ["no index set"]),
        (graph_of({0: X}, []), ["initial nodes"]),
        (nx.DiGraph([(0, 1)]), ["DiGraph", "MultiDiGraph", "mul(x, x)"]),
    ],
)
def test_a_graph_that_is_no_layer_is_refused(graph: nx.DiGraph, names: list[str]) -> None:
    with pytest.raises(InputError) as error:
        Genome.from_graph(graph)
    assert all(name in str(error.value) for name in names)
    assert len(str(error.value).splitlines()) == 1
