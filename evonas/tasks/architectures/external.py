"""Networks of timm and torchvision by name, as those packages build them, fitted to small images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from torch import nn

from evonas.errors import InputError


def make_external(name: str, num_classes: int) -> nn.Module:
    """The network ``timm:NAME`` or ``torchvision:NAME`` with fresh weights.

    Raises:
        InputError: no such network.
        ModuleNotFoundError: the package is not installed.
    """
    library, _, model = name.partition(":")
    names, create = _LIBRARIES[library]()
    if model not in names:
        close = ", ".join(f"{library}:{found}" for found in get_close_matches(model, names, n=5))
        raise InputError("tasks.architecture", f"{library} has no network {model!r}", accepted=close)
    network: nn.Module = create(model, num_classes)
    return network


@contextmanager
def taking_images(name: str, size: int) -> Iterator[None]:
    """What a network raises inside, when images are too small for it, becomes an error for people."""
    try:
        yield
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(
            "tasks.architecture",
            f"{name} cannot take images of {size}x{size} ({str(error).partition(chr(10))[0]})",
            remedy="larger images (data.size), or another number of unstrided reductions (tasks.unstrided)",
        ) from error


def _timm() -> tuple[list[str], Callable[[str, int], Any]]:
    import timm

    return timm.list_models(), lambda name, classes: timm.create_model(name, pretrained=False, num_classes=classes)


def _torchvision() -> tuple[list[str], Callable[[str, int], Any]]:
    from torchvision import models

    return models.list_models(models), lambda name, classes: models.get_model(name, weights=None, num_classes=classes)


_LIBRARIES = {"timm": _timm, "torchvision": _torchvision}
