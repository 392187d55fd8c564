"""Remembers one result, for layers that read the same input."""

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class Memo(Generic[Result]):
    """The last result of a function of one tensor, kept for as long as that tensor lives unchanged.

    Query, key and value projections read the same tensor: what the first one computes from it, the others find here. A
    change in place is seen by the tensor's version; inference tensors have none, so they must not be changed between
    two such layers. Copies and pickles start empty. While torch compiles nothing is kept: the compiler finds by itself
    what is computed twice.
    """

    def __init__(self) -> None:
        self._source: weakref.ref[Tensor] | None = None
        self._state: tuple[int, bool] = (0, False)
        self._result: Result | None = None

    def __call__(self, x: Tensor, compute: Callable[[Tensor], Result]) -> Result:
        """``compute(x)``, or what it gave before."""
        if torch.compiler.is_compiling():
            return compute(x)
        state = (0 if x.is_inference() else x._version, torch.is_grad_enabled())
        if self._source is None or self._source() is not x or self._state != state or self._result is None:
            self._result = compute(x)
            self._source, self._state = weakref.ref(x, self._forget), state
        return self._result

    def _forget(self, _source: object) -> None:
        self._source = self._result = None

    def __reduce__(self) -> tuple[object, ...]:
        return (Memo, ())
