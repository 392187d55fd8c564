"""Oracles: layers whose fate follows from arithmetic; algebraic identities and their near misses for fingerprints; the
numpy interpreter, which tells equal functions from different ones on inputs of its own; and the published layers,
which all pass and all differ. The share of viable random layers was measured before, in numpy.
"""

import os
import random
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles import genomes, interpret

from evonas.config import LayerConfig, NumericsConfig, ProtocolsConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.node import NUM_INITIAL, Node
from evonas.graph.primitive import PRIMITIVES
from evonas.graph.space import SearchSpace
from evonas.layer.lower import lower
from evonas.search.outcome import Rejection
from evonas.search.protocols import (
    OVERFLOW,
    Protocol,
    Screens,
    fingerprint,
    holds,
    numerics,
    register_protocol,
    repeats,
    structure,
    unreached,
)

LAYER, NUMERICS = LayerConfig(), NumericsConfig()
NO_INPUT, NO_VARIATION = "output does not depend on the input", "output does not vary over batch and space"


def screens(numerics: NumericsConfig = NUMERICS) -> Screens:
    return Screens(ProtocolsConfig(numerics=numerics), LAYER)


def layer(text: str) -> Genome:
    return Genome.from_text(text)


def print_of(text: str) -> str:
    return fingerprint(layer(text), LAYER)


@pytest.mark.parametrize(
    ("text", "reason", "detail"),
    [
        ("neg(v0)", NO_INPUT, ""),
        ("neg(zero)", NO_INPUT, ""),
        ("a = exp(v1); mean[bhw](a)", NO_INPUT, ""),
        ("a = std[hw](x); b = neg(a); max(v0, v1)", NO_INPUT, ""),  # what uses x is inactive
        ("mean[chw](x)", NO_VARIATION, "constant along h, w"),
        ("a = std[ghw](x); mul(a, v1)", NO_VARIATION, "constant along h, w"),
        ("a = rms[hw](x); add(a, v0)", NO_VARIATION, "constant along h, w"),
        ("mean[bhw](x)", NO_VARIATION, "constant along b, h, w"),
        ("a = mean[bhw](x); b = rms[hw](a); div(b, v1)", NO_VARIATION, "constant along b, h, w"),
    ],
)
def test_structure_rejects_what_cannot_work_whatever_the_numbers(text: str, reason: str, detail: str) -> None:
    assert structure(layer(text)) == Rejection("structure", reason, detail=detail)


@pytest.mark.parametrize(
    "text", ["neg(x)", "mul(x, zero)", "a = mean[bhw](x); add(a, x)", "a = sigmoid(x); b = mean[chw](a); max(b, x)"]
)
def test_structure_passes_what_may_vary(text: str) -> None:
    assert structure(layer(text)) is None


@given(genomes())
def test_what_structure_rejects_is_constant_in_numbers_too(genome: Genome) -> None:
    rejection = structure(genome)
    assume(rejection is not None)
    x = np.random.default_rng(0).standard_normal((3, 4, 3, 2))
    parameters = {name: np.linspace(0.5, 1.5, 4) for name in ("v0", "v1", "weight", "bias")}
    y = interpret(genome, x, parameters, groups=2)
    assume(np.isfinite(y).all())
    assert rejection is not None
    axes = tuple("bchw".index(a) for a in (rejection.detail or "constant along b, h, w").split("along ")[1].split(", "))
    assert np.all(np.ptp(y, axis=axes) <= 1e-9 * np.abs(y).max())


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("a = square(x); b = exp(a); exp(b)", "scale 1, input 3x8x6x5"),
        ("a = square(x); exp(a)", "scale 10, input 3x8x6x5"),
        ("a = exp(x); b = exp(a); c = std[hw](b); div(x, c)", "scale 10, input 3x8x6x5"),  # nan in the end
    ],
)
def test_overflow_is_found_at_the_scale_where_it_happens(text: str, detail: str) -> None:
    assert numerics(layer(text), NUMERICS, LAYER) == Rejection("numerics", "output is not finite", detail=detail)


def test_scales_are_those_of_the_configuration() -> None:
    growing = layer("a = square(x); exp(a)")
    assert numerics(growing, NumericsConfig(scales=(1.0,)), LAYER) is None
    found = numerics(growing, NumericsConfig(scales=(0.5, 1.0, 30.0)), LAYER)
    assert found is not None
    assert found.detail.startswith("scale 30,")


