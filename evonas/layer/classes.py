"""A layer as a class, which builders of networks take in the place of a norm's class."""

import functools
from typing import Any, ClassVar

import torch

from evonas.layer.lower import NormActLayer, Recipe


class NamedNormAct(NormActLayer):
    """A layer whose recipe belongs to its class, so that the number of features alone makes one.

    The arguments are those that timm and torchvision give: timm says by ``apply_act`` where no activation follows a
    norm, and there the layer is its affine alone. ``act_kwargs`` and ``inplace`` have no effect, since the activation
    is part of the layer.

    Attributes:
        usual: how the layers of the class are lowered, unless the arguments say otherwise.
    """

    usual: ClassVar[Recipe]

    def __init__(
        self,
        num_features: int,
        *,
        groups: int | None = None,
        eps: float | None = None,
        momentum: float | None = None,
        apply_act: bool = True,
        act_kwargs: object = None,  # noqa: ARG002  # timm gives it
        inplace: bool = False,  # noqa: ARG002  # timm gives it
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        own = self.usual
        recipe = Recipe(
            own.genome,
            own.layout,
            own.groups if groups is None else groups,
            own.eps if eps is None else eps,
            own.momentum if momentum is None else momentum,
        )
        super().__init__(recipe, num_features, act=apply_act, device=device, dtype=dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty, (type(self).__name__, self.usual), self.__getstate__()


@functools.cache
def layer_class(name: str, recipe: Recipe) -> type[NamedNormAct]:
    """The class of a recipe's layers; the same one for the same name and recipe."""
    text = f"{recipe.genome.formula()}, then an affine of each channel; see ``NamedNormAct``."
    return type(name, (NamedNormAct,), {"usual": recipe, "__doc__": text, "__module__": __name__})


def _empty(name: str, recipe: Recipe) -> NamedNormAct:
    """A layer without state: classes that are made at run time cannot be found by name when a layer is read back."""
    made = layer_class(name, recipe)
    return made.__new__(made)
