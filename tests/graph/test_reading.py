"""Formulas typed back.

Oracles: the layer that was printed, by its key or by the values of the numpy interpreter; text forms written by hand.
"""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import genomes, interpret, random_parameters

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.primitive import INDEX_SETS, PRIMITIVES, Primitive, PrintedForm, of_kind, register_primitive, takes
from evonas.registry import UnknownNameError


@given(genomes(axes=tuple(INDEX_SETS), numbers=("6", "-0.5", "0.001", "0", "-0", "1e-05", "1e+30")))
def test_an_exact_formula_gives_the_same_layer(genome: Genome) -> None:
    assert Genome.from_formula(genome.formula(exact=True)).key == genome.key


@given(genomes(max_nodes=30))
def test_the_exact_formula_of_a_large_layer_gives_the_same_layer(genome: Genome) -> None:
    assert Genome.from_formula(genome.formula(exact=True)).key == genome.key


@pytest.mark.parametrize("name", CATALOGUE)
def test_formulas_of_known_layers_can_be_typed_back(name: str) -> None:
    genome = CATALOGUE[name]
    assert Genome.from_formula(genome.formula(exact=True)).key == genome.key
    assert Genome.from_formula(genome.formula()).formula() == genome.formula()
    x, parameters = np.random.default_rng(0).standard_normal((2, 4, 3, 5)), random_parameters(4, seed=0)
    expected = interpret(genome, x, parameters, groups=2)
    values = interpret(Genome.from_formula(genome.formula()), x, parameters, groups=2)
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)


def test_every_primitive_and_index_set_can_be_typed() -> None:
    for name in of_kind("elementwise", "moment"):
        primitive = PRIMITIVES[name]
        fitting = [axes for axes, index_set in INDEX_SETS.items() if takes(primitive, index_set)]
        for axes in [f"[{axes}]" for axes in fitting] if primitive.kind == "moment" else [""]:
            text = f"{name}{axes}({', '.join(['x', 'v1', 'v0'][: primitive.arity])})"
            genome = Genome.from_text(text)
            assert Genome.from_formula(text) == Genome.from_formula(genome.formula()) == genome


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("x + v0 + v1", "a = add(x, v0); add(a, v1)"),
        ("x + (v0 + v1)", "a = add(v0, v1); add(x, a)"),
        ("x - v0 - v1", "a = neg(v0); b = add(x, a); c = neg(v1); add(b, c)"),
        ("x / v0 / v1", "a = div(x, v0); div(a, v1)"),
        ("x / (v0 * v1)", "a = mul(v0, v1); div(x, a)"),
        ("x / v0 * v1", "a = div(x, v0); mul(a, v1)"),
        ("x + v0 * v1^2", "a = square(v1); b = mul(v0, a); add(x, b)"),
        ("x + v0 * v1**2", "a = square(v1); b = mul(v0, a); add(x, b)"),
        ("-x * v1", "a = mul(x, v1); neg(a)"),
        ("x * -v1", "a = neg(v1); mul(x, a)"),
        ("-x^2", "a = square(x); neg(a)"),
        ("(-x)^2", "a = neg(x); square(a)"),
        ("--x", "a = neg(x); neg(a)"),
        ("-2 * x", "a = -2; mul(a, x)"),
        ("-2^2", "a = 2; b = square(a); neg(b)"),
        ("-(2)", "a = 2; neg(a)"),
        ("2 x", "a = 2; mul(a, x)"),
        ("2 x / v1", "a = 2; b = mul(a, x); div(b, v1)"),
        ("-0.5 (x + v0)", "a = -0.5; b = add(x, v0); mul(a, b)"),
        ("2 tanh(x)^2", "a = 2; b = tanh(x); c = square(b); mul(a, c)"),
        ("x^5", "a = square(x); b = square(a); mul(b, x)"),
        ("1e-3*x", "a = 0.001; mul(a, x)"),
        (".5*x", "a = 0.5; mul(a, x)"),
        ("max(x, 0)", "max(x, zero)"),
        ("max(x, zero)", "max(x, zero)"),
        ("max(x, 0.0)", "a = 0; max(x, a)"),
        ("mul(x, sigmoid(x))", "a = sigmoid(x); mul(x, a)"),
        (" std [ hw ] ( x )\n* v1 ", "a = std[hw](x); mul(a, v1)"),
        ("a * a where a = x + b; b = v0", None),
        ("a * b where a = x + v0; b = a^2", "a = add(x, v0); b = square(a); mul(a, b)"),
        ("tanh(x) + tanh(x)", "a = tanh(x); add(a, a)"),
        ("x", "add(x, zero)"),
        ("0", "add(zero, zero)"),
        ("6", "6"),
    ],
)
def test_what_people_write(typed: str, text: str | None) -> None:
    if text is None:
        with pytest.raises(InputError, match="'b' is used before it is defined"):
            Genome.from_formula(typed)
    else:
        assert Genome.from_formula(typed) == Genome.from_text(text)


