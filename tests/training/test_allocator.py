"""Oracle: glibc's mallopt(3) as a fake library sees it."""

import ctypes
import platform
from functools import partial

import pytest

from evonas.training.allocator import keep_memory


class Libc:
    """Stands in for glibc's ``mallopt``, which says 0 to what it does not take."""

    def __init__(self, largest_mmap_threshold: int) -> None:
        self.largest, self.taken = largest_mmap_threshold, dict[int, int]()

    def mallopt(self, option: int, value: int) -> int:
        if option == -3 and value > self.largest:
            return 0
        self.taken[option] = value
        return 1


@pytest.mark.parametrize("largest", [1 << 25, 1 << 40])
def test_old_and_new_glibc_keep_what_they_can(monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    libc = Libc(largest)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.31"))
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: libc)
    keep_memory()
    # without the second, the first alone would fix glibc's adaptive threshold at its low start
    assert libc.taken == {-1: 1 << 30, -3: min(largest, 1 << 30)}


@pytest.mark.parametrize(("system", "libc"), [("Darwin", ""), ("Windows", ""), ("Linux", "")])
def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch, system: str, libc: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    monkeypatch.setattr(ctypes, "CDLL", partial(pytest.fail, "asked for a C library"))
    keep_memory()
