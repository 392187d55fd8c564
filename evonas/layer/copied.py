"""What an exported file copies: functions and classes with everything they need, from evonas or from users' modules.

A function may use torch, ``math``, builtins, numbers of its module, and other functions and classes for which the same
holds. It is copied as it is written, so it stands at the top of a module under its own name.
"""

import ast
import builtins
import inspect
import math
import textwrap
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.graph import functions

ALWAYS = {"torch": torch, "Tensor": Tensor, "nn": nn}  # what every exported file imports
_NAMESPACES = {"torch.": torch, "nn.functional.": nn.functional, "torch.special.": torch.special}
_Written = FunctionType | type


@dataclass(frozen=True, slots=True)
class Copied:
    """What a file copies.

    Attributes:
        imports: lines, by the name that they bind.
        numbers: of users' modules, by name.
        sources: of functions and classes, by name: those of evonas first, each in the order of its file.
    """

    imports: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """All names that it binds."""
        return {*ALWAYS, *self.imports, *self.numbers, *self.sources}


def torch_name(function: object) -> str:
    """How an exported file calls a function of torch; empty if it is none of those."""
    name = getattr(function, "__name__", "").removeprefix("special_")  # as torch calls them by themselves
    return next((p + name for p, module in _NAMESPACES.items() if getattr(module, name, None) is function), "")


def copied(wanted: Iterable[Callable[..., Any]]) -> Copied:
    """Everything that a file needs to call these.

    Raises:
        InputError: a function of a user cannot be copied, or needs more than torch.
    """
    result, found = Copied(), dict[str, _Written]()
    waiting = [(function, getattr(function, "__name__", repr(function)), "") for function in wanted]
    while waiting:
        value, name, user = waiting.pop()
        if torch_name(value) and not user:
            continue  # called by its full name
        where = f"export: {user or name}"
        if not isinstance(value, _Written):
            raise _refused(where, f"{name} is a {type(value).__name__}")
        if name in found:
            if found[name] is not value:
                raise _clash(name, user or name)
            continue
        found[name] = value
        for needed in _names_in(value, name, where):
            known = getattr(inspect.unwrap(value), "__globals__", None) or vars(inspect.getmodule(value))
            if needed in known:
                _need(needed, known[needed], name, result, waiting)
            elif not hasattr(builtins, needed):
                raise _refused(where, f"{name} uses {needed!r}, which is not in its module")
    if twice := sorted(found.keys() & result.names):
        raise _clash(twice[0], twice[0])
    for name in sorted(found, key=lambda name: _place(found[name])):
        result.sources[name] = _source_of(found[name], "export").rstrip()
    return result


def _need(name: str, value: object, user: str, result: Copied, waiting: list[tuple[Any, str, str]]) -> None:
    """Note what a name stands for that a function uses."""
    module = value.__name__ if isinstance(value, ModuleType) else ""
    if ALWAYS.get(name) is value:
        return
    if name in ALWAYS:
        raise _clash(name, user)
    if value is typing.Any:
        _bind(result.imports, name, _import("from typing import Any", name), user)
    elif module.partition(".")[0] in ("torch", "math"):
        _bind(result.imports, name, _import(f"import {module}", name), user)
    elif whole := torch_name(value):
        package, _, function = whole.replace("nn.", "torch.nn.").rpartition(".")
        _bind(result.imports, name, _import(f"from {package} import {function}", name), user)
    elif isinstance(value, bool | int | float):
        number = repr(value) if math.isfinite(value) else f'float("{value}")'
        _bind(result.numbers, name, f"{name} = {number}", user)
    elif isinstance(value, _Written) and value.__name__ == name:
        waiting.append((value, name, user))
    else:
        raise _refused(f"export: {user}", f"uses {name!r}, a {type(value).__name__}")


def _import(line: str, name: str) -> str:
    return line if line.rpartition(" ")[2] == name else f"{line} as {name}"


def _bind(lines: dict[str, str], name: str, line: str, user: str) -> None:
    if lines.setdefault(name, line) != line:
        raise _clash(name, user)


def _clash(name: str, user: str) -> InputError:
    return InputError(f"export: {user}", f"{name!r} means something else in the same file", remedy="rename it")


def _refused(where: str, found: str) -> InputError:
    remedy = "write it with def at the top of a module, with torch alone"
    accepted = "functions of torch, and functions that need torch, math, numbers and functions of their kind"
    return InputError(where, found, accepted=accepted, remedy=remedy)


def _names_in(value: _Written, name: str, where: str) -> set[str]:
    """The names that the source of a function or class takes from outside of it."""
    plain = inspect.unwrap(value)
    closed = isinstance(plain, FunctionType) and plain.__closure__ is not None
    if closed or "<" in plain.__qualname__ or plain.__name__ != name:
        raise _refused(where, f"{plain.__qualname__} is defined inside of something else")
    tree = ast.parse(_source_of(value, where))
    nodes = list(ast.walk(tree))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            if any(module.partition(".")[0] not in ("torch", "math") for module in imported):
                raise _refused(where, f"imports {', '.join(imported)}")
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return {node.id for node in names} - bound


def _source_of(value: _Written, where: str) -> str:
    try:
        return textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError):
        raise _refused(where, f"the source of {value.__qualname__} cannot be read") from None


def _of_evonas(value: object) -> bool:
    return getattr(value, "__module__", "").partition(".")[0] == "evonas"


def _place(value: _Written) -> tuple[bool, bool, str, int]:
    """Where a copy stands: functions of evonas that primitives call, then others of it, then those of users."""
    module, line = inspect.getmodule(value), inspect.getsourcelines(value)[1]
    return not _of_evonas(value), module is not functions, value.__module__, line
