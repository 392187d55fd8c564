"""Text, JSON and formulas.

Oracles: reading back what was printed; formulas of the known layers written by hand after the publications; and, for
random genomes, the printed formula itself, evaluated as arithmetic and compared with the numpy interpreter.
"""

import json
import random
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import genomes, interpret, random_parameters, viable_genomes

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.node import INITIAL, Node
from evonas.graph.primitive import INDEX_SETS, PRIMITIVES, Array, of_kind, reference

GROUPS, EPS = 2, 1e-5

FORMULAS = {
    "bn-relu": "max((x - mean[bhw](x)) / std[bhw](x) * v1 + v0, 0)",
    "bn-relu6": "min(max((x - mean[bhw](x)) / std[bhw](x) * v1 + v0, 0), 6)",
    "bn-silu": "a * sigmoid(a) where a = (x - mean[bhw](x)) / std[bhw](x) * v1 + v0",
    "gn-relu": "max((x - mean[ghw](x)) / std[ghw](x) * v1 + v0, 0)",
    "frn-tlu": "max(x / rms[hw](x), v0)",
    "evonorm-b0": "x / max(std[bhw](x), x * v1 + std[hw](x))",
    "evonorm-b1": "x / max(std[bhw](x), x * rms[hw](x) + rms[hw](x))",
    "evonorm-b2": "x / max(std[bhw](x), rms[hw](x) - x)",
    "evonorm-s0": "x * sigmoid(x * v1) / std[ghw](x)",
    "evonorm-s1": "x * sigmoid(x) / std[ghw](x)",
    "evonorm-s2": "x * sigmoid(x) / rms[ghw](x)",
    "layernorm": "(x - mean[d](x)) / std[d](x)",
    "rmsnorm": "x / rms[d](x)",
    "dyt": "tanh(x * v1 * 0.5)",
    "derf": "erf(x * v1 * 0.5 + v0)",
    "evonas-s1": "x * sigmoid(x + v1) / std[ghw](x)",
    "evonas-b1": "max((x - mean[bhw](x)) / std[bhw](x) / v1 + std[bhw](x), 0)",
}


@given(genomes())
def test_text_reads_back(genome: Genome) -> None:
    assert Genome.from_text(genome.to_text()) == genome
    assert "\n" not in genome.to_text()


@given(genomes(max_nodes=40))
def test_text_with_more_nodes_than_letters_reads_back(genome: Genome) -> None:
    assert Genome.from_text(genome.to_text()) == genome


@given(genomes())
def test_json_reads_back(genome: Genome) -> None:
    assert Genome.from_json(genome.to_json()) == genome
    assert json.loads(genome.to_json())["format"] == "evonas-genome/1"


def test_text_may_be_laid_out_freely() -> None:
    spread = "\n  gate=sigmoid( x )\n\n; size = std [ hw ]( x )\nratio = div(gate,size);\n"
    assert Genome.from_text(spread) == Genome.from_text("a = sigmoid(x); b = std[hw](x); div(a, b)")


def test_the_catalogue_has_exactly_the_known_layers_and_their_formulas() -> None:
    assert {name: genome.formula() for name, genome in CATALOGUE.items()} == FORMULAS


@pytest.mark.parametrize("name", CATALOGUE)
def test_known_layers_have_no_inactive_nodes_and_read_back(name: str) -> None:
    genome = CATALOGUE[name]
    assert genome.active() is genome
    assert Genome.from_text(genome.to_text()) == genome


def test_known_layers_differ() -> None:
    assert len({genome.key for genome in CATALOGUE.values()}) == len(CATALOGUE)


