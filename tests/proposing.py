"""A search that is handed layers while it runs, at a given result and not at a given time, and may be killed later.

The layers come from the command line in another process. ``python tests/proposing.py 3 7 RUN arguments of the search``
is handed layers once 3 candidates are recorded, and is killed when 7 are; with 0 it is not killed.
"""

import json
import os
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

from evonas.search.archive import Archive

SENT = [  # formula, and who sends it, by two calls of the command line
    ("x * sigmoid(2 * x) / std[ghw](x)", "somebody"),
    ("x - x", "somebody"),
    ("max(x, v0) * sigmoid(v1 * x)", "a model"),
    ("mean[hw](x)", "a model"),
    ("exp(-x^2)", "a model"),
]
UNREADABLE = "cosh(x)"  # the model sends this too


def send(run: str) -> None:
    """Hand the layers in: some as arguments, the others as lines of JSON."""
    command = [sys.executable, "-m", "evonas", "propose", run]
    by_hand = [formula for formula, by in SENT if by == "somebody"]
    lines = [json.dumps({"layer": f, "from": by, "note": f"sent {f}"}) for f, by in SENT if by != "somebody"]
    lines.insert(1, json.dumps({"layer": UNREADABLE, "from": "a model"}))
    subprocess.run([*command, *by_hand, "--from", "somebody"], check=True, stdout=subprocess.DEVNULL)
    said = subprocess.run([*command, "-"], input="\n".join(lines), text=True, capture_output=True, check=False)
    assert (said.returncode, said.stdout.count("handed in"), UNREADABLE in said.stderr) == (2, 3, True), said


def run_with_proposals(sent_after: int, killed_after: int, run: Path, *arguments: object) -> None:
    """Run a search in a process of its own that is handed layers, and killed if that is wanted.

    This returns when its workers have ended too: they hold the pipe of its output.
    """
    given = [__file__, str(sent_after), str(killed_after), str(run), *map(str, arguments)]
    path = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run([sys.executable, *given], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if killed_after else 0), done.stdout + done.stderr


def _main(sent_after: int, killed_after: int, run: str) -> None:
    from evonas import cli

    recorded, record = count(1), Archive.record

    def record_and_act(self: Archive, *given: Any) -> None:
        record(self, *given)
        number = next(recorded)
        if number == sent_after:
            send(run)
        if number == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)

    Archive.record = record_and_act  # type: ignore[method-assign]
    sys.argv = ["evonas", "search", *sys.argv[4:], "--run", run]
    cli.main()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
