"""Sums of products of a layer's operations: the form in which equal expressions are seen to be equal.

A value is a sum of a number and of terms, a term is a number times different factors, and a factor is an atom with a
whole exponent. An atom is an initial node, an operation whose operands are such sums, or a sum in parentheses. Division
by y is a factor too: what it multiplies by depends on y alone, as the guard against small divisors does.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from evonas.graph.primitive import INDEX_SETS, PRIMITIVES, constant, constant_op

PARENTHESES = ""  # the operation of an atom that is a sum in parentheses
CANCEL = ("std", "rms")  # never below sqrt(eps), where the guard of a division does nothing
NEVER_NEGATIVE = ("sigmoid", "exp", "abs", "std", "rms")
KEEP_SIGN = ("tanh", "erf", "sqrt", "mean")


def _digest(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Atom:
    """What products are made of.

    Attributes:
        op: an operation, an initial node, a number, or ``PARENTHESES``.
        axes: index set of a moment.
        operands: of the operation.
    """

    op: str
    axes: str = ""
    operands: tuple["Sum", ...] = ()

    def __post_init__(self) -> None:
        _ = self.key, self.shape, self.order, self.varies, self.is_nonnegative  # now, while those of operands are there

    @cached_property
    def key(self) -> str:
        """Equal keys mean equal expressions."""
        return self._of([operand.key for operand in self.operands])

    @cached_property
    def shape(self) -> str:
        """A key that numbers which multiply have no part in."""
        return self._of([operand.shape for operand in self.operands])

    def _of(self, operands: list[str]) -> str:
        if self.op in PRIMITIVES and PRIMITIVES[self.op].commutative:
            operands.sort()
        return _digest(self.op, self.axes, *operands)

    @cached_property
    def size(self) -> int:
        """Operations and operands of the tree."""
        return 1 + sum(operand.size for operand in self.operands)

    @cached_property
    def order(self) -> tuple[int, int, str]:
        """Which atom comes first where nothing else says so: small ones, of the initial nodes x, then v1."""
        return self.size, {"x": 0, "v1": 1, "v0": 2}.get(self.op, 3), self.key

    @cached_property
    def varies(self) -> frozenset[str]:
        """See ``Genome.varies``."""
        if not self.operands:
            return frozenset({"x": "bchw", "v0": "c", "v1": "c"}.get(self.op, ""))
        axes = frozenset[str]().union(*(operand.varies for operand in self.operands))
        return axes.difference(INDEX_SETS[self.axes].reduced) if self.axes else axes

    @cached_property
    def is_nonnegative(self) -> bool:
        """Whether it is surely never below 0."""
        own = [operand.is_nonnegative for operand in self.operands]
        if self.op in (*KEEP_SIGN, PARENTHESES, "min"):
            return all(own)
        return self.op in NEVER_NEGATIVE or (self.op == "max" and any(own))


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """An atom, or what division by it multiplies by, to a whole exponent above 0."""

    atom: Atom
    inverse: bool = False
    exponent: int = 1


@dataclass(frozen=True, eq=False)
class Product:
    """Factors, each of another atom, in the order in which they are written."""

    factors: tuple[Factor, ...] = ()

    @cached_property
    def key(self) -> str:
        """Equal keys mean equal expressions."""
        return _digest("*", *sorted(f"{f.atom.key} {f.inverse} {f.exponent}" for f in self.factors))

    @cached_property
    def shape(self) -> str:
        """A key that numbers which multiply have no part in."""
        varying = (f for f in self.factors if constant(f.atom.op) is None)
        return _digest("*", *sorted(f"{f.atom.shape} {f.inverse} {f.exponent}" for f in varying))

    @cached_property
    def size(self) -> int:
        """Operations and operands of the tree."""
        return sum(factor.atom.size for factor in self.factors)

    @cached_property
    def order(self) -> tuple[int, tuple[int, int, str], str]:
        """Which product comes first where nothing else says so."""
        return self.size, min(factor.atom.order for factor in self.factors), self.key

    @property
    def is_nonnegative(self) -> bool:
        """Whether it is surely never below 0."""
        return all(factor.exponent % 2 == 0 or factor.atom.is_nonnegative for factor in self.factors)


@dataclass(frozen=True, eq=False)
class Sum:
    """Numbers times products, in the order in which they are written, and a number.

    Raises:
        OverflowError: a number is not finite.
    """

    terms: tuple[tuple[Product, float], ...] = ()
    number: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in self.numbers):
            raise OverflowError
        _ = self.key, self.shape, self.size, self.varies, self.is_nonnegative

    @property
    def numbers(self) -> tuple[float, ...]:
        """All numbers, the one that is added last."""
        return *(coefficient for _, coefficient in self.terms), self.number

    @cached_property
    def key(self) -> str:
        """Equal keys mean equal expressions."""
        return _digest("+", repr(self.number), *sorted(f"{value!r} {product.key}" for product, value in self.terms))

    @cached_property
    def shape(self) -> str:
        """A key that numbers which multiply have no part in, but for their signs."""
        return _digest("+", repr(self.number), *sorted(f"{value > 0} {product.shape}" for product, value in self.terms))

    @cached_property
    def size(self) -> int:
        """Operations and operands of the tree."""
        return sum(product.size for product, _ in self.terms)

    @cached_property
    def varies(self) -> frozenset[str]:
        """See ``Genome.varies``."""
        return frozenset[str]().union(*(f.atom.varies for product, _ in self.terms for f in product.factors))

    @cached_property
    def is_nonnegative(self) -> bool:
        """Whether it is surely never below 0."""
        return min(self.numbers) >= 0 and all(product.is_nonnegative for product, _ in self.terms)

    @property
    def atom(self) -> Atom | None:
        """The atom that it is; None if it is more than one."""
        if self.number == 0 and len(self.terms) == 1 and self.terms[0][1] == 1:
            factors = self.terms[0][0].factors
            if len(factors) == 1 and factors[0].exponent == 1 and not factors[0].inverse:
                return factors[0].atom
        return None

    @property
    def scale(self) -> float:
        """The magnitude that all its numbers share; 1 if they differ."""
        sizes = {abs(value) for value in self.numbers if value}
        return sizes.pop() if len(sizes) == 1 else 1.0

    @property
    def leading_sign(self) -> float:
        """The sign of the term that comes first in a fixed order: equal but for their signs, sums share it or not."""
        if not self.terms:
            return math.copysign(1.0, self.number)
        return math.copysign(1.0, min(self.terms, key=lambda term: term[0].order)[1])


def of_atom(atom: Atom) -> Sum:
    """The sum that is one atom."""
    return Sum(((Product((Factor(atom),)), 1.0),))


def added(sums: Iterable[Sum]) -> Sum:
    """The sum of sums, with equal products collected."""
    products: dict[str, Product] = {}
    numbers: dict[str, float] = {}
    number = 0.0
    for one in sums:
        number += one.number
        for product, value in one.terms:
            products.setdefault(product.key, product)
            numbers[product.key] = numbers.get(product.key, 0.0) + value
    return Sum(tuple((products[key], value) for key, value in numbers.items() if value), number)


def scaled(value: Sum, number: float) -> Sum:
    """A number times a sum."""
    terms = tuple((product, number * own) for product, own in value.terms if number * own)
    return Sum(terms, number * value.number if value.number else 0.0)


def multiplied(one: Sum, other: Sum) -> Sum:
    """The product of two sums, which is not expanded."""
    (number, left), (by, right) = factored(one), factored(other)
    return _of_product((*left.factors, *right.factors), number * by)


def divided(one: Sum, other: Sum) -> Sum:
    """The guarded quotient of two sums; a divisor is taken as it is, as the guard depends on it."""
    if not other.terms and abs(other.number) == 1:
        return scaled(one, other.number)
    number, product = factored(one)
    divisor = other.atom or (Atom(PARENTHESES, "", (other,)) if other.terms else Atom(constant_op(other.number)))
    return _of_product((*product.factors, Factor(divisor, inverse=True)), number)


def factored(value: Sum) -> tuple[float, Product]:
    """The number and the product that a sum is; more than one term is put in parentheses."""
    if not value.terms:
        return value.number, Product()
    if len(value.terms) == 1 and value.number == 0:
        product, number = value.terms[0]
        return number, product
    number = value.scale * value.leading_sign
    return number, Product((Factor(Atom(PARENTHESES, "", (scaled(value, 1 / number),))),))


def _of_product(factors: Iterable[Factor], number: float) -> Sum:
    if number == 0:
        return Sum()
    product = Product(tuple(_collected(factors)))
    if not product.factors:
        return Sum((), number)
    alone = Sum(((product, 1.0),)).atom
    return scaled(alone.operands[0] if alone and alone.op == PARENTHESES else Sum(((product, 1.0),)), number)


def _collected(factors: Iterable[Factor]) -> list[Factor]:
    """Factors with equal atoms put together, even powers of magnitudes without their bars, std and rms cancelled."""
    found = _exponents(factors)
    spread = [part for factor in found.values() for part in _without_bars(factor)]
    if len(spread) != len(found) or any(part not in found.values() for part in spread):
        found = _exponents(spread)
    result = []
    for (key, inverse), factor in found.items():
        other = found.get((key, not inverse))
        common = min(factor.exponent, other.exponent) if other and factor.atom.op in CANCEL else 0
        if factor.exponent > common:
            result.append(Factor(factor.atom, inverse, factor.exponent - common))
    return result


def _exponents(factors: Iterable[Factor]) -> Mapping[tuple[str, bool], Factor]:
    found: dict[tuple[str, bool], Factor] = {}
    for factor in factors:
        key = (factor.atom.key, factor.inverse)
        before = found[key].exponent if key in found else 0
        found[key] = Factor(factor.atom, factor.inverse, before + factor.exponent)
    return found


def _without_bars(factor: Factor) -> list[Factor]:
    if factor.atom.op != "abs" or factor.inverse or factor.exponent % 2:
        return [factor]
    _, product = factored(factor.atom.operands[0])  # its number is 1: that of a magnitude is taken out of it
    return [Factor(part.atom, part.inverse, part.exponent * factor.exponent) for part in product.factors]
