"""Functions with gradients in closed form. Oracles: what torch records for the same formula, and finite differences."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from evonas.graph import functions

ALL = {"hw": (2, 3), "chw": (1, 2, 3), "bhw": (0, 2, 3)}
ROW = (1, 3, 1, 1)  # a value for each channel

UNARY: list[tuple[Callable[..., Tensor], Callable[..., Tensor]]] = [
    (functions.variance, lambda x, dims: (x - x.mean(dims, keepdim=True)).square().mean(dims, keepdim=True)),
    (functions.mean_square, lambda x, dims: x.square().mean(dims, keepdim=True)),
    (functions.mean, lambda x, dims: x.mean(dims, keepdim=True)),
]
BINARY: list[tuple[Callable[..., Tensor], Callable[..., Tensor]]] = [
    (functions.maximum, torch.maximum),
    (functions.quotient, torch.div),
]
STANDARDIZE: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {  # of 4 channels; axes of [b, 2, 2, h, w]
    "layer": (lambda x: functions.standardize(x, 1, 0.1), (1, 2, 3, 4)),
    "group": (lambda x: functions.standardize(x, 2, 0.1), (2, 3, 4)),
    "instance": (lambda x: functions.standardize(x, 4, 0.1), (3, 4)),
    "features": (lambda x: functions.standardize_features(x, 0.1), (1, 2)),
}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape or (2, 3, 4, 5), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_same(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    leaves = [[x.clone().requires_grad_() for x in inputs] for _ in range(2)]
    values = [f(*xs) for f, xs in zip((ours, theirs), leaves, strict=True)]
    torch.testing.assert_close(values[0], values[1])
    weights = numbers(*values[0].shape, seed=5)
    torch.testing.assert_close(
        *(torch.autograd.grad((v * weights).sum(), xs) for v, xs in zip(values, leaves, strict=True))
    )


@pytest.mark.parametrize("dims", ALL.values(), ids=ALL)
@pytest.mark.parametrize(("ours", "theirs"), UNARY)
def test_moments_and_their_gradients_are_those_torch_records(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], dims: tuple[int, ...]
) -> None:
    assert_same(lambda x: ours(x, dims), lambda x: theirs(x, dims), [numbers() + 2])


@pytest.mark.parametrize("shapes", [((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 4, 5), ROW), (ROW, (2, 3, 4, 5))])
@pytest.mark.parametrize(("ours", "theirs"), BINARY)
def test_functions_of_two_and_their_gradients_are_those_torch_records(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], shapes: tuple[tuple[int, ...], ...]
) -> None:
    assert_same(ours, theirs, [numbers(*shape, seed=seed) for seed, shape in enumerate(shapes)])


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: functions.variance(x * y, (2, 3)),
        lambda x, y: functions.mean_square(x * y, (0, 2, 3)),
        functions.maximum,
        functions.quotient,
    ],
)
def test_first_and_second_derivatives_equal_finite_differences(function: Callable[..., Tensor]) -> None:
    inputs = numbers(2, 3, 2, 2).requires_grad_(), (numbers(*ROW, seed=1).abs() + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def standardized(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """The formula; 0.1 is eps."""
    parts = x.unflatten(1, (2, 2))
    centred = parts - parts.mean(axes, keepdim=True)
    return (centred / (centred.square().mean(axes, keepdim=True) + 0.1).sqrt()).flatten(1, 2)


@pytest.mark.parametrize("kind", STANDARDIZE)
def test_standardizing_is_the_formula_also_its_derivatives_and_of_several_at_once(kind: str) -> None:
    function, axes = STANDARDIZE[kind]
    assert_same(function, lambda x: standardized(x, axes), [numbers(2, 4, 3, 2) + 2])
    several = [torch.func.vmap(f, in_dims=2) for f in (function, lambda x: standardized(x, axes))]
    assert_same(*several, [numbers(2, 4, 5, 3, 2)])
    assert torch.autograd.gradgradcheck(function, (numbers(2, 4, 2, 2).requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", STANDARDIZE)
def test_standardizing_half_precision_rounds_the_result_of_single_precision(kind: str, dtype: torch.dtype) -> None:
    function, _ = STANDARDIZE[kind]
    x = (numbers(2, 4, 3, 2) + 100).to(dtype)
    assert torch.equal(function(x), function(x.float()).to(dtype))


def test_where_both_are_equal_the_second_has_the_gradient() -> None:
    x, y = (torch.tensor([1.0, 2.0]).requires_grad_() for _ in range(2))
    of_x, of_y = torch.autograd.grad(functions.maximum(x, y).sum(), [x, y])
    assert of_x.tolist() == [0, 0]
    assert of_y.tolist() == [1, 1]


def test_a_number_that_is_none_is_passed_on_by_the_maximum() -> None:
    nan, one = torch.tensor(torch.nan), torch.tensor(1.0)
    assert functions.maximum(nan, one).isnan()
    assert functions.maximum(one, nan).isnan()


@pytest.mark.parametrize("function", [functions.variance, functions.mean_square])
def test_moments_keep_their_input_and_nothing_else_of_its_size(function: Callable[..., Tensor]) -> None:
    x, kept = numbers().requires_grad_(), list[Tensor]()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        function(x, (2, 3))
    assert [t.data_ptr() for t in kept if t.numel() == x.numel()] == [x.data_ptr()]


def test_functional_gradients_exist() -> None:
    x = numbers()
    gradient = torch.func.grad(lambda x: functions.variance(x, (0, 1, 2, 3)).sum())(x)
    torch.testing.assert_close(gradient, 2 * (x - x.mean()) / x.numel())


@pytest.mark.parametrize("dims", [*ALL.values(), (0, -1)])
@pytest.mark.parametrize("axis", [0, 2, -1])
@pytest.mark.parametrize(("ours", "theirs"), UNARY)
def test_moments_of_several_at_once_are_those_of_each(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], axis: int, dims: tuple[int, ...]
) -> None:
    def each(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        return torch.func.vmap(torch.func.vmap(lambda x: function(x, dims), in_dims=axis), in_dims=1)

    assert_same(each(ours), each(theirs), [numbers(2, 3, 4, 5, 2, 3)])


def test_the_affine_leaves_its_input_as_it_was() -> None:
    x, scale, shift = numbers(), numbers(*ROW, seed=1), numbers(*ROW, seed=2)
    before = x.clone()
    torch.testing.assert_close(functions.affine(x, scale, shift), before * scale + shift)
    assert torch.equal(x, before)
