"""The checks of ``evonas.testing`` on records of evonas, and on records with one mistake each, which must be told.

The tables of primitives and index sets are checked in ``tests/graph/test_primitive.py``.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erfc
from torch import Tensor, nn

from evonas import (
    Genome,
    IndexSet,
    Objective,
    Primitive,
    PrintedForm,
    Protocol,
    Rejection,
    SearchSpace,
    Task,
    mutate,
    testing,
)
from evonas.search.objectives import OBJECTIVES
from evonas.search.protocols import PROTOCOLS
from evonas.steering import AffineMap, Method
from evonas.studies.steering.methods import METHODS

pytestmark = pytest.mark.usefixtures("tables")


def cube(x: Tensor) -> Tensor:
    return torch.pow(x, 3).to(x.dtype)


def multiply_add(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return x * y + z


def widened(x: Tensor) -> Tensor:
    return cube(x.float() if x.dtype == torch.bfloat16 else x)


def reciprocal(x: Tensor) -> Tensor:
    return 1 / x


class Table:
    power = 3


def of_a_class(x: Tensor) -> Tensor:
    return torch.pow(x, Table().power) + 0 * np.pi


CUBE = Primitive(
    name="cube",
    arity=1,
    torch=cube,
    numpy=lambda x, _: x**3,
    reverse=lambda g, _v, x, _: (3 * g * x**2,),
    plain=PrintedForm("cube({0})"),
    latex=PrintedForm("{0}^3", 4, (5,)),
    meaning="x^3",
    source="these tests",
)
FMA = Primitive(
    name="fma",
    arity=3,
    torch=multiply_add,
    numpy=lambda x, y, z, _: x * y + z,
    reverse=lambda g, _v, x, y, _z, _: (g * y, g * x, g),
    plain=PrintedForm("fma({0}, {1}, {2})", operands=(0, 0, 0)),
    latex=PrintedForm("\\mathrm{{fma}}\\left({0}, {1}, {2}\\right)", operands=(0, 0, 0)),
    meaning="x y + z",
    source="these tests",
)


ERFC = Primitive(
    "erfc",
    1,
    torch.special.erfc,
    lambda x, _: erfc(x),
    lambda g, _v, x, _: (-g * 2 / np.sqrt(np.pi) * np.exp(-x * x),),
    PrintedForm("erfc({0})"),
    PrintedForm("\\mathrm{{erfc}}\\left({0}\\right)"),
    "1 - erf(x)",
    source="these tests",
)


@pytest.mark.parametrize("primitive", [CUBE, FMA, ERFC], ids=lambda primitive: primitive.name)
def test_a_primitive_of_a_user_passes(primitive: Primitive) -> None:
    testing.check_primitive(primitive)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"numpy": lambda x, _: x**3 + 1e-9}, ["torch function", "differs from its numpy reference"]),
        ({"numpy": lambda x, _: x**3 if x.ndim == 1 else x**3 + 1}, ["depends on the shape"]),
        ({"reverse": lambda g, _v, x, _: (g * x**2,)}, ["reverse rule", "differs from autograd"]),
        ({"torch": widened}, ["turns bfloat16 into torch.float32"]),
        (
            {"torch": reciprocal, "numpy": lambda x, _: 1 / x, "reverse": lambda g, v, *_: (-g * v * v,)},
            ["not finite at [(0.0,)"],
        ),
        ({"plain": PrintedForm("tanh({0})")}, ["plain formula", "is that of tanh"]),
        ({"latex": PrintedForm("{0}^3", 4, (0,))}, ["have one formula"]),
        ({"plain": PrintedForm("cube({0}, {1})")}, ["cannot be registered"]),
        ({"plain": PrintedForm("cube{0"), "arity": 1}, ["cannot be registered", "brace"]),
        ({"meaning": ""}, ["cannot be registered", "no meaning"]),
        ({"source": ""}, ["cannot be registered", "no source"]),
        ({"name": "a b"}, ["cannot be registered", "is no name"]),
        ({"name": "nan"}, ["cannot be registered", "is no name"]),
        ({"name": "tanh"}, ["cannot be registered", "another primitive has this name"]),
        ({"kind": "initial", "arity": 0}, ["cannot be registered", "kind 'initial'"]),
        ({"commutative": True}, ["has one operand to commute"]),
        ({"torch": lambda x: x**3}, ["cannot be exported", "defined inside of something else"]),
        ({"torch": of_a_class}, ["cannot be exported", "uses 'np'"]),
    ],
)
def test_a_mistake_in_a_primitive_is_told(mistake: dict[str, Any], words: list[str]) -> None:
    with np.errstate(all="ignore"), pytest.raises(AssertionError) as error:
        testing.check_primitive(replace(CUBE, **mistake))
    assert all(word in str(error.value) for word in words), error.value


def test_a_product_that_is_not_marked_commutative_is_told() -> None:
    product = replace(
        FMA,
        name="product",
        arity=2,
        torch=torch.mul,
        numpy=lambda x, y, _: x * y,
        reverse=lambda g, _v, x, y, _: (g * y, g * x),
        plain=PrintedForm("product({0}, {1})"),
        latex=PrintedForm("P({0}, {1})"),
    )
    with pytest.raises(AssertionError, match="'product' is commutative and is not marked so"):
        testing.check_primitive(product)


WIDE = IndexSet("cw", "cw", False, "c,w", "per sample and row", "bchw")


def test_an_index_set_of_a_user_passes() -> None:
    testing.check_index_set(WIDE)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"reduced": "bw"}, ["reduces the batch otherwise than as b, h, w"]),
        ({"reduced": "xy"}, ["some of the axes b, c, h, w"]),
        ({"reduced": ""}, ["some of the axes"]),
        ({"grouped": True}, ["all channels and groups of them"]),
        ({"layout": "bcdhw"}, ["layout 'bcdhw'"]),
        ({"latex": ""}, ["no latex"]),
        ({"name": "hw"}, ["another index set has this name"]),
    ],
)
def test_a_mistake_in_an_index_set_is_told(mistake: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(AssertionError) as error:
        testing.check_index_set(replace(WIDE, **mistake))
    assert all(word in str(error.value) for word in ["cannot be registered", *words]), error.value


def absolute(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    return x.float().abs().mean(dims, keepdim=True)  # not in double precision


def test_a_mistake_in_a_moment_is_told() -> None:
    moment = replace(
        CUBE,
        name="absolute",
        torch=absolute,
        numpy=lambda x, average, _: average(np.abs(x)),
        reverse=lambda g, _v, x, average, _: (average(g) * np.sign(x),),
        plain=PrintedForm("absolute[{axes}]({0})"),
        latex=PrintedForm("A_{{{axes}}}({0})"),
        kind="moment",
    )
    with pytest.raises(AssertionError, match=r"'absolute\[chw\]' differs from its numpy reference"):
        testing.check_primitive(moment)
    with pytest.raises(AssertionError, match=r"cannot be registered.*running"):
        testing.check_primitive(replace(moment, name="running", running=True))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_of_evonas_passes(name: str) -> None:
    testing.check_objective(OBJECTIVES[name])


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"weight": 2.0}, ["cannot be registered", "weight 2.0"]),
        ({"measure": lambda _: float("nan")}, ["gives nan for bn-relu"]),
        ({"measure": lambda _: "much"}, ["gives 'much'"]),
        ({"measure": lambda subject: subject.colour}, ["fails on bn-relu", "colour"]),
        ({"name": "own"}, ["cannot be registered", "is no name"]),
        ({"meaning": ""}, ["cannot be registered", "no meaning"]),
    ],
)
def test_a_mistake_in_an_objective_is_told(mistake: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(AssertionError) as error:
        testing.check_objective(replace(Objective("mine", 1.0, lambda _: 1.0, "one"), **mistake))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_of_evonas_passes(name: str) -> None:
    testing.check_protocol(PROTOCOLS[name])


COUNT = iter(range(10**6))


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"reject": lambda _: Rejection("numerics", "no")}, ["stage 'numerics', which is not its name"]),
        ({"reject": lambda _: Rejection("mine", "no")}, ["rejects every layer"]),
        ({"reject": lambda _: True}, ["gives True, no Rejection"]),
        ({"reject": lambda _: Rejection("mine", "no", measured=next(COUNT))}, ["says two things"]),
        ({"reject": lambda _: random.random() and None}, ["draws from a global random generator"]),
        ({"reject": lambda genome: genome.colour}, ["fails on", "colour"]),
        ({"name": "quality"}, ["cannot be registered", "that of a stage"]),
        ({"after": "training"}, ["cannot be registered", "structure, numerics, equivalence"]),
    ],
)
def test_a_mistake_in_a_protocol_is_told(mistake: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(AssertionError) as error:
        testing.check_protocol(replace(Protocol("mine", lambda _: None, "all"), **mistake))
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("name", METHODS)
def test_a_steering_method_of_evonas_passes(name: str) -> None:
    testing.check_steering_method(METHODS[name])


def shift(source: Tensor, target: Tensor) -> AffineMap:
    return AffineMap(torch.ones_like(source[0]), target.mean(0) - source.mean(0))


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"estimate": lambda s, t: shift(s, t).bias}, ["gives Tensor, no AffineMap"]),
        ({"estimate": lambda s, t: AffineMap(s.std(0), t.std(0) / 0)}, ["bias of 'mine'", "finite numbers"]),
        ({"estimate": lambda s, t: shift(s.double(), t)}, ["weight of 'mine'", "samples' type"]),
        ({"estimate": lambda s, t: shift(s, t.solve())}, ["fails on samples"]),
        ({"estimate": lambda s, t: shift(s, t + next(COUNT))}, ["gives other maps when it is fitted again"]),
        ({"name": "none"}, ["cannot be registered"]),
        ({"estimate": None}, ["cannot be registered"]),
    ],
)
def test_a_mistake_in_a_steering_method_is_told(mistake: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(AssertionError) as error:
        testing.check_steering_method(replace(Method("mine", shift, "1, a shift", "these tests"), **mistake))
    assert all(word in str(error.value) for word in words), error.value


def network(seed: int) -> nn.Module:
    draw = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return model


def noise(seed: int) -> Iterator[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    while True:
        yield torch.randn(5, 3, 6, 6, generator=draw)


def regression(model: nn.Module, x: Tensor) -> Tensor:
    return (model(x).flatten() - x.mean((1, 2, 3))).square().mean()


TASK = Task("noise", network, noise, regression, lambda model: -regression(model, next(noise(0))).item())


def test_a_task_of_a_user_passes() -> None:
    testing.check_task(TASK)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"build": lambda _: network(next(COUNT))}, ["two networks from one seed"]),
        ({"batches": lambda _: noise(next(COUNT))}, ["two streams of batches"]),
        ({"batches": lambda _: noise(0)}, ["the same batches whatever the seed"]),
        ({"loss": lambda model, x: regression(model, x) * float("nan")}, ["loss", "no finite number"]),
        ({"loss": lambda *_: torch.zeros((), requires_grad=True) * 1}, ["has no gradient"]),
        ({"metric": lambda _: float("inf")}, ["metric", "inf"]),
        ({"metric": lambda _: next(COUNT)}, ["for one network"]),
        ({"build": lambda _: nn.Sequential(nn.Conv2d(3, "4", 3))}, ["cannot build its network"]),
    ],
)
def test_a_mistake_in_a_task_is_told(mistake: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(AssertionError) as error:
        testing.check_task(replace(TASK, **mistake))
    assert all(word in str(error.value) for word in words), error.value


def test_a_genome_of_a_user_s_primitive_is_sampled_and_mutated() -> None:
    testing.check_primitive(FMA)
    space, rng = SearchSpace(("fma", "add", "std"), ("hw",), 5), random.Random(0)
    genomes = [space.sample(rng) for _ in range(50)]
    assert any(node.op == "fma" and len(set(node.inputs)) == 3 for g in genomes for node in g.nodes)
    children = [mutate(genome, space, rng, point=0.5)[0] for genome in genomes]
    assert all(Genome.from_text(child.to_text()) == child for child in children)
