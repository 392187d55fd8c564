"""The primitive table: one frozen record per operation; everything that handles operations reads it.

A record is all that an operation needs: sampling, mutation, text, formulas, lowering, export and the checks of
``evonas.testing`` pick it up. Those of evonas itself stand here; users register theirs (docs/extending.md).

Source of the op list: Liu et al. 2020 (arXiv 2004.02967), search space; the exact stabilisation by eps is ours.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
import torch

from evonas.errors import InputError
from evonas.graph import functions, references
from evonas.graph.references import Array, Average
from evonas.registry import Registry

PUBLISHED_SPACE = "Liu et al. 2020, search space"
ATOM = 5  # precedence of a name or a function call: never needs parentheses


@dataclass(frozen=True, slots=True)
class PrintedForm:
    """How an operation prints: a template over operands, its precedence, and the least precedence of each operand."""

    template: str
    precedence: int = ATOM
    operands: tuple[int, ...] = (0, 0)


@dataclass(frozen=True, slots=True)
class Primitive:
    """One operation of the search space.

    Attributes:
        name: the name in genome text.
        arity: number of operands; 0 for an initial node.
        torch: function of the operands (and ``eps`` if ``guarded``); for a moment, of (x, dims) and ``eps``.
        numpy: independent reference in float64: of (operands..., eps); for a moment, of (x, average, eps), where
            ``average`` puts the mean over the index set in the place of every element.
        reverse: reverse-mode rule (vector-Jacobian product) in numpy, of the gradient, the value and the arguments of
            ``numpy``: one gradient per operand, of the shape of the value.
        plain: printed formula.
        latex: LaTeX formula.
        meaning: the definition with its guard, in words people can check.
        commutative: operand order does not matter.
        guarded: the torch function takes ``eps``.
        kind: initial node, elementwise operation, moment over an index set, or a number as in ``min(x, 6)``.
        source: where the operation comes from; what is not of the published space is in a search only when named.
        running: a moment that layers keep a running value of, as statistics over the batch need; only evonas's own.
    """

    name: str
    arity: int
    torch: Callable[..., torch.Tensor] | None
    numpy: Callable[..., Array] | None
    reverse: Callable[..., tuple[Array, ...]] | None
    plain: PrintedForm
    latex: PrintedForm
    meaning: str
    commutative: bool = False
    guarded: bool = False
    kind: Literal["initial", "elementwise", "moment", "constant"] = "elementwise"
    source: str = ""
    running: bool = False


@dataclass(frozen=True, slots=True)
class IndexSet:
    """The axes a moment reduces over.

    Attributes:
        name: the name in brackets in genome text.
        reduced: axes of [b, c, h, w] that the statistic no longer varies over.
        grouped: channels are cut into groups and each group is reduced.
        latex: subscript in formulas.
        meaning: what it corresponds to.
        layout: of the tensors it is for. Tokens [b, t, d] are seen as [b, c = d, h = t, w = 1].
    """

    name: str
    reduced: str
    grouped: bool
    latex: str
    meaning: str
    layout: str = "bchw"

    @property
    def batch(self) -> bool:
        """Whether the statistic mixes samples, and so needs running values at evaluation."""
        return "b" in self.reduced

    @property
    def over_tokens(self) -> bool:
        """Whether the statistic joins positions: of tokens, it would look at later ones."""
        return "h" in self.reduced


LAYOUTS = ("bchw", "btd")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")  # what the text notation reads as a name


def _require_name(kind: str, name: str) -> str:
    """The place that errors name; refuses what the text notation does not read back."""
    if not _IDENTIFIER.fullmatch(name) or name in ("inf", "nan", "infinity"):
        raise InputError(f"{kind} {name!r}", "is no name", accepted="letters, digits and _, not a digit first")
    return f"{kind} {name!r}"


def _require_usable_axes(index_set: IndexSet) -> None:
    """Refuse axes that lowering has no call for."""
    where, axes = _require_name("index set", index_set.name), set(index_set.reduced)
    if index_set.layout not in LAYOUTS:
        raise InputError(where, f"layout {index_set.layout!r}", accepted=", ".join(LAYOUTS))
    if not axes <= set("bchw") or len(axes) != len(index_set.reduced) or not (axes or index_set.grouped):
        raise InputError(where, f"reduces {index_set.reduced!r}", accepted="some of the axes b, c, h, w, each once")
    if index_set.grouped and "c" in axes:
        raise InputError(where, "reduces all channels and groups of them", accepted="reduced without c, or no groups")
    if index_set.batch and (axes != set("bhw") or index_set.grouped):
        remedy = "running values are kept per channel"
        raise InputError(where, "reduces the batch otherwise than as b, h, w", accepted="bhw", remedy=remedy)
    if not index_set.meaning or not index_set.latex:
        raise InputError(where, "has no meaning or no latex", accepted="a text for each")


INDEX_SETS = Registry(
    "index set",
    (
        IndexSet("bhw", "bhw", False, "b,h,w", "per channel over the batch, as batch normalization"),
        IndexSet("chw", "chw", False, "c,h,w", "per sample over everything, as layer normalization"),
        IndexSet("hw", "hw", False, "h,w", "per sample and channel, as instance normalization"),
        IndexSet("ghw", "hw", True, "h,w,c/g", "per sample and channel group, as group normalization"),
        IndexSet("d", "c", False, "d", "per token, as layer normalization in transformers", "btd"),
        IndexSet("gd", "", True, "d/g", "per token and group of features", "btd"),
        IndexSet("td", "chw", False, "t,d", "per sequence over everything", "btd"),
        IndexSet("t", "hw", False, "t", "per sequence and feature", "btd"),
        IndexSet("gtd", "hw", True, "t,d/g", "per sequence and group of features", "btd"),
        IndexSet("bt", "bhw", False, "b,t", "per feature over the batch", "btd"),
    ),
    _require_usable_axes,
)


def register_index_set(index_set: IndexSet) -> IndexSet:
    """Add an index set, which moments may then be taken over; a search has it only when named.

    Raises:
        InputError: another index set has the name, or it reduces axes that layers cannot.
    """
    return INDEX_SETS.register(index_set)


def _call(name: str, arity: int = 1) -> PrintedForm:
    return PrintedForm(f"{name}({', '.join('{' + str(i) + '}' for i in range(arity))})")


def _sigmoid(x: Array, _eps: float) -> Array:
    return 1 / (1 + np.exp(-x))


def _initial(name: str, plain: str, latex: str, meaning: str) -> Primitive:
    return Primitive(name, 0, None, None, None, PrintedForm(plain), PrintedForm(latex), meaning, kind="initial")


def _moment(
    name: str,
    function: Callable[..., torch.Tensor],
    reference: Callable[..., Array],
    reverse: Callable[..., tuple[Array, ...]],
    latex: str,
    meaning: str,
) -> Primitive:
    plain, tex = PrintedForm(name + "[{axes}]({0})"), PrintedForm(latex + "_{{{axes}}}\\left({0}\\right)")
    return Primitive(
        name,
        1,
        function,
        reference,
        reverse,
        plain,
        tex,
        meaning,
        guarded=function is not functions.mean,
        kind="moment",
        running=True,
    )


_TABLE = (
    _initial("x", "x", "x", "the input"),
    _initial("zero", "0", "0", "the constant 0"),
    _initial("v0", "v0", "v_0", "trainable, one value per channel, initially 0"),
    _initial("v1", "v1", "v_1", "trainable, one value per channel, initially 1"),
    Primitive(
        "add",
        2,
        torch.add,
        lambda x, y, _: x + y,
        lambda g, *_: (g, g),
        PrintedForm("{0} + {1}", 1, (1, 1)),
        PrintedForm("{0} + {1}", 1, (1, 1)),
        "x + y",
        commutative=True,
    ),
    Primitive(
        "mul",
        2,
        torch.mul,
        lambda x, y, _: x * y,
        lambda g, _v, x, y, _: (g * y, g * x),
        PrintedForm("{0} * {1}", 2, (2, 2)),
        PrintedForm("{0} \\, {1}", 2, (2, 2)),
        "x y",
        commutative=True,
    ),
    Primitive(
        "div",
        2,
        functions.div,
        references.div,
        references.div_reverse,
        PrintedForm("{0} / {1}", 2, (2, 3)),
        PrintedForm("\\frac{{{0}}}{{{1}}}", 3),
        "x / (sign(y) max(|y|, eps)), sign(0) = 1",
        guarded=True,
    ),
    Primitive(
        "max",
        2,
        functions.maximum,
        lambda x, y, _: np.maximum(x, y),
        references.max_reverse,
        _call("max", 2),
        PrintedForm("\\max\\left({0}, {1}\\right)"),
        "max(x, y)",
        commutative=True,
    ),
    Primitive(
        "min",
        2,
        torch.minimum,
        lambda x, y, _: np.minimum(x, y),
        references.min_reverse,
        _call("min", 2),
        PrintedForm("\\min\\left({0}, {1}\\right)"),
        "min(x, y)",
        commutative=True,
        source="evonas: caps, as that of ReLU6",
    ),
    Primitive(
        "neg",
        1,
        torch.neg,
        lambda x, _: -x,
        lambda g, *_: (-g,),
        PrintedForm("-{0}", 1, (2,)),
        PrintedForm("-{0}", 1, (2,)),
        "-x",
    ),
    Primitive(
        "sigmoid",
        1,
        torch.sigmoid,
        _sigmoid,
        lambda g, v, *_: (g * v * (1 - v),),
        _call("sigmoid"),
        PrintedForm("\\sigma\\left({0}\\right)"),
        "1 / (1 + e^-x)",
    ),
    Primitive(
        "tanh",
        1,
        torch.tanh,
        lambda x, _: np.tanh(x),
        lambda g, v, *_: (g * (1 - v * v),),
        _call("tanh"),
        PrintedForm("\\tanh\\left({0}\\right)"),
        "tanh(x)",
    ),
    Primitive(
        "erf",
        1,
        torch.erf,
        lambda x, _: references.erf(x),
        lambda g, _v, x, _: (g * (2 / math.sqrt(math.pi)) * np.exp(-x * x),),
        _call("erf"),
        PrintedForm("\\mathrm{{erf}}\\left({0}\\right)"),
        "2 / sqrt(pi) times the integral of e^-s^2 from 0 to x",
        source="Chen et al. 2025 (arXiv 2512.10938), Derf",
    ),
    Primitive(
        "sin",
        1,
        torch.sin,
        lambda x, _: np.sin(x),
        lambda g, _v, x, _: (g * np.cos(x),),
        _call("sin"),
        PrintedForm("\\sin\\left({0}\\right)"),
        "sin(x)",
        source="Sitzmann et al. 2020 (arXiv 2006.09661), SIREN",
    ),
    Primitive(
        "exp",
        1,
        functions.exp,
        lambda x, _: np.exp(x),
        lambda g, v, *_: (g * v,),
        _call("exp"),
        PrintedForm("e^{{{0}}}", 4),
        "e^x",
    ),
    Primitive(
        "log",
        1,
        functions.slog,
        references.slog,
        references.slog_reverse,
        _call("log"),
        PrintedForm("\\mathrm{{log}}\\left({0}\\right)"),
        "sign(x) ln(|x| + eps)",
        guarded=True,
    ),
    Primitive(
        "abs",
        1,
        torch.abs,
        lambda x, _: np.abs(x),
        lambda g, _v, x, _: (g * np.sign(x),),
        _call("abs"),
        PrintedForm("\\left|{0}\\right|"),
        "|x|",
    ),
    Primitive(
        "square",
        1,
        functions.square,
        lambda x, _: x * x,
        lambda g, _v, x, _: (2 * g * x,),
        PrintedForm("{0}^2", 4, (ATOM,)),
        PrintedForm("{0}^2", 4, (ATOM,)),
        "x^2",
    ),
    Primitive(
        "sqrt",
        1,
        functions.ssqrt,
        references.ssqrt,
        references.ssqrt_reverse,
        _call("sqrt"),
        PrintedForm("\\mathrm{{sqrt}}\\left({0}\\right)"),
        "x / sqrt(|x| + eps), about sign(x) sqrt|x|",
        guarded=True,
    ),
    _moment(
        "mean",
        functions.mean,
        lambda x, average, _: average(x),
        lambda g, _v, _x, average, _: (average(g),),
        "\\mu",
        "mean over the index set",
    ),
    _moment(
        "rms",
        functions.rms,
        references.rms,
        references.rms_reverse,
        "r",
        "sqrt(mean(x^2) + eps) over the index set",
    ),
    _moment(
        "std",
        functions.std,
        references.std,
        references.std_reverse,
        "s",
        "sqrt(biased variance + eps) over the index set",
    ),
)


def _require_usable(primitive: Primitive) -> None:
    """Refuse what could not be written, computed or printed."""
    where = _require_name("primitive", primitive.name)
    if primitive.kind not in ("elementwise", "moment"):
        raise InputError(where, f"kind {primitive.kind!r}", accepted="elementwise, moment")
    if primitive.arity < 1 or (primitive.kind == "moment" and primitive.arity > 1):
        raise InputError(where, f"arity {primitive.arity}", accepted="1 or more, of a moment 1")
    for name in ("torch", "numpy", "reverse"):
        if not callable(getattr(primitive, name)):
            raise InputError(where, f"has no {name}", accepted="a function; see docs/extending.md")
    if not primitive.meaning or not primitive.source or primitive.source == PUBLISHED_SPACE:
        raise InputError(where, "has no meaning or no source of its own", accepted="a text for each")
    if primitive.running:
        raise InputError(where, "is said to be running", accepted="running values of mean, rms and std alone")
    marks = [f"<{slot}>" for slot in range(primitive.arity)]
    marks += ["<axes>"] if primitive.kind == "moment" else []
    for form in (primitive.plain, primitive.latex):
        try:
            printed = form.template.format(*marks, axes="<axes>")
        except (KeyError, IndexError, ValueError) as error:
            remedy = "write a literal brace twice"
            raise InputError(where, f"template {form.template!r} ({error})", remedy=remedy) from None
        if not all(mark in printed for mark in marks) or len(form.operands) < primitive.arity:
            accepted = "{0}, {1}, ... for each operand, {axes} for that of a moment, and a precedence for each operand"
            raise InputError(where, f"template {form.template!r}", accepted=accepted)


PRIMITIVES = Registry("primitive", (replace(p, source=p.source or PUBLISHED_SPACE) for p in _TABLE), _require_usable)


def register_primitive(primitive: Primitive) -> Primitive:
    """Add an operation; layers may then hold it, and a search has it only when named in ``space.primitives``.

    Raises:
        InputError: another primitive has the name, or the record lacks something.
    """
    return PRIMITIVES.register(primitive)


def of_kind(*kinds: str) -> tuple[str, ...]:
    """The names of the primitives of these kinds, those of evonas itself first."""
    return tuple(name for name, primitive in PRIMITIVES.items() if primitive.kind in kinds)


def takes(moment: Primitive, index_set: IndexSet) -> bool:
    """Whether a moment may be taken over an index set: over the batch it needs running values."""
    return moment.running or not index_set.batch


INITIAL_NODES = of_kind("initial")
PUBLISHED = tuple(n for n in of_kind("elementwise", "moment") if PRIMITIVES[n].source == PUBLISHED_SPACE)


def constant(op: str) -> float | None:
    """The number that an operation without operands stands for, such as 6 for ``"6"``; None if it is no number."""
    try:
        value = float(op)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def constant_op(value: float) -> str:
    """The one operation for a number: ``"6"`` for 6.0, ``"0.1"`` for 0.1."""
    return repr(float(value)).removesuffix(".0")


@cache
def primitive_of(op: str) -> Primitive:
    """The record of an operation or of a number.

    Raises:
        KeyError: neither.
    """
    value = constant(op)
    if op in PRIMITIVES or value is None:
        return PRIMITIVES[op]
    form = PrintedForm(op, 1 if op.startswith("-") else ATOM)
    return Primitive(op, 0, None, None, None, form, form, f"the constant {op}", kind="constant", source="a number")


def form_of(op: str, *, latex: bool) -> PrintedForm:
    """The printed form of an operation."""
    primitive = primitive_of(op)
    return primitive.latex if latex else primitive.plain


def reference(op: str, operands: list[Array], axes: str, groups: int, eps: float) -> Array:
    """Evaluate one operation in numpy on full [b, c, h, w] arrays, the oracle of the lowered layers."""
    function: Any = PRIMITIVES[op].numpy
    if PRIMITIVES[op].kind == "elementwise":
        return np.asarray(function(*operands, eps))
    return np.asarray(function(*operands, average_over(axes, groups), eps))


def average_over(axes: str, groups: int) -> Average:
    """The average over an index set on full [b, c, h, w] arrays: every element becomes the mean of its set."""
    index_set = INDEX_SETS[axes]

    def average(x: Array) -> Array:
        b, c, h, w = x.shape
        if index_set.grouped:
            grouped = x.reshape(b, groups, c // groups, h, w)
            positions = (2, *("bgchw".index(letter) for letter in index_set.reduced))
            return np.broadcast_to(grouped.mean(positions, keepdims=True), grouped.shape).reshape(x.shape)
        positions = tuple("bchw".index(letter) for letter in index_set.reduced)
        return np.broadcast_to(x.mean(positions, keepdims=True), x.shape)

    return average