def test_a_gradient_that_overflows_is_found_behind_a_finite_output() -> None:
    steep = layer("a = square(x); b = exp(a); c = square(b); d = mul(b, c); square(d)")  # e^(6 x^2)
    found = numerics(steep, NumericsConfig(scales=(1.0,)), LAYER)
    assert found == Rejection("numerics", "gradient is not finite", detail="scale 1, input 3x8x6x5")


@pytest.mark.parametrize(
    "text",
    [
        "a = neg(x); add(x, a)",
        "a = exp(x); b = neg(a); c = mul(b, v1); d = mul(a, v1); add(c, d)",
        "mul(x, zero)",
        "a = square(x); b = neg(a); max(b, zero)",
        "a = exp(v1); b = exp(a); c = square(b); d = abs(x); e = add(c, d); sigmoid(e)",  # 1 but for rounding
        "a = std[hw](x); b = mul(a, zero); c = div(x, x); add(b, c)",
        "a = add(x, v0); b = neg(a); c = add(x, b); tanh(c)",
    ],
)
def test_an_output_that_ignores_an_input_it_reaches_is_rejected(text: str) -> None:
    assert structure(layer(text)) is None
    found = numerics(layer(text), NumericsConfig(scales=(1.0,)), LAYER)
    assert found is not None
    assert (found.stage, found.reason) == ("numerics", NO_INPUT)
    assert found.limit is not None


@pytest.mark.parametrize(
    "text",
    [
        "a = mul(x, zero); b = mean[hw](x); c = square(b); max(a, c)",
        "a = neg(x); b = add(x, a); c = rms[chw](x); add(b, c)",
    ],
)
def test_an_output_without_variation_over_space_is_found_by_its_numbers(text: str) -> None:
    assert structure(layer(text)) is None
    found = numerics(layer(text), NUMERICS, LAYER)
    assert found is not None
    assert (found.stage, found.reason) == ("numerics", "output is constant over space")
    assert found.measured is not None
    assert found.limit is not None
    assert found.measured <= found.limit


@pytest.mark.parametrize("name", CATALOGUE)
def test_published_layers_pass_all_screens(name: str) -> None:
    assert structure(CATALOGUE[name]) is None
    assert numerics(CATALOGUE[name], NumericsConfig(scales=(0.01, 1.0, 10.0, 100.0)), LAYER) is None
    assert screens()(CATALOGUE[name]) == fingerprint(CATALOGUE[name], LAYER)


def test_published_layers_have_different_fingerprints() -> None:
    prints = {fingerprint(genome, LAYER) for genome in CATALOGUE.values()}
    assert len(prints) == len(CATALOGUE) == 17
    assert all(len(p) == 16 and int(p, 16) >= 0 for p in prints)


def test_screens_run_cheapest_first_and_tell_the_first_reason() -> None:
    assert screens()(layer("a = exp(v0); b = exp(a); c = exp(b); exp(c)")) == Rejection("structure", NO_INPUT)
    overflow = screens()(layer("a = square(x); b = exp(a); exp(b)"))
    assert isinstance(overflow, Rejection)
    assert overflow.reason == "output is not finite"


