"""Oracle: what torch says is there."""

import pytest
import torch

from evonas.errors import InputError
from evonas.training.device import find_device


def test_auto_is_a_device_that_exists() -> None:
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:99", "cuda:x", "hpu", "meta", "cpu cpu"])
def test_a_device_that_cannot_be_used_is_an_error(name: str) -> None:
    with pytest.raises(InputError) as caught:
        find_device(name)
    assert str(caught.value) == f"execution.device: {name!r}; accepted: auto, cpu, cuda, cuda:0, ..."
