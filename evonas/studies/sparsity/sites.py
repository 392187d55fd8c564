"""The layers that can be sparsified: those that multiply features with a matrix, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from evonas.errors import InputError
from evonas.surgery.modules import matching, unmatched

EXCLUDED = ("lm_head",)
SUPPORTED = "torch.nn.Linear, transformers' Conv1D, 1x1 torch.nn.Conv2d without groups and padding"


@dataclass(frozen=True, slots=True)
class LinearSite:
    """One layer y = W x + b of a model.

    Attributes:
        name: its first qualified name.
        names: all names under which the model holds it.
        module: the layer.
        transposed: its weight is stored as [n, m], as in transformers' Conv1D.
        stride: of a 1x1 convolution, whose features are dimension -3 of its input; None for the others.
    """

    name: str
    names: tuple[str, ...]
    module: nn.Module
    transposed: bool
    stride: tuple[int, int] | None

    @property
    def kind(self) -> str:
        """The last part of its name, such as ``k_proj``; layers of a kind are reported together."""
        return self.name.rpartition(".")[2]

    @property
    def weight(self) -> nn.Parameter:
        """W as the layer holds it."""
        weight = self.module.weight
        assert isinstance(weight, nn.Parameter)
        return weight

    @property
    def matrix(self) -> Tensor:
        """W, of shape [m, n] = [outputs, inputs]; a view."""
        return as_matrix(self.weight, self.transposed)

    @property
    def inputs(self) -> int:
        """The number n of input features."""
        return self.matrix.shape[1]

    @property
    def outputs(self) -> int:
        """The number m of output features."""
        return self.matrix.shape[0]

    def features(self, x: Tensor) -> Tensor:
        """The layer's input with the n features last: [..., n]."""
        return features_last(x, self.stride)


def as_matrix(weight: Tensor, transposed: bool) -> Tensor:
    """A weight as the matrix [m, n]; a view. A 1x1 convolution's is [m, n, 1, 1]."""
    return weight.t() if transposed else weight.flatten(1)


def features_last(x: Tensor, stride: tuple[int, int] | None) -> Tensor:
    """The pixels a 1x1 convolution reads of [..., n, h, w], as [..., h', w', n]; without a stride, x itself."""
    return x if stride is None else x[..., :: stride[0], :: stride[1]].movedim(-3, -1)


def linear_sites(
    model: nn.Module, include: str | Sequence[str] = "**", exclude: str | Sequence[str] = EXCLUDED
) -> tuple[LinearSite, ...]:
    """The layers of ``model`` whose name matches a pattern of ``include`` and none of ``exclude``, in order.

    Subclasses, such as quantized layers, are not taken: their arithmetic is their own.

    Args:
        model: the network.
        include: patterns of names: ``*`` within one part of a name, ``**`` for any number of parts.
        exclude: the same; all but the default must match something.

    Raises:
        InputError: a pattern that matches nothing, a name spelled out that is no such layer, or nothing is left.
    """
    include, exclude = (((patterns,) if isinstance(patterns, str) else patterns) for patterns in (include, exclude))
    modules = {name: module for name, module in model.named_modules(remove_duplicate=False) if name}
    for pattern in (*include, *(exclude if exclude != EXCLUDED else ())):
        if not matching(pattern, modules):
            raise unmatched(pattern, modules, f"modules of this {type(model).__name__}")
    for name in include:
        if name in modules and not is_linear(modules[name]):
            raise InputError(name, f"is a {_described(modules[name])}", accepted=SUPPORTED)
    left_out = {name for pattern in exclude for name in matching(pattern, modules)}
    taken = {name for pattern in include for name in matching(pattern, modules)} - left_out
    names: dict[nn.Module, list[str]] = {}
    for name, module in modules.items():
        if is_linear(module):
            names.setdefault(module, []).append(name)
    sites = tuple(_site(module, held) for module, held in names.items() if taken.intersection(held))
    if not sites:
        where = f"include {', '.join(include)}"
        raise InputError(where, f"leaves no layer of this {type(model).__name__} to sparsify", accepted=SUPPORTED)
    return sites


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a layer of a supported kind."""
    if type(module) is nn.Conv2d:
        pointwise = module.kernel_size == (1, 1) and module.groups == 1 and module.padding in ((0, 0), "valid")
        return pointwise and module.weight.is_floating_point()
    return (type(module) is nn.Linear or _is_conv1d(module)) and module.weight.is_floating_point()  # type: ignore[operator]


def site_at(name: str, module: nn.Module) -> LinearSite:
    """The site of one layer, under one name."""
    return _site(module, [name])


def _site(module: nn.Module, names: list[str]) -> LinearSite:
    stride = module.stride if isinstance(module, nn.Conv2d) else None
    return LinearSite(names[0], tuple(names), module, _is_conv1d(module), stride)  # type: ignore[arg-type]  # two numbers


def _is_conv1d(module: nn.Module) -> bool:
    """By name: transformers need not be installed."""
    kind = type(module)
    return (kind.__module__, kind.__qualname__) == ("transformers.pytorch_utils", "Conv1D")


def _described(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return f"Conv2d of kernel {module.kernel_size}, groups {module.groups}, padding {module.padding}"
    return type(module).__name__
