"""Search for an amount of processor time, whatever else the machine does meanwhile.

python scripts/search_core_seconds.py SEARCH --run RUN --core-seconds 7200 [--set a.b=c ...]

The search is that of ``evonas search`` with one worker, which gives the same layers as any number of workers. Its clock
counts the processor time of this process, with one thread: 7,200 core-seconds stand for an hour on two cores. Started
again, it goes on. RUN/core_seconds.jsonl has a line for every result: what was recorded, and the core-seconds by then.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evonas.config import BudgetConfig, section
from evonas.runs.folder import RunFolder, keep_settings, locked
from evonas.search import best
from evonas.search.archive import Archive
from evonas.search.budget import Clock
from evonas.search.driver import drive
from evonas.search.execution import make_executor
from evonas.search.making import require_searchable
from evonas.search.outcome import Remeasurement
from evonas.search.start import Request, create_run, prepare


@dataclass
class Charging:
    """A watcher that notes at which core-second each result came."""

    path: Path
    clock: Clock

    def baseline(self, name: str, _evaluation: Any) -> None:
        """A known layer was trained."""
        self._note("baseline", name)

    def told(self, candidate: Any, _evaluation: Any, *, recorded: bool) -> None:
        """A candidate was evaluated."""
        if not recorded:
            self._note("candidate", candidate.index)

    def measured(self, measurement: Remeasurement, _evaluation: Any, *, recorded: bool) -> None:
        """A layer was measured again."""
        if not recorded:
            self._note("measurement", measurement.position)

    def _note(self, kind: str, what: object) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({kind: what, "core_seconds": round(self.clock.seconds, 2)}) + "\n")


def charged(path: Path) -> float:
    """Core-seconds of earlier sessions, up to their last result."""
    lines = path.read_text().splitlines() if path.exists() else []
    return json.loads(lines[-1])["core_seconds"] if lines else 0.0


def main() -> None:
    """Begin the run, or go on with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("search", help="a search file, or the name of one that comes with evonas")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--core-seconds", type=float, required=True)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="a.b=c")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = RunFolder(arguments.run)
    changes = (*arguments.changes, "execution.workers=0", "execution.threads=1")
    going_on = folder.archive_file.exists()
    request = Request(
        search=None if going_on else arguments.search, run=arguments.run, changes=changes, resume=going_on, prefix="--"
    )
    settings = prepare(request).settings
    require_searchable(settings)
    executor = make_executor(settings)
    if not going_on:
        create_run(folder.path, settings)
    record = folder.path / "core_seconds.jsonl"
    with locked(folder), Archive.open(folder.archive_file) as archive:
        keep_settings(folder.path, section.dump(settings))
        budget = BudgetConfig(minutes=arguments.core_seconds / 60)
        clock = Clock(budget, used=charged(record), started=time.process_time(), now=time.process_time)
        with executor:
            ending = drive(settings, archive, executor, [Charging(record, clock)], clock)
        best.save_best(folder)
    print(f"{ending.value}: {clock.seconds:.0f} core-seconds, {archive_size(folder)} candidates")


def archive_size(folder: RunFolder) -> int:
    """How many candidates were evaluated."""
    with Archive.open(folder.archive_file, read_only=True) as archive:
        return archive.told()


if __name__ == "__main__":
    main()
