"""The table tests: every primitive's torch function against its numpy reference and against finite differences, and
its reverse-mode rule in numpy against torch's autograd.

Oracles: ``Primitive.numpy`` in float64, ``torch.autograd``, its ``gradcheck``, and float32 for bfloat16. A new
record in the table is tested without a change here, except for the counts of the default space.
"""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from evonas.graph import functions
from evonas.graph.primitive import (
    ELEMENTWISE,
    INDEX_SETS,
    INITIAL_NODES,
    MOMENTS,
    PRIMITIVES,
    PUBLISHED,
    average_over,
    constant,
    constant_op,
    primitive_of,
    reference,
)

EPS = 1e-5
GROUPS = 2
GRID = (0.0, 1e-30, 1e-12, EPS, 0.01, 0.5, 1.0, 2.5, 40.0)
POINTS = tuple(sign * value for value in GRID for sign in (1.0, -1.0))  # 0.0 and -0.0 included

MOMENT_CASES = tuple(itertools.product(MOMENTS, INDEX_SETS))


def apply(op: str, *operands: Tensor) -> Tensor:
    primitive = PRIMITIVES[op]
    assert primitive.torch is not None
    return primitive.torch(*operands, EPS) if primitive.guarded else primitive.torch(*operands)


def apply_moment(op: str, axes: str, x: Tensor) -> Tensor:
    function, extra = PRIMITIVES[op].torch, (EPS,) if PRIMITIVES[op].guarded else ()
    assert function is not None
    if INDEX_SETS[axes].grouped:
        dims = (2, *("bgchw".index(letter) for letter in INDEX_SETS[axes].reduced))
        grouped = function(functions.split_groups(x, GROUPS), dims, *extra)
        return functions.merge_groups(grouped, x)
    return function(x, tuple("bchw".index(letter) for letter in INDEX_SETS[axes].reduced), *extra)


def grid(op: str) -> list[Tensor]:
    """All combinations of the sample points, one tensor per operand."""
    rows = list(itertools.product(POINTS, repeat=PRIMITIVES[op].arity))
    return [torch.tensor(column) for column in zip(*rows, strict=True)]


def smooth_points(op: str) -> list[Tensor]:
    """Operands away from 0 and from each other, where every primitive is differentiable."""
    draw = torch.Generator().manual_seed(0)
    first = 0.3 + 1.5 * torch.rand(12, generator=draw, dtype=torch.float64)
    first[::2] *= -1
    second = first + torch.where(torch.arange(12) % 3 == 0, -0.17, 0.23)
    return [t.requires_grad_() for t in (first, second)[: PRIMITIVES[op].arity]]


def test_the_table_holds_the_published_operations_and_two_more() -> None:
    assert INITIAL_NODES == ("x", "zero", "v0", "v1")
    assert len(ELEMENTWISE) == 14
    assert set(ELEMENTWISE + MOMENTS) - set(PUBLISHED) == {"min", "erf"}
    assert MOMENTS == ("mean", "rms", "std")
    assert [name for name, s in INDEX_SETS.items() if s.layout == "bchw"] == ["bhw", "chw", "hw", "ghw"]


@pytest.mark.parametrize("op", PRIMITIVES)
def test_a_primitive_has_a_meaning_a_source_and_two_formulas(op: str) -> None:
    primitive = PRIMITIVES[op]
    assert primitive.name == op
    assert primitive.meaning
    assert primitive.source
    for form in (primitive.plain, primitive.latex):
        operands = [f"<{slot}>" for slot in range(primitive.arity)]
        printed = form.template.format(*operands, axes="hw")
        assert all(operand in printed for operand in operands)


