"""A small process that outlives a killed driver, and ends what its workers and their jobs have left running.

Workers end by themselves when their driver is gone, but not what a job has started in a process of its own.
"""

import subprocess
import sys
from pathlib import Path

# waits until the driver has closed the pipe, which the system does however it ends
_WATCH = """
import os, shutil, signal, sys
sys.stdin.buffer.read()
for name in os.listdir(sys.argv[1]):
    try:
        os.killpg(int(name), signal.SIGKILL)
    except (OSError, ValueError):
        pass
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


def start_guard(folder: Path) -> "subprocess.Popen[bytes]":
    """Start a guard; close its input and wait for it when the work is done.

    Args:
        folder: has a file for each worker, named after its process, which leads a group of that number. It is deleted.
    """
    command = [sys.executable, "-S", "-E", "-c", _WATCH, str(folder)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)
