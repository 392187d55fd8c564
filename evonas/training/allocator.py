"""Memory that a process keeps."""

import ctypes
import platform
from typing import Any


def keep_memory() -> None:
    """Ask glibc to keep freed memory: activations of a few MB otherwise cost page faults at every step.

    For the whole process, which holds on to its largest size so far; without glibc nothing happens. Searches, studies
    and evaluations do this themselves. Measured on a CPU: forward and backward of elementwise operations on 2 MB
    tensors run 1.5 to 3 times faster, those of a hypernetwork with 32 gammas 3 times.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    libc: Any = ctypes.CDLL(None)
    trim_threshold, mmap_threshold, one_gigabyte = -1, -3, 1 << 30
    if not libc.mallopt(mmap_threshold, one_gigabyte):
        libc.mallopt(mmap_threshold, 1 << 25)  # the most that an older glibc takes
    libc.mallopt(trim_threshold, one_gigabyte)
