"""The command line and the scripts in this process: a process of its own is seconds of imports."""

import runpy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from evonas import cli

SCRIPTS = Path(__file__).parents[1] / "scripts"


def status_of(*arguments: object) -> int:
    """Call ``evonas`` with these arguments; its exit status."""
    return _status(cli.main, "evonas", arguments)


def status_of_script(name: str, *arguments: object) -> int:
    """Run a script with these arguments; its exit status."""
    file, threads = str(SCRIPTS / name), torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # as in a process of its own
            return _status(lambda: runpy.run_path(file, run_name="__main__"), file, arguments)
    finally:
        torch.set_num_threads(threads)


def _status(work: Callable[[], object], name: str, arguments: tuple[object, ...]) -> int:
    before, sys.argv = sys.argv, [name, *map(str, arguments)]
    try:
        work()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        sys.argv = before
    return 0