def test_a_repetition_names_the_candidate_that_was_first() -> None:
    assert repeats(17) == Rejection("equivalence", "same function as an earlier candidate", detail="candidate 17")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # a (b c) = (a b) c
        ("a = sigmoid(x); b = mul(x, v1); mul(a, b)", "a = sigmoid(x); b = mul(a, x); mul(b, v1)"),
        ("a = exp(x); b = add(x, v0); add(a, b)", "a = exp(x); b = add(a, x); add(b, v0)"),
        ("mul(x, x)", "square(x)"),
        ("a = neg(x); b = neg(a); sigmoid(b)", "sigmoid(x)"),
        ("a = add(x, v0); b = mul(a, v1); tanh(b)", "a = mul(x, v1); b = mul(v0, v1); c = add(a, b); tanh(c)"),
        ("max(x, zero)", "a = abs(x); b = max(x, zero); max(b, x)"),
        ("a = neg(x); abs(a)", "abs(x)"),
        ("a = mean[hw](x); mul(a, x)", "a = mean[hw](x); b = mean[hw](a); mul(b, x)"),
        ("tanh(x)", "a = exp(v0); b = std[bhw](x); c = mul(a, zero); d = tanh(x); add(c, d)"),
        ("sigmoid(x)", "a = neg(x); b = sigmoid(a); c = neg(b); d = exp(zero); add(c, d)"),  # 1 - sigmoid(-x)
        # what is left of (e^x + v0) - e^x - v0 is no value
        (
            "max(x, zero)",
            "a = exp(x); b = add(a, v0); c = neg(a); d = add(b, c); e = neg(v0); f = add(d, e);"
            " g = max(x, zero); add(f, g)",
        ),
        ("a = add(x, x); mean[hw](x); square(a)", "a = square(x); b = add(a, a); add(b, b)"),
    ],
)
def test_one_function_written_in_two_ways_has_one_fingerprint(one: str, other: str) -> None:
    assert layer(one).key != layer(other).key
    assert print_of(one) == print_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a = mul(x, v1); sigmoid(a)", "sigmoid(x)"),  # equal while v1 is 1
        ("max(x, v0)", "max(x, zero)"),  # equal while v0 is 0
        ("add(x, v0)", "neg(x)"),
        ("a = exp(v0); mul(a, x)", "mul(x, v1)"),
        ("mul(x, v0)", "mul(x, v1)"),
        ("a = std[ghw](x); div(x, a)", "a = std[chw](x); div(x, a)"),
        ("a = std[ghw](x); div(x, a)", "a = std[hw](x); div(x, a)"),
        ("a = std[bhw](x); div(x, a)", "a = std[hw](x); div(x, a)"),
        ("a = std[hw](x); div(x, a)", "a = rms[hw](x); div(x, a)"),
        ("abs(x)", "max(x, zero)"),
        ("sqrt(x)", "log(x)"),
        ("div(x, v1)", "mul(x, v1)"),
        ("a = abs(x); add(x, a)", "max(x, zero)"),  # a factor of 2 is not merged
        ("square(x)", "a = square(x); add(a, v0)"),
    ],
)
def test_different_functions_have_different_fingerprints(one: str, other: str) -> None:
    assert print_of(one) != print_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("max(x, v1)", "a = mean[ghw](v0); b = max(x, v1); max(a, b)"),
        ("abs(x)", "a = div(x, zero); b = tanh(a); mul(x, b)"),  # differ for |x| below eps
        ("a = log(x); exp(a)", "a = log(x); b = exp(a); c = std[hw](zero); max(b, c)"),  # c is sqrt(eps)
    ],
)
def test_functions_that_differ_in_few_places_have_different_fingerprints(one: str, other: str) -> None:
    assert print_of(one) != print_of(other)


@pytest.mark.parametrize(
    ("value", "held"),
    [(1.0, True), (-OVERFLOW, True), (1.1 * OVERFLOW, False), (-1e200, False), (np.nan, False), (-np.inf, False)],
)
def test_single_precision_holds_what_is_finite_and_not_above_its_largest_number(value: float, held: bool) -> None:
    with np.errstate(all="ignore"):
        assert holds([np.zeros(3), np.array([0.5, value, -0.5])]) is held
        assert bool(np.isfinite(np.float32(value))) is held


def test_a_value_on_the_way_that_overflows_counts_though_the_output_is_finite() -> None:
    hidden = layer("a = square(x); b = exp(a); c = exp(b); d = tanh(c); mul(d, x)")  # tanh of infinity is 1
    found = numerics(hidden, NumericsConfig(scales=(1.0,)), LAYER)
    assert found == Rejection("numerics", "output is not finite", detail="scale 1, input 3x8x6x5")


def test_a_fingerprint_is_no_sum_over_the_output() -> None:
    plain, mirrored = "a = neg(x); neg(a)", "a = mean[hw](x); b = add(a, a); c = neg(x); add(b, c)"  # x and 2 mean - x
    values = [interpret(layer(text), *_probe(), groups=4) for text in (plain, mirrored)]
    for total in (np.sum, lambda y: np.square(y).sum(), lambda y: y.sum((2, 3))):
        np.testing.assert_allclose(total(values[0]), total(values[1]))
    assert print_of(plain) != print_of(mirrored)


def test_eps_is_part_of_the_function() -> None:
    genome = CATALOGUE["evonorm-s0"]
    assert fingerprint(genome, LayerConfig(eps=1e-2)) != fingerprint(genome, LAYER)


