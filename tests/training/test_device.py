"""Oracle: what torch says is there."""

import pytest
import torch

from evonas.errors import InputError
from evonas.training.device import chip, find_device


def test_auto_is_a_device_that_exists() -> None:
    assert find_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:99", "cuda:x", "hpu", "meta", "cpu cpu"])
def test_a_device_that_cannot_be_used_is_an_error(name: str) -> None:
    with pytest.raises(InputError) as caught:
        find_device(name)
    assert str(caught.value) == f"execution.device: {name!r}; accepted: auto, cpu, cuda, cuda:0, ..."


def test_the_chip_of_the_cpu_is_named_by_what_torch_uses_of_it() -> None:
    assert chip(torch.device("cpu")) == torch.backends.cpu.get_cpu_capability()
    assert chip(torch.device("meta")) == "meta"
