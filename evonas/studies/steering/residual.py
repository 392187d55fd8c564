"""Which modules write the residual stream of a network, seen from the sums that one forward pass takes."""

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_SUMS = (torch.ops.aten.add, torch.ops.aten.add_)
_SCALINGS = (torch.ops.aten.mul, torch.ops.aten.mul_)
_COPIES = (torch.ops.aten._to_copy, torch.ops.aten.clone)


class ResidualWatch(TorchDispatchMode):
    """Sees which outputs enter a sum with a tensor of as many axes, or come out of one.

    That is what a residual connection is. Scaling by a number or by a vector and changes of dtype on the way are looked
    through; sums within modules that have no submodules (activations, norms) do not count.

    Used as a context around one forward pass. It keeps what it follows alive until it is gone.

    Args:
        model: what runs.

    Attributes:
        writers: names of the marked outputs that were seen so.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.writers: set[str] = set()
        self._leaves = [module for module in model.modules() if not any(True for _ in module.children())]
        self._hooks = ExitStack()
        self._inside = 0  # leaves that are running
        self._names: dict[int, set[str]] = {}  # by address of storage
        self._kept: list[Tensor] = []
        self._sum: Tensor | None = None  # the latest

    def __enter__(self) -> Self:
        for leaf in self._leaves:
            self._hooks.enter_context(leaf.register_forward_pre_hook(self._begin))
            self._hooks.enter_context(leaf.register_forward_hook(self._end))
        super().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._hooks.close()

    def mark(self, name: str, output: Tensor) -> None:
        """Follow this output under a name."""
        if self._sum is not None and _address(self._sum) == _address(output):
            self.writers.add(name)
        self._follow({name}, output)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = func.overloadpacket
        if operation in _SUMS and not self._inside:
            self._see_sum(args, result)
        elif operation in _COPIES:
            self._follow(self._named(args[0]), result)
        elif operation in _SCALINGS:
            for operand, other in (args, args[::-1]):
                if not isinstance(other, Tensor) or other.numel() == 1 or other.ndim == 1:
                    self._follow(self._named(operand), result)
        elif operation.__name__.endswith("_"):  # an activation in place: what it leaves is no longer the output
            self._names.pop(_address(args[0]), None)
        return result

    def _see_sum(self, args: tuple[Any, ...], result: Tensor) -> None:
        left, right = args[:2]
        if not isinstance(left, Tensor) or not isinstance(right, Tensor) or left.ndim != right.ndim:
            return
        self._sum = result
        for operand in (left, right):
            if operand.shape == result.shape:
                self.writers |= self._named(operand)

    def _named(self, operand: Any) -> set[str]:
        """Names of the outputs of which this is the whole."""
        if not isinstance(operand, Tensor) or operand.numel() * operand.itemsize != operand.untyped_storage().nbytes():
            return set()
        return self._names.get(_address(operand), set())

    def _follow(self, names: set[str], output: Tensor) -> None:
        if names:
            self._kept.append(output)
            self._names[_address(output)] = self._names.get(_address(output), set()) | names

    def _begin(self, *_: object) -> None:
        self._inside += 1

    def _end(self, *_: object) -> None:
        self._inside -= 1


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