@pytest.mark.parametrize(
    ("layer", "plain", "latex"),
    [
        ("a = neg(x); b = square(a); neg(b)", "-(-x)^2", "-\\left(-x\\right)^2"),
        ("a = neg(x); add(a, v0)", "v0 - x", "v_0 - x"),
        ("a = neg(v0); add(x, a)", "x - v0", "x - v_0"),
        ("a = add(x, v0); b = neg(a); add(x, b)", "x - (x + v0)", "x - \\left(x + v_0\\right)"),
        ("a = div(x, v0); div(x, a)", "x / (x / v0)", "\\frac{x}{\\frac{x}{v_0}}"),
        ("a = mul(x, v0); div(x, a)", "x / (x * v0)", "\\frac{x}{x \\, v_0}"),
        ("a = exp(x); square(a)", "exp(x)^2", "\\left(e^{x}\\right)^2"),
        ("a = log(x); sqrt(a)", "sqrt(log(x))", "\\mathrm{sqrt}\\left(\\mathrm{log}\\left(x\\right)\\right)"),
        ("a = std[ghw](x); max(a, zero)", "max(std[ghw](x), 0)", "\\max\\left(s_{h,w,c/g}\\left(x\\right), 0\\right)"),
        (
            "a = min(x, 6); b = mul(a, -0.5); add(v0, b)",
            "v0 + min(x, 6) * (-0.5)",
            "v_0 + \\min\\left(x, 6\\right) \\, \\left(-0.5\\right)",
        ),
        ("a = mean[bhw](x); abs(a)", "abs(mean[bhw](x))", "\\left|\\mu_{b,h,w}\\left(x\\right)\\right|"),
    ],
)
def test_formulas_have_the_parentheses_they_need(layer: str, plain: str, latex: str) -> None:
    assert Genome.from_text(layer).formula(exact=True) == plain
    assert Genome.from_text(layer).formula(latex=True, exact=True) == latex


class Guarded:
    """Numbers whose operators are the primitives, so that a printed formula can be evaluated by Python."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __add__(self, other: "Guarded") -> "Guarded":
        return Guarded(self.array + other.array)

    def __sub__(self, other: "Guarded") -> "Guarded":
        return Guarded(self.array - other.array)

    def __mul__(self, other: "Guarded") -> "Guarded":
        return Guarded(self.array * other.array)

    def __truediv__(self, other: "Guarded") -> "Guarded":
        return Guarded(reference("div", [self.array, other.array], "", GROUPS, EPS))

    def __pow__(self, exponent: int) -> "Guarded":
        return Guarded(self.array**exponent)

    def __neg__(self) -> "Guarded":
        return Guarded(-self.array)


def function(op: str, axes: str = "") -> Any:
    return lambda *operands: Guarded(reference(op, [o.array for o in operands], axes, GROUPS, EPS))


def evaluate(formula: str, x: Array, parameters: dict[str, Array]) -> Array:
    """A plain formula as arithmetic: Python's own precedence rules against those of the printer."""
    names: dict[str, Any] = {"x": Guarded(x)}
    for name in ("v0", "v1"):
        names[name] = Guarded(np.broadcast_to(parameters[name][None, :, None, None], x.shape))
    names |= {PRIMITIVES[op].plain.template.partition("(")[0]: function(op) for op in of_kind("elementwise")}
    names |= {f"{op}_{axes}": function(op, axes) for op in of_kind("moment") for axes in INDEX_SETS}
    names["number"] = lambda value: Guarded(np.full_like(x, value))
    python = re.sub(r"\[(\w+)\]", r"_\1", formula)
    python = re.sub(r"(?<![\w.^])\d+(\.\d+)?(e[-+]?\d+)?", r"number(\g<0>)", python).replace("^", "**")
    expression, _, definitions = python.partition(" where ")
    with np.errstate(all="ignore"):
        for definition in filter(None, definitions.split("; ")):
            name, value = definition.split(" = ")
            names[name] = eval(value, {}, names)
        result: Array = eval(expression, {}, names).array
    return result


def assert_formula_computes(genome: Genome) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 5))
    parameters = {**random_parameters(4, seed=0), "weight": np.ones(4), "bias": np.zeros(4)}
    expected = interpret(genome, x, parameters, groups=GROUPS)
    value = evaluate(genome.formula(), x, parameters)
    np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-9, err_msg=genome.to_text())


def test_the_formula_computes_what_the_layer_computes() -> None:
    for genome in viable_genomes(200, seed=5):
        assert_formula_computes(genome)


