"""Runs that are stopped at a given result, and not at a given time: a busy machine changes nothing.

A run sends itself the signal, as soon as it has recorded so many results. A process of its own that is killed so:
``python tests/stopping.py 3 evonas-arguments ...``
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from evonas.runs.store import Store
from evonas.search.archive import Archive


def stop_after(results: int, number: signal.Signals, replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """From now on, this process gets a signal when it has recorded so many results.

    Args:
        results: of a study, or candidates of a search.
        number: the signal.
        replace: puts a method in the place of another: ``monkeypatch.setattr``, in a process that lives on.
    """
    recorded = count(1)

    def stopping(record: Callable[..., None]) -> Callable[..., None]:
        def record_and_stop(self: object, *given: Any) -> None:
            record(self, *given)
            if next(recorded) == results:
                os.kill(os.getpid(), number)

        return record_and_stop

    for kind in (Archive, Store):
        replace(kind, "record", stopping(kind.record))


def run_killed_after(results: int, *arguments: object) -> None:
    """Run the command line in a process of its own that is killed when it has recorded so many results.

    This returns when its workers have ended too: they hold the pipe of its output.
    """
    command = [sys.executable, __file__, str(results), *map(str, arguments)]
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr


if __name__ == "__main__":
    from evonas import cli

    stop_after(int(sys.argv[1]), signal.SIGKILL)
    sys.argv = ["evonas", *sys.argv[2:]]
    cli.main()
