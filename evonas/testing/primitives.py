"""Checks of primitives.

Oracles: the record's own numpy reference in float64, ``torch.autograd``, its ``gradcheck``, and float32 for bfloat16.
"""

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from evonas.graph.genome import Genome
from evonas.graph.primitive import PRIMITIVES, Primitive, reference, register_primitive
from evonas.testing import layers
from evonas.testing.layers import EPS, GROUPS
from evonas.testing.moments import check_moment
from evonas.testing.sentences import require, saying

_GRID = (0.0, 1e-30, 1e-12, EPS, 0.01, 0.5, 1.0, 2.5, 40.0)
_POINTS = tuple(sign * value for value in _GRID for sign in (1.0, -1.0))  # 0.0 and -0.0 included


def apply(primitive: Primitive, *operands: Tensor) -> Tensor:
    """The torch function of an elementwise primitive."""
    assert primitive.torch is not None
    return primitive.torch(*operands, EPS) if primitive.guarded else primitive.torch(*operands)


def grid(primitive: Primitive) -> list[Tensor]:
    """All combinations of the sample points, one tensor per operand."""
    rows = list(itertools.product(_POINTS, repeat=primitive.arity))
    return [torch.tensor(column) for column in zip(*rows, strict=True)]


def smooth_points(primitive: Primitive) -> list[Tensor]:
    """Operands away from 0 and from each other, where every primitive is differentiable."""
    draw = torch.Generator().manual_seed(0)
    found = [0.3 + 1.5 * torch.rand(12, generator=draw, dtype=torch.float64)]
    found[0][::2] *= -1
    while len(found) < primitive.arity:
        found.append(found[-1] + torch.where(torch.arange(12) % 3 == 0, -0.17, 0.23))
    return [tensor.requires_grad_() for tensor in found]


def says_what_it_is(primitive: Primitive) -> None:
    """It has a meaning, a source and two formulas that hold every operand, unlike those of others."""
    name = primitive.name
    require(primitive.meaning and primitive.source, f"The primitive {name!r} has no meaning or no source.")
    for kind in ("plain", "latex"):
        form = getattr(primitive, kind)
        marks = [f"<{slot}>" for slot in range(primitive.arity)]
        printed = form.template.format(*marks, axes="hw")
        require(all(mark in printed for mark in marks), f"The {kind} formula of {name!r} leaves an operand out.")
        others = [other.name for other in PRIMITIVES.values() if other.name != name]
        same = [other for other in others if getattr(PRIMITIVES[other], kind).template == form.template]
        require(not same, f"The {kind} formula of {name!r} is that of {', '.join(same)}.")


def prints_unambiguously(primitive: Primitive) -> None:
    """Nested either way with a primitive of evonas it prints two formulas: parentheses are where needed."""
    own, exact = _call(primitive, "x"), primitive.name in PRIMITIVES.builtin  # those of users are not simplified
    for other in (PRIMITIVES[name] for name in PRIMITIVES.builtin):
        if other.kind != "elementwise" or other.name == primitive.name:
            continue
        inside, outside = (f"a = {_call(one, 'x')}; {_call(two, 'a')}" for one, two in _both(primitive, other))
        for latex in (False, True):
            pair = [Genome.from_text(text) for text in (inside, outside)]
            first, second = (genome.formula(latex=latex, exact=exact) for genome in pair)
            require(first != second, f"{inside!r} and {outside!r} have one formula, {first!r}.")
    if primitive.arity > 1 and not primitive.commutative:
        swapped = _call(primitive, "v0").replace("(v0, v1", "(v1, v0", 1)
        formulas = {Genome.from_text(text).formula() for text in (_call(primitive, "v0"), swapped)}
        require(len(formulas) == 2, f"The formula of {own!r} does not show the order of its operands.")


def _both(one: Primitive, other: Primitive) -> tuple[tuple[Primitive, Primitive], tuple[Primitive, Primitive]]:
    return (one, other), (other, one)


def _call(primitive: Primitive, first: str) -> str:
    """A call of which every operand is another thing."""
    rest = ("v1", "0.5", "2", "3", "4", "5", "6", "7", "8")[: primitive.arity - 1]
    return f"{primitive.name}({', '.join((first, *rest))})"


def equals_numpy(primitive: Primitive) -> None:
    """The torch function gives what the numpy reference gives, on any shape of array."""
    operands = [t.double() for t in grid(primitive)]
    arrays = [t.numpy() for t in operands]
    expected = reference(primitive.name, arrays, "", GROUPS, EPS)
    with saying(f"The torch function of {primitive.name!r} differs from its numpy reference"):
        torch.testing.assert_close(apply(primitive, *operands), torch.from_numpy(expected), rtol=1e-12, atol=1e-300)
    other = reference(primitive.name, [a.reshape(2, -1, 3, 1) for a in arrays], "", GROUPS, EPS)
    with saying(f"The numpy reference of {primitive.name!r} depends on the shape of its operands"):
        np.testing.assert_array_equal(other.ravel(), expected)


def broadcasts(primitive: Primitive) -> None:
    """An operand that does not vary along an axis may have size 1 along it."""
    shapes = ((3, 4, 5, 2), (1, 4, 1, 1), (3, 1, 1, 1))
    for first in range(len(shapes) if primitive.arity > 1 else 1):
        chosen = [shapes[(first + slot) % len(shapes)] for slot in range(primitive.arity)]
        operands = [layers.noise(shape, seed) for seed, shape in enumerate(chosen)]
        full = torch.broadcast_shapes(*chosen)
        with saying(f"The torch function of {primitive.name!r} does not broadcast its operands"):
            expected = apply(primitive, *(operand.expand(full).contiguous() for operand in operands))
            torch.testing.assert_close(apply(primitive, *operands).expand(full), expected)


