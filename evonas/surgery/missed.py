"""The norms of a model that are no sites, so that surgery can say what it leaves alone."""

from collections.abc import Collection, Mapping, Sequence

from torch import nn

from evonas.errors import InputError
from evonas.layer.lower import NormActLayer
from evonas.surgery.modules import _SHOWN
from evonas.surgery.tracing import NORMS


def norms_beside(taken: Collection[str], modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """The class of every norm of a model but those whose names are taken, by name.

    A norm is what torch or the name of its class calls so, unless it holds other modules with parameters, as blocks do.
    """
    return {n: type(module).__name__ for n, module in modules.items() if n not in taken and _is_norm(module)}


def _is_norm(module: nn.Module) -> bool:
    kind = type(module)
    named = "norm" in kind.__name__.lower() and not kind.__module__.startswith("torch.nn.utils")  # as weight norm
    block = any(next(part.parameters(), None) is not None for part in module.children())
    return (named or isinstance(module, NORMS)) and not block and not isinstance(module, NormActLayer | nn.Identity)


def without_sites(norms: Mapping[str, str], model: nn.Module) -> InputError:
    """The error for a model without a site; ``norms`` are those it has, as ``norms_beside`` gives them."""
    found = f"it has norms, but none that can be replaced: {listed(norms)}" if norms else "it has no norm"
    return InputError(
        type(model).__name__,
        found,
        accepted=f"calls of {', '.join(kind.__name__ for kind in NORMS)}, the last two over one axis",
        remedy="replace modules by name with replace_modules(model, {pattern: factory})",
    )


def listed(names: Mapping[str, str] | Sequence[str]) -> str:
    """The first names, and the classes where they are given."""
    shown = [f"{n} ({names[n]})" if isinstance(names, Mapping) else n for n in list(names)[:_SHOWN]]
    return ", ".join(shown + (["..."] if len(names) > _SHOWN else []))
