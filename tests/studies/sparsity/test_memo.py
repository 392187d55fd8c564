"""Oracle: a count of the computations."""

import copy
import gc
import weakref

import torch
from torch import Tensor

from evonas.studies.sparsity.memo import Memo


class Counted:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + 1


def test_one_tensor_is_worked_on_once_until_it_changes() -> None:
    memo, compute, x = Memo[Tensor](), Counted(), torch.zeros(3)
    first = memo(x, compute)
    assert memo(x, compute) is first
    assert compute.calls == 1
    x.add_(1)
    assert torch.equal(memo(x, compute), torch.full((3,), 2.0))
    assert compute.calls == 2


def test_equal_tensors_are_not_the_same_tensor() -> None:
    memo, compute = Memo[Tensor](), Counted()
    memo(torch.zeros(3), compute)
    memo(torch.zeros(3), compute)
    assert compute.calls == 2


def test_a_result_without_gradients_is_not_given_where_gradients_are_wanted() -> None:
    memo, compute, x = Memo[Tensor](), Counted(), torch.zeros(3, requires_grad=True)
    with torch.no_grad():
        memo(x, compute)
    assert memo(x, compute).requires_grad


def test_inference_tensors_work() -> None:
    memo, compute = Memo[Tensor](), Counted()
    with torch.inference_mode():
        x = torch.zeros(3)
        assert memo(x, compute) is memo(x, compute)


def test_the_result_dies_with_its_tensor() -> None:
    memo, x = Memo[Tensor](), torch.zeros(3)
    result = weakref.ref(memo(x, Counted()))
    del x
    gc.collect()
    assert result() is None


def test_a_copy_starts_empty() -> None:
    memo, compute, x = Memo[Tensor](), Counted(), torch.zeros(3)
    memo(x, compute)
    copy.deepcopy(memo)(x, compute)
    assert compute.calls == 2
