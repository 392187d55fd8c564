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
    assert str(caught.value).startswith(f"execution.device: {name!r}")
    assert "; accepted: auto, cpu" in str(caught.value)
    assert "cuda" not in str(caught.value).partition("accepted")[2] or torch.cuda.is_available()


@pytest.mark.parametrize(
    ("built_for", "why"), [("13.0", "torch finds no GPU on this machine"), (None, "for the CPU alone")]
)
def test_a_machine_without_a_gpu_says_so_and_does_not_offer_one(
    built_for: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("No CUDA GPUs are available")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch, "zeros", refuse)
    with pytest.raises(InputError) as caught:
        find_device("cuda", "--device")
    assert str(caught.value).startswith("--device: 'cuda', but ")
    assert why in str(caught.value)
    assert str(caught.value).endswith("; accepted: auto, cpu")


def test_the_chip_of_the_cpu_is_named_by_what_torch_uses_of_it() -> None:
    assert chip(torch.device("cpu")) == torch.backends.cpu.get_cpu_capability()
    assert chip(torch.device("meta")) == "meta"
