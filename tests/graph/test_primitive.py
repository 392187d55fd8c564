"""The table tests: every record of evonas under the checks that users run over theirs (``evonas.testing``).

Oracles: those of the checks; by hand where a convention is written out. A new record in the table is tested without a
change here, except for the counts of the default space.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from evonas.graph.primitive import (
    INDEX_SETS,
    INITIAL_NODES,
    PRIMITIVES,
    PUBLISHED,
    IndexSet,
    Primitive,
    constant,
    constant_op,
    of_kind,
    primitive_of,
)
from evonas.testing import ELEMENTWISE_CHECKS, INDEX_SET_CHECKS, MOMENT_CHECKS, moments, primitives
from evonas.testing.primitives import _POINTS, EPS

ELEMENTWISE, MOMENTS = of_kind("elementwise"), of_kind("moment")


def apply(op: str, *operands: Tensor) -> Tensor:
    return primitives.apply(PRIMITIVES[op], *operands)


def apply_moment(op: str, axes: str, x: Tensor) -> Tensor:
    return moments.apply_moment(PRIMITIVES[op], INDEX_SETS[axes], x)


def named(check: Callable[..., None]) -> str:
    return check.__name__


def test_the_table_holds_the_published_operations_and_three_more() -> None:
    assert INITIAL_NODES == ("x", "zero", "v0", "v1")
    assert len(ELEMENTWISE) == 15
    assert set(ELEMENTWISE + MOMENTS) - set(PUBLISHED) == {"min", "erf", "sin"}
    assert MOMENTS == ("mean", "rms", "std")
    assert [name for name, s in INDEX_SETS.items() if s.layout == "bchw"] == ["bhw", "chw", "hw", "ghw"]


@pytest.mark.parametrize("op", PRIMITIVES)
def test_a_primitive_says_what_it_is(op: str) -> None:
    assert PRIMITIVES[op].name == op
    primitives.says_what_it_is(PRIMITIVES[op])


@pytest.mark.parametrize("name", INDEX_SETS)
@pytest.mark.parametrize("check", INDEX_SET_CHECKS, ids=named)
def test_an_index_set_passes(name: str, check: Callable[[IndexSet], None]) -> None:
    check(INDEX_SETS[name])


@pytest.mark.parametrize("name", INDEX_SETS)
def test_an_index_set_reduces_over_whole_maps_or_within_a_token(name: str) -> None:
    over_map = set("hw") & set(INDEX_SETS[name].reduced)
    assert over_map == set("hw") or (not over_map and INDEX_SETS[name].layout == "btd")


@pytest.mark.parametrize("op", ELEMENTWISE)
@pytest.mark.parametrize("check", ELEMENTWISE_CHECKS, ids=named)
def test_an_elementwise_primitive_passes(op: str, check: Callable[[Primitive], None]) -> None:
    check(PRIMITIVES[op])


@pytest.mark.parametrize(("op", "axes"), list(itertools.product(MOMENTS, INDEX_SETS)))
@pytest.mark.parametrize("check", MOMENT_CHECKS, ids=named)
def test_a_moment_passes(op: str, axes: str, check: Callable[[Primitive, IndexSet], None]) -> None:
    check(PRIMITIVES[op], INDEX_SETS[axes])


def test_a_division_by_zero_is_one_by_eps() -> None:
    assert apply("div", torch.ones(1), torch.zeros(1)).item() == pytest.approx(1 / EPS)
    assert apply("div", torch.ones(1), torch.full((1,), -1e-30)).item() == pytest.approx(-1 / EPS)


def test_signed_root_and_logarithm_are_odd_and_zero_at_zero() -> None:
    x = torch.tensor(_POINTS)
    for op in ("sqrt", "log"):
        assert torch.equal(apply(op, -x), -apply(op, x))
        assert apply(op, torch.zeros(1)).item() == 0


def test_the_sine_and_its_gradients_are_those_of_torch() -> None:
    """Oracles: ``torch.sin`` and autograd, also many periods away from 0; 1 - x^2 / 2 for its slope near 0."""
    x = torch.tensor([-40.0, -3.0, -1e-3, 0.0, 1e-3, 1.6, 40.0], dtype=torch.float64, requires_grad=True)
    value = apply("sin", x)
    assert torch.equal(value, torch.sin(x))
    (found,) = torch.autograd.grad(value.sum(), x)
    record, points = PRIMITIVES["sin"], x.detach().numpy()
    assert record.numpy is not None
    assert record.reverse is not None
    (own,) = record.reverse(np.ones(7), record.numpy(points, EPS), points, EPS)
    np.testing.assert_allclose(own, found.numpy(), rtol=1e-12)
    assert found[4].item() == pytest.approx(1 - 1e-6 / 2, abs=1e-12)


def test_centred_moments_ignore_a_shift_and_uncentred_ones_do_not() -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4, 3, 5)))
    torch.testing.assert_close(apply_moment("std", "hw", x + 7), apply_moment("std", "hw", x))
    assert (apply_moment("rms", "hw", x + 7) > apply_moment("rms", "hw", x) + 3).all()


@pytest.mark.parametrize("value", [6.0, 0.1, -0.5, 1e-5, 1e300])
def test_a_number_is_an_operation_that_reads_back(value: float) -> None:
    op = constant_op(value)
    assert constant(op) == value
    assert (primitive_of(op).arity, primitive_of(op).kind) == (0, "constant")


@pytest.mark.parametrize("op", ["x", "min", "nan", "inf", "1e999", ""])
def test_names_and_what_is_not_finite_are_no_numbers(op: str) -> None:
    assert constant(op) is None
