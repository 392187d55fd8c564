"""Replaces modules of a model by name, where call sites do not matter or torch.fx cannot trace."""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

from torch import nn

from evonas.errors import InputError

_SHOWN = 5  # names in an error message


def replace_modules(model: nn.Module, factories: Mapping[str, Callable[[nn.Module], nn.Module | None]]) -> nn.Module:
    """A copy of ``model`` in which the modules whose name matches a pattern are made anew.

    The copy is of the model's own class, with all its methods. A new module takes device, dtype and mode of the old
    one; a module that the model holds under several names is replaced once, and shared as before.

    Args:
        model: the network; it is left untouched.
        factories: by pattern, what makes a replacement of a module, or gives None to keep it. ``*`` stands for
            anything within one part of a name, ``**`` for any number of parts: ``"model.layers.*.input_layernorm"``,
            ``"**.norm2"``. Where several patterns match, the first one counts.

    Example:
        ``replace_modules(llama, {"**.*layernorm": lambda norm: nn.RMSNorm(norm.weight.numel())})``

    Raises:
        InputError: a pattern that matches nothing, something made that is no module, or a match within another one.
    """
    model = copy.deepcopy(model)
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    chosen: dict[str, Callable[[nn.Module], nn.Module | None]] = {}
    for pattern, factory in factories.items():
        found = matching(pattern, modules)
        if not found:
            raise unmatched(pattern, modules, f"modules of this {type(model).__name__}")
        chosen = dict.fromkeys(found, factory) | chosen
    made: dict[int, nn.Module | None] = {}  # by identity of the old module
    replaced: list[str] = []
    for name in (name for name in modules if name in chosen):
        outer = next((other for other in replaced if name.startswith(f"{other}.")), None)
        if outer is not None:
            raise InputError(name, f"lies within {outer}, which is replaced too", remedy="match only one of them")
        old = modules[name]
        if id(old) not in made:
            made[id(old)] = _made(chosen[name], old, name, model)
        new = made[id(old)]
        if new is not None:
            model.set_submodule(name, new)
            replaced.append(name)
    return model


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern matches, in order: ``*`` stands within one part of a name, ``**`` for several parts."""
    parts = (r"(?:\.[^.]+)*" if part == "**" else r"\." + _part(part) for part in pattern.split("."))
    expression = re.compile("".join(parts))
    return [name for name in names if expression.fullmatch(f".{name}")]


def unmatched(pattern: str, names: Iterable[str], kind: str) -> InputError:
    """The error for a pattern that matches nothing; ``kind`` says what has the names: "modules of this ResNet"."""
    known = list(names)
    close = get_close_matches(pattern, known, n=_SHOWN, cutoff=0.4) or known[:_SHOWN]
    return InputError(
        f"pattern {pattern!r}",
        f"matches none of the {len(known)} {kind}",
        accepted=f"names such as {', '.join(close)}",
        remedy="'*' stands within one part of a name, '**' for any number of parts",
    )


def _part(part: str) -> str:
    return re.escape(part).replace(r"\*", "[^.]*")


def like(module: object, old: nn.Module, name: str, model: nn.Module) -> nn.Module:
    """``module`` on the device, in the dtype and in the mode of ``old``, which stands in ``model`` under ``name``.

    Raises:
        InputError: it is no module.
    """
    if not isinstance(module, nn.Module):
        raise InputError(name, f"its replacement is a {type(module).__name__}", accepted="a torch.nn.Module, or None")
    # what has neither parameters nor buffers stands where the rest of the model does
    tensors = (t for owner in (old, model) for t in (*owner.parameters(), *owner.buffers()))
    example = next((t for t in tensors if t.is_floating_point()), None)
    if example is not None:
        module = module.to(example.device, example.dtype)
    return module.train(old.training)


def _made(
    factory: Callable[[nn.Module], nn.Module | None], old: nn.Module, name: str, model: nn.Module
) -> nn.Module | None:
    new = factory(old)
    return None if new is None else like(new, old, name, model)
