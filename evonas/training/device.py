"""Finding the device that a file or an option names."""

import torch

from evonas.errors import InputError


def find_device(name: str, where: str = "execution.device") -> torch.device:
    """The device called ``name``; ``auto`` is the first GPU, or the CPU where there is none.

    Raises:
        InputError: torch does not know it, or cannot compute on it here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(where, repr(name), accepted=_usable()) from None
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError):
        raise InputError(where, f"{name!r}, but {_what_is_there(device)}", accepted=_usable()) from None
    return device


def _usable() -> str:
    """The devices of this machine, as a user names them."""
    return ", ".join(["auto", "cpu", "cuda"][: 3 if torch.cuda.is_available() else 2] + _gpus())


def _gpus() -> list[str]:
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []


def _what_is_there(device: torch.device) -> str:
    """Why a device of a kind that torch knows cannot be used."""
    if device.type != "cuda":
        return "torch cannot compute on it here"
    if torch.version.cuda is None and torch.version.hip is None:
        return "this torch was built for the CPU alone"
    count = len(_gpus())
    return f"torch finds {count or 'no'} GPU{'s' if count > 1 else ''} on this machine"


def chip(device: torch.device) -> str:
    """The kind of hardware behind a device, on which the last digits of results depend."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else device.type
