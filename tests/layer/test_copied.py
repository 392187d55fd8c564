"""What exported files copy of users' modules. Oracle: the file, run in a fresh namespace, against the module itself."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from evonas import Genome, Primitive, PrintedForm, lower, register_primitive
from evonas.errors import InputError
from evonas.layer.export import source_of

pytestmark = pytest.mark.usefixtures("tables")
GOOD = """
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import softplus as soft
from torch.special import erfc

SLOPE = 0.25
LIMIT = float("inf")


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


def inner(x: Tensor, slope: float = SLOPE) -> "torch.Tensor":
    return Doubled.apply(x) * slope + F.elu(x) + erfc(x)


def outer(x):
    import math as m

    parts = [inner(x).clamp_max(LIMIT) for _ in range(2)]
    return sum(parts) / math.pi + soft(x) * m.e + nn.functional.relu(x)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    monkeypatch.syspath_prepend(tmp_path)
    names = list[str]()

    def made(text: str) -> ModuleType:
        names.append(f"own_{abs(hash(str(tmp_path)))}_{len(names)}")
        (tmp_path / f"{names[-1]}.py").write_text(text)
        return importlib.import_module(names[-1])

    yield made
    for name in names:
        sys.modules.pop(name, None)


def exported(function: Callable[..., torch.Tensor], name: str = "own") -> str:
    form = PrintedForm(name + "({0})")
    register_primitive(
        Primitive(name, 1, function, lambda x, _: x, lambda g, *_: (g,), form, form, "any", source="these tests")
    )
    return source_of(Genome.from_text(f"{name}(x)"), name="checked", layout="bchw")


def test_what_a_function_needs_comes_with_it(module: Callable[[str], ModuleType]) -> None:
    own = module(GOOD)
    source, space = exported(own.outer), {"__name__": "exported"}
    assert own.__name__ not in source
    exec(compile(source, "exported", "exec"), space)  # what was just written
    x = torch.linspace(-2, 3, 24).reshape(1, 4, 3, 2)
    torch.testing.assert_close(space["Checked"](4)(x), own.outer(x))  # type: ignore[operator]
    torch.testing.assert_close(lower(Genome.from_text("own(x)"), 4, layout="bchw")(x), own.outer(x))


HEAD = "import functools, os\nimport numpy as np\nimport torch\nfrom torch import Tensor, relu as other\n\n\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("f = lambda x: x", ["defined inside of something else"]),
        ("def made(k):\n    def f(x):\n        return x + k\n    return f\nf = made(1)", ["defined inside"]),
        ("f = functools.partial(torch.add, 1)", ["is a partial"]),
        ("def f(x):\n    return x + np.pi", ["uses 'np', a module"]),
        ("def f(x):\n    import os\n    return x", ["imports os"]),
        ("DATA = [1]\ndef f(x):\n    return x + DATA[0]", ["uses 'DATA', a list"]),
        ("def f(x):\n    return x + missing", ["uses 'missing', which is not in its module"]),
        ("def g(x):\n    return x\nh = g\ndef f(x):\n    return h(x)", ["uses 'h', a function"]),
        ("Tensor = 3\ndef f(x):\n    return x + Tensor", ["'Tensor' means something else", "rename it"]),
        ("def x(x):\n    return x\nf = x", ["called 'x', as a value of the layer", "rename it"]),
        ("def per_channel(x):\n    return x\nf = per_channel", ["'per_channel' means something else", "rename it"]),
        ("exec('def f(x):\\n    return x')", ["source of f cannot be read"]),
    ],
)
def test_what_cannot_be_copied_is_refused_with_its_reason(
    text: str, words: list[str], module: Callable[[str], ModuleType]
) -> None:
    with pytest.raises(InputError) as error:
        exported(module(HEAD + text + "\n").f)
    assert all(word in str(error.value) for word in ["export", *words]), error.value


@pytest.mark.parametrize(
    ("function", "call"),
    [
        (torch.sin, "torch.sin(x)"),
        (torch.special.erfc, "torch.special.erfc(x)"),
        (torch.nn.functional.softsign, "nn.functional.softsign(x)"),
    ],
)
def test_functions_of_torch_are_called_by_their_names(function: Callable[..., torch.Tensor], call: str) -> None:
    assert call in exported(function)
