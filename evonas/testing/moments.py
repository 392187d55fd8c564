"""Checks of a moment over an index set. Oracles: as for other primitives, with averages that numpy takes."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from evonas.graph import functions
from evonas.graph.genome import Genome
from evonas.graph.primitive import INDEX_SETS, IndexSet, Primitive, average_over, reference, takes
from evonas.testing import layers
from evonas.testing.layers import EPS
from evonas.testing.sentences import require, saying

_GROUPS = 2
SHAPE = (3, 4, 5, 2)


def apply_moment(moment: Primitive, index_set: IndexSet, x: Tensor) -> Tensor:
    """The torch function of a moment, with size 1 along the axes that it is taken over."""
    extra = (EPS,) if moment.guarded else ()
    assert moment.torch is not None
    if index_set.grouped:
        dims = (2, *("bgchw".index(letter) for letter in index_set.reduced))
        grouped = moment.torch(functions.split_groups(x, _GROUPS), dims, *extra)
        return functions.merge_groups(grouped, x)
    return moment.torch(x, tuple("bchw".index(letter) for letter in index_set.reduced), *extra)


def _noise(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.5


def _named(moment: Primitive, index_set: IndexSet) -> str:
    return f"{moment.name}[{index_set.name}]"


def moment_equals_numpy(moment: Primitive, index_set: IndexSet) -> None:
    """The torch function gives what the numpy reference gives."""
    x = _noise(1)
    expected = torch.from_numpy(reference(moment.name, [x.numpy()], index_set.name, _GROUPS, EPS).copy())
    with saying(f"The torch function of {_named(moment, index_set)!r} differs from its numpy reference"):
        torch.testing.assert_close(apply_moment(moment, index_set, x).expand_as(x), expected, rtol=1e-12, atol=1e-12)


def takes_reduced_shapes(moment: Primitive, index_set: IndexSet) -> None:
    """Of a value in reduced shape it gives what it gives of the repeated value."""
    x = _noise(1, (1, 4, 1, 1))
    repeated = x.expand(SHAPE)
    with saying(f"{_named(moment, index_set)!r} of a value that repeats differs from that of the value"):
        torch.testing.assert_close(
            apply_moment(moment, index_set, x).expand_as(repeated),
            apply_moment(moment, index_set, repeated).expand_as(repeated),
        )


def moment_has_the_gradient_of_finite_differences(moment: Primitive, index_set: IndexSet) -> None:
    """The gradient of the torch function is that of finite differences."""
    x = _noise(2, (2, 4, 2, 3)).requires_grad_()
    with saying(f"The gradient of {_named(moment, index_set)!r} differs from finite differences"):
        torch.autograd.gradcheck(lambda t: apply_moment(moment, index_set, t), (x,))


def moment_has_the_reverse_rule_of_autograd(moment: Primitive, index_set: IndexSet) -> None:
    """The reverse-mode rule in numpy gives what torch's autograd gives."""
    x, gradient = _noise(4).requires_grad_(), _noise(5)
    value = apply_moment(moment, index_set, x).expand_as(x)
    (expected,) = torch.autograd.grad(value, x, gradient)
    average = average_over(index_set.name, _GROUPS)
    assert moment.reverse is not None
    with saying(f"The reverse rule of {_named(moment, index_set)!r} differs from autograd"):
        (found,) = moment.reverse(gradient.numpy(), value.detach().numpy(), x.detach().numpy(), average, EPS)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9, atol=1e-12)


def is_finite_of_a_constant(moment: Primitive, index_set: IndexSet) -> None:
    """Value and gradient are finite where nothing varies."""
    for point in (0.0, 1e-30, 40.0):
        x = torch.full((2, 4, 3, 3), point).requires_grad_()
        value = apply_moment(moment, index_set, x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        finite = bool(torch.isfinite(value).all() and torch.isfinite(gradient).all())
        require(finite, f"{_named(moment, index_set)!r} of the constant {point} is not finite, or its gradient.")


def widens_half_precision(moment: Primitive, index_set: IndexSet) -> None:
    """Of bfloat16 it gives what it gives of float32."""
    half = _noise(3, (4, 4, 16, 16)).bfloat16()
    with saying(f"{_named(moment, index_set)!r} of bfloat16 differs from that of float32"):
        torch.testing.assert_close(apply_moment(moment, index_set, half), apply_moment(moment, index_set, half.float()))


def moment_makes_layers(moment: Primitive, index_set: IndexSet) -> None:
    """Layers with it read back, are lowered, exported, pickled and screened as their numpy references say."""
    call = _named(moment, index_set)
    centred = f"a = mean[{index_set.name}](x); b = neg(a); c = add(x, b)"
    texts = [
        f"{call}(x)",
        f"{call}(v1)",
        f"a = {call}(x); mul(x, a)",
        f"a = {call}(x); b = mul(x, v1); add(b, a)",
        f"a = tanh(x); b = {call}(a); c = {call}(b); add(x, c)",
        f"{centred}; d = {call}(x); div(c, d)",
    ]
    for text in texts:
        layers.check_layer(text)
    layers.draws(Genome.from_text(texts[-1]))


MOMENT_CHECKS: tuple[Callable[[Primitive, IndexSet], None], ...] = (
    moment_equals_numpy,
    takes_reduced_shapes,
    moment_has_the_gradient_of_finite_differences,
    moment_has_the_reverse_rule_of_autograd,
    is_finite_of_a_constant,
    widens_half_precision,
    moment_makes_layers,
)


def check_moment(moment: Primitive) -> None:
    """Check a registered moment over every index set that it may be taken over."""
    for index_set in INDEX_SETS.values():
        if takes(moment, index_set):
            for check in MOMENT_CHECKS:
                check(moment, index_set)
