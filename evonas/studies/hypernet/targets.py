"""Which parameters of a network are predicted."""

from collections.abc import Sequence

from torch import nn
from torch.nn.parameter import is_lazy

from evonas.errors import InputError
from evonas.surgery.modules import matching, unmatched


def predicted_parameters(model: nn.Module, predict: str | Sequence[str]) -> dict[str, nn.Parameter]:
    """The parameters whose name a pattern matches, in the model's order.

    A parameter that the model holds under several names is there once, under the first, whichever name matched.

    Args:
        model: the network.
        predict: one pattern or several; ``*`` stands within one part of a name, ``**`` for any number of parts.

    Raises:
        InputError: a pattern that matches nothing, or a parameter that is empty, not real or not finite.
    """
    names = dict(model.named_parameters(remove_duplicate=False))
    if not names:
        raise InputError(type(model).__name__, "has no parameters to predict")
    patterns = [predict] if isinstance(predict, str) else list(predict)
    if not patterns:
        raise InputError("predict", "no pattern", accepted="at least one, such as '**' or '**.weight'")
    chosen = set[int]()  # by identity
    for pattern in patterns:
        found = matching(pattern, names)
        if not found:
            raise unmatched(pattern, names, f"parameters of this {type(model).__name__}")
        chosen |= {id(names[name]) for name in found}
    targets = {name: parameter for name, parameter in model.named_parameters() if id(parameter) in chosen}
    for name, parameter in targets.items():
        _require_predictable(name, parameter)
    return targets


def _require_predictable(name: str, parameter: nn.Parameter) -> None:
    if is_lazy(parameter):
        raise InputError(name, "has no shape yet", remedy="give the network a batch first")
    if not parameter.is_floating_point() or not parameter.numel():
        found = f"{str(parameter.dtype).removeprefix('torch.')}{list(parameter.shape)}"
        raise InputError(name, found, accepted="real numbers", remedy="choose patterns that leave it out")
    if not bool(parameter.isfinite().all()):
        raise InputError(name, "is not finite", remedy="initialize the network first")