def deep_genome(rng: random.Random) -> Genome:
    """Twenty bounded operations, each on one of the three nodes before it: most are used more than once."""
    nodes = [*INITIAL, Node("add", (0, 3))]
    while len(nodes) < 24:
        op = rng.choice(("add", "mul", "max", "neg", "sigmoid", "tanh"))
        inputs = tuple(len(nodes) - rng.randint(1, 3) for _ in range(PRIMITIVES[op].arity))
        nodes.append(Node(op, inputs))
    return Genome(tuple(nodes))


@given(genomes())
@settings(max_examples=50)
def test_a_formula_with_numbers_computes_what_the_layer_computes(genome: Genome) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 5))
    parameters = {**random_parameters(4, seed=0), "weight": np.ones(4), "bias": np.zeros(4)}
    assume(np.isfinite(interpret(genome, x, parameters, groups=GROUPS)).all())
    assert_formula_computes(genome)


def test_a_number_may_stand_in_the_place_of_an_operand() -> None:
    inline, spelled = (
        Genome.from_text("a = min(x, 6.0); max(a, 6)"),
        Genome.from_text("b = 6; a = min(x, b); max(a, b)"),
    )
    assert inline.key == spelled.key
    assert spelled.to_text() == "a = 6; b = min(x, a); max(b, a)"


def test_a_formula_with_definitions_computes_what_the_layer_computes(rng: random.Random) -> None:
    defined = [genome for genome in (deep_genome(rng) for _ in range(60)) if " where " in genome.formula()]
    assert len(defined) > 30
    for genome in defined:
        assert_formula_computes(genome)


def chain(op: str, length: int) -> Genome:
    """Each node takes the one before it as all of its operands."""
    operands = 1 if op == "square" else 2
    names = ["x", *(f"a{i}" for i in range(length))]
    return Genome.from_text(
        "; ".join(f"{names[i + 1]} = {op}({', '.join([names[i]] * operands)})" for i in range(length))
    )


@contextmanager
def at_most_calls(limit: int) -> Iterator[None]:
    """Python functions may be called so often meanwhile; the call after that raises."""
    calls = count(1)

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and next(calls) > limit:
            raise AssertionError(f"more than {limit} calls")

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("op", ["square", "mul"])
def test_the_formula_of_thirty_nested_products_is_short_and_fast(op: str) -> None:
    with at_most_calls(20_000):  # one for each of the 2^30 factors would be 50,000 times as many
        formula, latex = chain(op, 30).formula(exact=True), chain(op, 30).formula(latex=True, exact=True)
    assert len(formula) < 500
    assert len(latex) < 1000


def test_a_long_formula_gets_definitions_for_what_it_uses_more_than_once() -> None:
    assert chain("mul", 3).formula(exact=True) == "x * x * (x * x) * (x * x * (x * x))"
    assert chain("mul", 4).formula(exact=True) == "a * a where a = x * x * (x * x) * (x * x * (x * x))"
    assert chain("mul", 6).formula(exact=True) == "e * e where a = x * x; b = a * a; c = b * b; d = c * c; e = d * d"