def test_groups_and_momentum_of_the_search_do_not_change_fingerprints() -> None:
    for genome in CATALOGUE.values():
        assert fingerprint(genome, LayerConfig(groups=8, momentum=0.5)) == fingerprint(genome, LAYER)


@settings(max_examples=30)
@given(genomes(), st.randoms(use_true_random=False))
def test_operand_order_and_inactive_nodes_do_not_change_fingerprints(genome: Genome, rng: random.Random) -> None:
    assume(isinstance(screens()(genome), str))
    nodes = list(genome.nodes)
    for position, node in enumerate(nodes):
        if node.inputs and PRIMITIVES[node.op].commutative and rng.random() < 0.5:
            nodes[position] = Node(node.op, node.inputs[::-1], node.axes)
    nodes.insert(NUM_INITIAL, Node("exp", (0,)))
    moved = [Node(n.op, tuple(i + (i >= NUM_INITIAL) for i in n.inputs), n.axes) for n in nodes[NUM_INITIAL + 1 :]]
    variant = Genome((*nodes[: NUM_INITIAL + 1], *moved))
    assert variant != genome
    assert fingerprint(variant, LAYER) == fingerprint(genome, LAYER)


def _probe() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Inputs and parameters that are none of the protocols' own."""
    draw = np.random.default_rng(5)
    x = 2 * draw.standard_normal((3, 16, 5, 4)) + 0.3 * draw.standard_normal((1, 16, 1, 1))
    v0, v1 = draw.standard_normal(16), 1 + 0.3 * draw.standard_normal(16)
    return x, {"v0": v0, "v1": v1, "weight": np.ones(16), "bias": np.zeros(16)}


def test_fingerprints_of_random_layers_agree_with_the_interpreter() -> None:
    rng, passed, screen = random.Random(0), list[tuple[str, np.ndarray]](), screens()
    while len(passed) < 40:
        genome = SearchSpace().sample(rng)
        result = screen(genome)
        if isinstance(result, str):
            x, parameters = _probe()
            for name in unreached(genome, LAYER.eps):  # these are functions of their own only while they could train
                parameters[name] = np.full(16, {"v0": 0.0, "v1": 1.0}[name])
            passed.append((result, interpret(genome, x, parameters, groups=4)))
    merged = 0
    for (first, one), (second, other) in combinations(passed, 2):
        equal = np.allclose(one, other, rtol=2e-5, atol=1e-9 * np.abs(one).max())
        assert (first == second) == equal
        merged += equal
    assert merged > 0


def test_fingerprints_are_the_same_in_another_process() -> None:
    program = (
        "import torch; torch.set_num_threads(2); torch.manual_seed(99)\n"
        "from evonas.config import LayerConfig\n"
        "from evonas.search.protocols import fingerprint\n"
        "from evonas.graph.catalogue import CATALOGUE\n"
        "for name in reversed(CATALOGUE): print(name, fingerprint(CATALOGUE[name], LayerConfig()))\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "123"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    found = dict(line.split() for line in done.stdout.splitlines())
    assert found == {name: fingerprint(genome, LAYER) for name, genome in CATALOGUE.items()}


def test_screens_neither_use_nor_change_the_global_generators() -> None:
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
        results.append([screens()(genome) for genome in CATALOGUE.values()])
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (random.getstate(), str(np.random.get_state())) == states[1:]  # noqa: NPY002
    assert results[0] == results[1]


def test_the_shares_of_random_layers_that_structure_rejects_are_as_measured_before() -> None:
    rng, space, count = random.Random(1), SearchSpace(), 3000
    found = [structure(space.sample(rng)) for _ in range(count)]
    without_input = sum(r is not None and r.reason == NO_INPUT for r in found) / count
    passed = sum(r is None for r in found) / count
    assert without_input == pytest.approx(0.687, abs=0.03)  # 68.3 % and 69.1 %
    assert passed == pytest.approx(0.10, abs=0.02)  # 10.4 % vary over space


def test_about_a_tenth_of_random_layers_is_viable() -> None:
    rng, space, screen = random.Random(2), SearchSpace(), screens()
    found = [screen(space.sample(rng)) for _ in range(300)]
    assert sum(isinstance(result, str) for result in found) / 300 == pytest.approx(0.10, abs=0.05)  # 10.3 %, 9.5 %


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a = square(x); max(a, v0)", {"v0"}),
        ("a = square(v0); add(a, x)", {"v0"}),
        ("a = std[chw](v1); b = rms[hw](x); c = add(a, b); div(x, c)", {"v1"}),
        ("a = square(v0); b = mul(a, v1); add(b, x)", {"v0", "v1"}),  # neither moves while the other has not
        ("a = add(v1, -1); b = mul(a, v0); c = mul(x, v1); add(b, c)", set()),  # v1 trains, and then v0 does
        ("a = mean[ghw](v0); b = max(x, v1); max(a, b)", set()),  # v1 may train to below 0, and then v0 does
        ("max(x, v0)", set()),
        ("add(x, v0)", set()),
        ("a = square(v0); sigmoid(x)", set()),  # not in use
        (CATALOGUE["evonorm-b0"].to_text(), set()),
        (CATALOGUE["bn-relu"].to_text(), set()),
    ],
)
def test_parameters_that_no_gradient_reaches_are_found(text: str, names: set[str]) -> None:
    assert unreached(layer(text), LAYER.eps) == names
    module = lower(layer(text), 8, layout="bchw", groups=4)
    x = torch.randn(4, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):  # the oracle: training moves what a gradient reaches, and nothing else
        optimizer.zero_grad()
        (module(x) - torch.linspace(0, 1, 8).view(1, 8, 1, 1)).square().mean().backward()
        optimizer.step()
    still = {
        n for n, start in (("v0", 0.0), ("v1", 1.0)) if (p := getattr(module, n)) is not None and (p == start).all()
    }
    assert names <= still