@pytest.mark.parametrize("name", INDEX_SETS)
def test_an_index_set_has_a_meaning_and_reduces_over_whole_maps_or_within_a_token(name: str) -> None:
    index_set = INDEX_SETS[name]
    assert index_set.meaning
    assert index_set.latex
    over_map = set("hw") & set(index_set.reduced)
    assert over_map == set("hw") or (not over_map and index_set.layout == "btd")
    assert index_set.over_tokens == bool(over_map)
    assert index_set.reduced or index_set.grouped


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_the_torch_function_equals_the_numpy_reference(op: str) -> None:
    operands = [t.double() for t in grid(op)]
    expected = reference(op, [t.numpy() for t in operands], "", GROUPS, EPS)
    torch.testing.assert_close(apply(op, *operands), torch.from_numpy(expected), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(("op", "axes"), MOMENT_CASES)
def test_a_moment_equals_the_numpy_reference(op: str, axes: str) -> None:
    x = torch.randn(3, 4, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.5
    expected = torch.from_numpy(reference(op, [x.numpy()], axes, GROUPS, EPS).copy())
    torch.testing.assert_close(apply_moment(op, axes, x).expand_as(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("op", "axes"), MOMENT_CASES)
def test_a_moment_of_a_value_in_reduced_shape_equals_that_of_the_repeated_value(op: str, axes: str) -> None:
    x = torch.randn(1, 4, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    repeated = x.expand(3, 4, 5, 2)
    torch.testing.assert_close(
        apply_moment(op, axes, x).expand_as(repeated), apply_moment(op, axes, repeated).expand_as(repeated)
    )


@pytest.mark.parametrize("op", [op for op in ELEMENTWISE if PRIMITIVES[op].commutative])
def test_a_primitive_marked_commutative_is(op: str) -> None:
    x, y = grid(op)
    assert torch.equal(apply(op, x, y), apply(op, y, x))


@pytest.mark.parametrize(
    "op", [op for op in ELEMENTWISE if PRIMITIVES[op].arity == 2 and not PRIMITIVES[op].commutative]
)
def test_a_binary_primitive_not_marked_commutative_is_not(op: str) -> None:
    x, y = grid(op)
    assert not torch.equal(apply(op, x, y), apply(op, y, x))


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_the_gradient_equals_finite_differences(op: str) -> None:
    assert torch.autograd.gradcheck(lambda *operands: apply(op, *operands), smooth_points(op))


@pytest.mark.parametrize(("op", "axes"), MOMENT_CASES)
def test_the_gradient_of_a_moment_equals_finite_differences(op: str, axes: str) -> None:
    x = torch.randn(2, 4, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: apply_moment(op, axes, t), (x,))


@pytest.mark.parametrize("op", ELEMENTWISE)
@pytest.mark.parametrize("points", [grid, smooth_points])
def test_the_reverse_rule_gives_what_autograd_gives(op: str, points: Callable[[str], list[Tensor]]) -> None:
    operands = [t.detach().double().requires_grad_() for t in points(op)]
    value = apply(op, *operands)
    gradient = torch.linspace(-2, 3, value.numel(), dtype=torch.float64)
    expected = torch.autograd.grad(value, operands, gradient)
    rule = PRIMITIVES[op].reverse
    assert rule is not None
    arrays = [t.detach().numpy() for t in operands]
    found = rule(gradient.numpy(), value.detach().numpy(), *arrays, EPS)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("op", "axes"), MOMENT_CASES)
def test_the_reverse_rule_of_a_moment_gives_what_autograd_gives(op: str, axes: str) -> None:
    draw = torch.Generator().manual_seed(4)
    x, gradient = (torch.randn(3, 4, 5, 2, dtype=torch.float64, generator=draw) + 0.5 for _ in range(2))
    x.requires_grad_()
    value = apply_moment(op, axes, x).expand_as(x)
    (expected,) = torch.autograd.grad(value, x, gradient)
    rule = PRIMITIVES[op].reverse
    assert rule is not None
    average = average_over(axes, GROUPS)
    (found,) = rule(gradient.numpy(), value.detach().numpy(), x.detach().numpy(), average, EPS)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_value_and_gradient_are_finite_on_the_grid(op: str) -> None:
    operands = [t.requires_grad_() for t in grid(op)]
    value = apply(op, *operands)
    assert torch.isfinite(value).all()
    for gradient in torch.autograd.grad(value.sum(), operands):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("op", "axes"), MOMENT_CASES)
@pytest.mark.parametrize("point", [0.0, 1e-30, 40.0])
def test_value_and_gradient_of_a_moment_of_a_constant_are_finite(op: str, axes: str, point: float) -> None:
    x = torch.full((2, 4, 3, 3), point).requires_grad_()
    value = apply_moment(op, axes, x)
    (gradient,) = torch.autograd.grad(value.sum(), x)
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("op", ELEMENTWISE)
def test_bfloat16_agrees_with_float32(op: str) -> None:
    half = [t.detach().bfloat16() for t in smooth_points(op)]
    value = apply(op, *half)
    assert value.dtype == torch.bfloat16
    torch.testing.assert_close(value.float(), apply(op, *(t.float() for t in half)), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("op", "axes"), MOMENT_CASES)
def test_a_moment_of_bfloat16_is_that_of_float32(op: str, axes: str) -> None:
    half = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(3)).add(1).bfloat16()
    torch.testing.assert_close(apply_moment(op, axes, half), apply_moment(op, axes, half.float()))


def test_a_division_by_zero_is_one_by_eps() -> None:
    assert apply("div", torch.ones(1), torch.zeros(1)).item() == pytest.approx(1 / EPS)
    assert apply("div", torch.ones(1), torch.full((1,), -1e-30)).item() == pytest.approx(-1 / EPS)


def test_signed_root_and_logarithm_are_odd_and_zero_at_zero() -> None:
    x = torch.tensor(POINTS)
    for op in ("sqrt", "log"):
        assert torch.equal(apply(op, -x), -apply(op, x))
        assert apply(op, torch.zeros(1)).item() == 0


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