def test_a_long_formula_without_repetitions_gets_no_definitions() -> None:
    assert chain("square", 60).formula(exact=True) == "(" * 59 + "x" + "^2)" * 59 + "^2"


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        ("", ["is empty", "sigmoid"]),
        (" ;\n; ", ["is empty"]),
        ("sigmoid(x", ["statement 'sigmoid(x'", "cannot be read", "name = op(operand, ...)"]),
        ("mul(x, sigmoid(x))", ["'mul(x, sigmoid(x))'", "one operation a statement"]),
        ("x", ["statement 'x'", "cannot be read"]),
        ("a = sigmoid(b); b = sigmoid(a)", ["'a = sigmoid(b)'", "'b' is used before it is defined", "cycle"]),
        ("a = sigmoid(a)", ["'a = sigmoid(a)'", "'a' is used before it is defined"]),
        ("sigmoid(y)", ["'sigmoid(y)'", "'y' is not defined", "x, zero, v0, v1"]),
        ("mul(x, )", ["'mul(x, )'", "''"]),
        ("a = tanh(x); a = exp(x)", ["'a = exp(x)'", "defined twice"]),
        ("x = tanh(x)", ["'x = tanh(x)'", "defined twice"]),
        ("sub(x, v0)", ["'sub(x, v0)'", "unknown primitive 'sub'", "add, mul"]),
        ("zero(x)", ["unknown primitive 'zero'"]),
        ("mul(x)", ["'mul(x)'", "mul has 1 operands", "2"]),
        ("sigmoid()", ["sigmoid has 0 operands", "1"]),
        ("min(x, inf)", ["'min(x, inf)'", "'inf' is not defined"]),
        ("6(x)", ["'6(x)'", "cannot be read", "name = number"]),
        ("std(x)", ["'std(x)'", "no index set", "bhw, chw, hw, ghw"]),
        ("std[b](x)", ["'std[b](x)'", "index set 'b'"]),
        ("tanh[hw](x)", ["'tanh[hw](x)'", "moments only"]),
    ],
)
def test_text_that_is_no_layer_is_refused_with_the_statement(layer: str, names: list[str]) -> None:
    with pytest.raises(InputError) as error:
        Genome.from_text(layer)
    assert all(name in str(error.value) for name in names)
    assert len(str(error.value).splitlines()) == 1


@given(st.text(alphabet="xv01abc=(),;[]hw \n\u2028sigmoidmulstd", max_size=40))
def test_any_text_is_a_layer_or_an_input_error_of_one_line(layer: str) -> None:
    message = ""
    try:
        genome = Genome.from_text(layer)
        assert Genome.from_text(genome.to_text()) == genome
    except InputError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


def as_json(nodes: object, layout: object = "evonas-genome/1") -> str:
    return json.dumps({"format": layout, "nodes": nodes})


START = [{"op": name} for name in ("x", "zero", "v0", "v1")]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("{", ["not JSON"]),
        ("[" * 100_000, ["not JSON"]),
        ("[]", ["format", "list", "evonas-genome/1"]),
        ("{}", ["format", "None", "evonas-genome/1"]),
        (as_json([], "evonas-genome/2"), ["format", "evonas-genome/2", "accepted: evonas-genome/1"]),
        (as_json({}), ["nodes", "a list"]),
        (as_json([]), ["initial nodes"]),
        (as_json([*START, 7]), ["nodes.4", "7"]),
        (as_json([*START, {"op": "neg", "inputs": [0], "slots": 1}]), ["nodes.4", "slots"]),
        (as_json([*START, {"op": 1, "inputs": [0]}]), ["nodes.4"]),
        (as_json([*START, {"op": "neg", "inputs": [0.0]}]), ["nodes.4"]),
        (as_json([*START, {"op": "neg", "inputs": [True]}]), ["nodes.4"]),
        (as_json([*START, {"op": "neg", "inputs": [0], "axes": None}]), ["nodes.4"]),
        (as_json([*START, {"op": "neg", "inputs": [4]}]), ["genome node 4", "earlier nodes"]),
        (as_json([*START, {"op": "neg", "inputs": [9]}]), ["genome node 4", "earlier nodes"]),
        (as_json([*START, {"op": "sub", "inputs": [0, 0]}]), ["genome node 4", "unknown primitive 'sub'"]),
        (as_json([*START, {"op": "6.0"}]), ["genome node 4", "number '6.0'", "accepted: '6'"]),
        (as_json([*START, {"op": "6", "inputs": [0]}]), ["genome node 4", "6 has 1 operands", "0"]),
        (as_json([*START, {"op": "std", "inputs": [0]}]), ["genome node 4", "no index set"]),
        (as_json([*START, {"op": "add", "inputs": [0]}]), ["genome node 4", "add has 1 operands"]),
    ],
)
def test_json_that_is_no_layer_is_refused_with_the_place(data: str, names: list[str]) -> None:
    with pytest.raises(InputError) as error:
        Genome.from_json(data)
    assert all(name in str(error.value) for name in names)
    assert len(str(error.value).splitlines()) == 1