@pytest.mark.parametrize(
    ("with_it", "without"),
    [
        ("a = square(x); max(a, v0)", "square(x)"),
        ("a = square(v0); b = add(a, x); tanh(b)", "tanh(x)"),
        ("a = sigmoid(x); b = mean[chw](v0); max(a, b)", "sigmoid(x)"),
        (
            "a = std[chw](v1); b = rms[hw](x); c = add(a, b); div(x, c)",
            "a = rms[hw](v0); b = rms[hw](x); c = add(a, b); div(x, c)",
        ),
    ],
)
def test_what_never_trains_makes_no_other_layer(with_it: str, without: str) -> None:
    assert print_of(with_it) == print_of(without)


@pytest.mark.usefixtures("tables")
def test_protocols_of_users_run_where_they_say_in_the_order_in_which_they_are_named() -> None:
    calls: list[str] = []

    def own(name: str, after: str) -> str:
        def reject(_: Genome) -> None:
            calls.append(name)

        return register_protocol(Protocol(name, reject, "all", after)).name

    names = [own("late", "numerics"), own("second", "structure"), own("last", "equivalence"), own("first", "structure")]
    named = ProtocolsConfig(screens=("structure", "numerics", "equivalence", "first", "late", "last", "second"))
    screen, genome = Screens(named, LAYER), CATALOGUE["evonorm-s0"]
    assert screen(genome) == fingerprint(genome, LAYER)
    assert calls == ["first", "second", "late"]
    assert screen.probe(genome) is None
    assert calls[3:] == ["last"]
    assert isinstance(screen(layer("exp(v0)")), Rejection)
    assert len(calls) == 4  # structure comes first
    assert isinstance(screen(layer("a = square(x); b = exp(a); exp(b)")), Rejection)
    assert calls[4:] == ["first", "second"]
    Screens(ProtocolsConfig(), LAYER)(genome)
    assert len(calls) == 6  # none was named
    assert names == ["late", "second", "last", "first"]


@pytest.mark.usefixtures("tables")
def test_a_rejection_of_a_user_s_protocol_has_its_name_as_stage() -> None:
    genome = CATALOGUE["evonorm-s0"]
    register_protocol(Protocol("mine", lambda _: Rejection("mine", "no"), "none"))
    register_protocol(Protocol("wrong", lambda _: Rejection("numerics", "no"), "none", "equivalence"))
    screen = Screens(ProtocolsConfig(screens=("mine", "wrong")), LAYER)
    assert screen(genome) == Rejection("mine", "no")
    with pytest.raises(InputError, match="protocol 'wrong': gives a rejection of stage 'numerics'"):
        screen.probe(genome)


def test_an_unknown_screen_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"protocols\.screens: unknown screen 'numeric'; .*equivalence; did you"):
        Screens(ProtocolsConfig(screens=("numeric",)), LAYER)