def commutes_as_it_says(primitive: Primitive) -> None:
    """The order of two operands matters, unless the record is marked commutative."""
    if primitive.arity < 2:
        require(not primitive.commutative, f"The primitive {primitive.name!r} has one operand to commute.")
        return
    operands = grid(primitive)
    orders = [apply(primitive, *order) for order in itertools.permutations(operands)]
    if primitive.commutative:
        same = all(torch.equal(orders[0], other) for other in orders)
        require(same, f"The primitive {primitive.name!r} is marked commutative and is not.")
    else:
        same = all(torch.equal(orders[0], other) for other in orders)
        require(not same, f"The primitive {primitive.name!r} is commutative and is not marked so.")


def has_the_gradient_of_finite_differences(primitive: Primitive) -> None:
    """The gradient of the torch function is that of finite differences."""
    with saying(f"The gradient of {primitive.name!r} differs from finite differences"):
        torch.autograd.gradcheck(lambda *operands: apply(primitive, *operands), smooth_points(primitive))


def has_the_reverse_rule_of_autograd(primitive: Primitive) -> None:
    """The reverse-mode rule in numpy gives what torch's autograd gives, at kinks too."""
    for points in (grid(primitive), smooth_points(primitive)):
        operands = [t.detach().double().requires_grad_() for t in points]
        value = apply(primitive, *operands)
        gradient = torch.linspace(-2, 3, value.numel(), dtype=torch.float64)
        expected = torch.autograd.grad(value, operands, gradient)
        assert primitive.reverse is not None
        with saying(f"The reverse rule of {primitive.name!r} differs from autograd"):
            arrays = [t.detach().numpy() for t in operands]
            found = primitive.reverse(gradient.numpy(), value.detach().numpy(), *arrays, EPS)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one, other.numpy(), rtol=1e-9, atol=1e-12)


def is_finite(primitive: Primitive) -> None:
    """Value and gradient are finite on the grid, in single precision, at 0 and up to 40 on either side."""
    operands = [t.requires_grad_() for t in grid(primitive)]
    value = apply(primitive, *operands)
    gradients = torch.autograd.grad(value.sum(), operands)
    for what, found in (("value", value), *(("gradient", gradient) for gradient in gradients)):
        wrong = (~torch.isfinite(found)).nonzero().flatten().tolist()
        places = [tuple(round(t[i].item(), 12) for t in operands) for i in wrong[:3]]
        require(not wrong, f"The {what} of {primitive.name!r} is not finite at {places}.")


def keeps_half_precision(primitive: Primitive) -> None:
    """In bfloat16 it stays there, and agrees with float32."""
    half = [t.detach().bfloat16() for t in smooth_points(primitive)]
    value = apply(primitive, *half)
    require(value.dtype == torch.bfloat16, f"The primitive {primitive.name!r} turns bfloat16 into {value.dtype}.")
    with saying(f"The primitive {primitive.name!r} in bfloat16 differs from float32"):
        wide = apply(primitive, *(t.float() for t in half))
        torch.testing.assert_close(value.float(), wide, rtol=0.02, atol=0.02)


def makes_layers(primitive: Primitive) -> None:
    """Layers with it read back, are lowered, exported, pickled and screened as their numpy references say."""
    name, rest = primitive.name, ", v1" * (primitive.arity - 1)
    texts = [f"{name}(x{rest})", f"a = {name}(v1{rest}); add(x, a)", f"a = {name}(x{rest}); mul(a, v1)"]
    texts.append(f"a = std[hw](x); b = {name}(a{rest}); mul(x, b)")
    texts.append(f"a = mean[d](x); b = {name}(a{rest}); add(x, b)")
    if primitive.arity > 1:
        more = ", x" * (primitive.arity - 2)
        texts += [f"{name}(v1, x{more})", f"a = std[hw](x); {name}(x, a{more})", f"a = rms[d](x); {name}(a, x{more})"]
        texts += [f"{name}(x, 2{more})", f"{name}(x, zero{more})", f"{name}(x, x{more})"]
    for text in texts:
        layers.check_layer(text)
    layers.draws(Genome.from_text(texts[2]))


ELEMENTWISE_CHECKS: tuple[Callable[[Primitive], None], ...] = (
    says_what_it_is,
    prints_unambiguously,
    equals_numpy,
    broadcasts,
    commutes_as_it_says,
    has_the_gradient_of_finite_differences,
    has_the_reverse_rule_of_autograd,
    is_finite,
    keeps_half_precision,
    makes_layers,
)


def check_primitive(primitive: Primitive) -> None:
    """Check everything that evonas expects of an elementwise operation or a moment; it is registered by this.

    Torch against the numpy reference, gradients, the reverse rule, finiteness, half precision, formulas, notations,
    and layers with it: lowered, pickled, exported, screened and drawn.

    Raises:
        AssertionError: with a sentence that says what is wrong.
    """
    with saying(f"The primitive {primitive.name!r} cannot be registered"):
        register_primitive(primitive)
    if primitive.kind == "moment":
        says_what_it_is(primitive)
        check_moment(primitive)
    else:
        require(primitive.kind == "elementwise", f"{primitive.name!r} is no operation.")
        for check in ELEMENTWISE_CHECKS:
            check(primitive)
