"""Budgets of time as a user meets them: the wall-clock time of ``evonas search --budget`` from start to end.

Each row is a process of its own. A file of JSON lines holds the rows that are done, and the script goes on
where it stopped:

    python scripts/budgets.py budgets.jsonl --minutes 1 3 10 --workers 1 2 --search evonorm_s transformer

With ``--resume``, every run is resumed once its budget is used up, which should take seconds and change nothing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from evonas.report.table import Table
from evonas.search.archive import Archive

ROOT = Path(__file__).parents[1]


def measure(search: str, minutes: float, workers: int, *, resume: bool) -> list[dict[str, Any]]:
    """Run a search, and once more if asked for; what each took and what came of it."""
    folder = Path(tempfile.mkdtemp(prefix="evonas-budget-")) / "run"
    file = ROOT / "search_spaces" / f"{search}.toml"
    calls = [("fresh", [str(file), "--budget", f"{round(60 * minutes)}s", "--workers", str(workers)])]
    calls += [("resumed", ["--resume"])] if resume else []
    rows = []
    try:
        for kind, arguments in calls:
            command = [sys.executable, "-m", "evonas", "search", "--run", str(folder), *arguments]
            load, started = os.getloadavg()[0], time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            wall = time.monotonic() - started
            if done.returncode:
                raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
            with Archive.open(folder / "archive.sqlite", read_only=True) as archive:
                _, scored = archive.ends()
                evaluated, baselines = archive.told(), len(archive.baselines())
            over = wall - 60 * minutes if kind == "fresh" else None
            found = {"wall": wall, "over": over, "baselines": baselines, "evaluated": evaluated, "scored": scored}
            rows.append(
                {"search": search, "minutes": minutes, "workers": workers, "kind": kind, **found, "load before": load}
            )
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    return rows


def main() -> None:
    """Measure what is not measured yet, and print all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="JSON lines; made if missing")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--search", nargs="+", default=["evonorm_s", "transformer"])
    parser.add_argument("--resume", action="store_true", help="also resume each run that has used its budget up")
    given = parser.parse_args()
    lines = given.file.read_text(encoding="utf-8").splitlines() if given.file.exists() else []
    rows = [json.loads(line) for line in lines]
    known = {(row["search"], row["minutes"], row["workers"]) for row in rows}
    for case in product(given.search, given.minutes, given.workers):
        if case not in known:
            measured = measure(*case, resume=given.resume)
            rows += measured
            with given.file.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in measured)
    table = Table.of(rows, {"wall": "{:.1f}", "over": "{:+.1f}", "load before": "{:.1f}"})
    print(table.markdown(), end="")


if __name__ == "__main__":
    main()