@pytest.mark.parametrize(
    ("typed", "character", "words"),
    [
        ("x * sigmod(x)", 5, ["unknown primitive 'sigmod'", "sigmoid, tanh", "did you mean 'sigmoid'?"]),
        ("ssqrt(x)", 1, ["'ssqrt'", "did you mean 'sqrt'?"]),
        ("x + y", 5, ["unknown name 'y'", "x, zero, v0, v1"]),
        ("x + sigmoit", 5, ["did you mean 'sigmoid'?"]),
        ("x + v2", 5, ["unknown name 'v2'", "x, zero, v0, v1"]),
        ("x * sigmoid", 5, ["'sigmoid' is a function", "sigmoid(x)"]),
        ("std(x)", 1, ["std with no index set", "std[I], I one of bhw"]),
        ("x / std[gh](x)", 5, ["unknown index set 'gh'", "bhw, chw", "did you mean 'ghw'?"]),
        ("tanh[hw](x)", 1, ["tanh with index set 'hw'", "moments only"]),
        ("std[](x)", 5, ["found ']'", "an index set"]),
        ("std[hw] * x", 9, ["found '*'", "'('"]),
        ("max(x)", 1, ["max has 1 operands", "accepted: 2"]),
        ("x + tanh(x, v0)", 5, ["tanh has 2 operands", "accepted: 1"]),
        ("tanh()", 1, ["tanh has 0 operands", "accepted: 1"]),
        ("max(x, )", 8, ["found ')'", "a number"]),
        ("(x + v0", 8, ["it ends here", "')'"]),
        ("x + v0)", 7, ["found ')'", "an operator, or the end"]),
        ("x *", 4, ["it ends here", "a function or '('"]),
        ("x * / v0", 5, ["found '/'"]),
        ("x v0", 3, ["found 'v0'", "an operator"]),
        ("x / 2 v0", 7, ["found 'v0'", "an operator"]),
        ("2 3", 3, ["found '3'"]),
        ("x^0.5", 3, ["found '0.5'", "a whole number from 2 on"]),
        ("x^1", 3, ["found '1'", "a whole number from 2 on"]),
        ("x^2^2", 4, ["found '^'", "parentheses"]),
        ("x^99999999999999999999", 3, ["a whole number"]),
        ("1e999 * x", 1, ["1e999 is too large"]),
        ("x · v0", 3, ["found '·'"]),
        ("x = 2", 3, ["found '='"]),
        ("a where", 8, ["it ends here", "definitions such as"]),
        ("a where a", 10, ["it ends here", "'='"]),
        ("a where a = x a", 15, ["found 'a'", "';' and another definition"]),
        ("a where a = x; a = v0", 16, ["'a' is defined twice"]),
        ("a where x = v0", 9, ["'x' is defined twice"]),
        ("b where a = x + 1", 1, ["unknown name 'b'", "v1, a, a number"]),
        ("(" * 101 + "x" + ")" * 101, 102, ["more than 100 levels of parentheses"]),
    ],
)
def test_what_is_no_formula_is_refused_where_it_goes_wrong(typed: str, character: int, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        Genome.from_formula(typed)
    message = str(caught.value)
    assert f"character {character}:" in message
    assert all(word in message for word in words), message
    assert len(message.splitlines()) == 1


def test_an_unknown_function_may_be_that_of_an_extension() -> None:
    with pytest.raises(UnknownNameError, match="--extension MODULE"):
        Genome.from_formula("swoosh(x)")


@given(st.text(alphabet="xv01a=(),;[]hw \n+-*/^.e2é whersigmoidmulstd", max_size=40))
def test_any_text_is_a_formula_or_an_input_error_of_one_line(typed: str) -> None:
    message = ""
    try:
        genome = Genome.from_formula(typed)
        assert Genome.from_formula(genome.formula(exact=True)).key == genome.key
    except InputError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


def test_many_signs_are_read_and_written_without_recursion() -> None:
    for before in ("", "x * "):
        genome = Genome.from_formula(before + "-" * 4001 + "x")
        assert len(genome.nodes) == 4 + 4001 + bool(before)
        assert genome.formula().count("-") == 4001


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x + x


def register(name: str, plain: str, precedence: int = 5) -> Primitive:
    """An operation of a user that doubles, printed so."""
    return register_primitive(
        Primitive(
            name,
            1,
            doubled,
            lambda x, _: x + x,
            lambda g, *_: (g + g,),
            PrintedForm(plain, precedence, (precedence,)),
            PrintedForm(rf"\mathrm{{{{{name}}}}}\left({{0}}\right)"),
            "x + x",
            source="these tests",
        )
    )


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("plain", "precedence", "printed"),
    [
        ("twice({0})", 5, "twice(tanh(x))"),
        ("Dbl({0})", 5, "Dbl(tanh(x))"),  # another name than in the text notation
        ("2 * {0}", 2, "2 * tanh(x)"),  # reads as other operations that compute the same
        ("{0} doubled", 5, "twice(tanh(x))"),  # cannot be read: written by its name
    ],
)
def test_formulas_with_an_operation_of_a_user_can_be_typed_back(plain: str, precedence: int, printed: str) -> None:
    register("twice", plain, precedence)
    genome = Genome.from_text("a = tanh(x); twice(a)")
    assert genome.formula() == printed
    assert Genome.from_formula(genome.formula(exact=True)).key == genome.key
    x, parameters = np.random.default_rng(0).standard_normal((2, 4, 3, 5)), random_parameters(4, seed=0)
    values = interpret(Genome.from_formula(printed), x, parameters, groups=2)
    np.testing.assert_allclose(values, interpret(genome, x, parameters, groups=2), rtol=1e-12)
