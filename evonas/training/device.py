"""Finding the device that a file or an option names."""

import torch

from evonas.errors import InputError


def find_device(name: str, where: str = "execution.device") -> torch.device:
    """The device called ``name``; ``auto`` is the first GPU, or the CPU where there is none.

    Raises:
        InputError: torch does not know it, or it cannot hold numbers here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError):
        raise InputError(where, repr(name), accepted="auto, cpu, cuda, cuda:0, ...") from None
    return device


def chip(device: torch.device) -> str:
    """The kind of hardware behind a device, on which the last digits of results depend."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
