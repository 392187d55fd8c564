r"""A search under random faults, held against the archive that the same search writes in peace.

    python scripts/chaos.py out/local
    python scripts/chaos.py out/ray --executor ray --evaluations 160 --driver-kills 5 --worker-faults 50 \
        --nodes-removed 1

Workers are killed (SIGKILL), made to crash (SIGSEGV) and stopped (SIGSTOP, so that their time runs out) while they
evaluate, drivers are killed at any time, and a node of the cluster is taken away. Beside that, some layers misbehave
by themselves, see ``scripts/chaos_task.py``. No evaluation is hit more than once: what was hit is tried again, and
must then give what it gives in peace. At the end the two archives must be equal, nothing may run any more, and no
draft may lie about. What was done and what was wrong is printed and written to ``summary.json``; the exit status is 1
if something is not as it should be.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_task import FOLDER

from evonas.search.archive import Archive

HERE = Path(__file__).resolve().parent
LOOK = 0.02  # seconds between looks at what workers do
KINDS = {"killed": (signal.SIGKILL, 0.45), "crashed": (signal.SIGSEGV, 0.45), "stopped": (signal.SIGSTOP, 0.1)}
SETTINGS = (
    'tasks=[{task="chaos_task:make"}]',
    "training.steps=20",
    "protocols.quality.steps=5",
    "execution.timeout_seconds=20.0",
    "evolution.look_ahead=4",
)
ACCEPTED = (0, -signal.SIGKILL)  # exit statuses of a driver: it ended, or was killed by this script


@dataclass
class Faults:
    """What is to be done in all, and what was done."""

    rng: random.Random
    share: float  # of the evaluations that are hit
    worker_faults: int
    driver_kills: list[int]  # after so many told candidates
    done: Counter[str] = field(default_factory=Counter)
    met: set[str] = field(default_factory=set)  # keys of layers about which it is decided

    def look(self, folder: Path) -> None:
        """Hit the workers that are to be hit."""
        for note in (folder / "working").iterdir():
            if note.suffix or (key := _read(note)) is None or key in self.met:
                continue
            self.met.add(key)
            left = self.worker_faults - sum(self.done[kind] for kind in KINDS)
            if left > 0 and self.rng.random() < self.share:
                time.sleep(self.rng.uniform(0.0, 0.3))
                kind = self.rng.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]
                try:
                    os.kill(int(note.name), KINDS[kind][0])
                except ProcessLookupError:
                    continue
                self.done[kind] += 1


def main() -> int:
    """Run the search in peace and under faults; 0 if all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="an empty or new folder")
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument("--evaluations", type=int, default=400)
    parser.add_argument("--driver-kills", type=int, default=20)
    parser.add_argument("--worker-faults", type=int, default=200)
    parser.add_argument("--nodes-removed", type=int, default=0, help="with ray")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    if out.exists():
        shutil.rmtree(out)
    (out / "working").mkdir(parents=True)
    os.environ |= {FOLDER: str(out), "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}

    def command(run: str, *more: str) -> list[str]:
        changes = [part for change in SETTINGS for part in ("--set", change)]
        budget = ("--budget", str(arguments.evaluations), "--run", str(out / run))
        return [sys.executable, "-m", "evonas", "search", "tiny", *changes, *budget, "--trust", *more]

    started = time.monotonic()
    subprocess.run(command("calm", "--workers", "2"), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    calm = time.monotonic() - started

    kills = arguments.driver_kills
    faults = Faults(
        random.Random(arguments.seed),
        min(1.0, 1.6 * arguments.worker_faults / arguments.evaluations),
        arguments.worker_faults,
        [arguments.evaluations * (n + 1) // (kills + 1) for n in range(kills)],
    )
    cluster, nodes = _cluster(arguments) if arguments.executor == "ray" else (None, [])
    removals = [
        arguments.evaluations * (n + 1) // (arguments.nodes_removed + 2) for n in range(arguments.nodes_removed)
    ]
    more = ["--workers", "2"] if cluster is None else ["--executor", f"ray:{cluster.address}"]
    wrong: list[str] = []
    started = time.monotonic()
    while True:
        resumed = (out / "chaos" / "archive.sqlite").exists()
        log = (out / "driver.log").open("a")
        call = command("chaos", *more, *(["--resume"] if resumed else []))
        driver = subprocess.Popen(call, stdout=log, stderr=log, process_group=0)
        while driver.poll() is None:
            faults.look(out)
            told = _told(out / "chaos" / "archive.sqlite")
            if faults.driver_kills and told >= faults.driver_kills[0]:
                time.sleep(faults.rng.uniform(0.0, 2.0))
                faults.driver_kills.pop(0)
                driver.kill()
                faults.done["drivers killed"] += 1
            if cluster is not None and removals and told >= removals[0]:
                removals.pop(0)
                cluster.remove_node(nodes.pop(), allow_graceful=False)
                faults.done["nodes removed"] += 1
            time.sleep(LOOK)
        if driver.returncode not in ACCEPTED:
            wrong.append(f"a driver ended with status {driver.returncode}, see {out / 'driver.log'}")
            break
        if driver.returncode == 0:
            break
    seconds = time.monotonic() - started
    if cluster is not None:
        cluster.shutdown()
    wrong += _compared(out) + _left_behind(out)
    summary = {
        "executor": arguments.executor,
        "seed": arguments.seed,
        "evaluations": _told(out / "chaos" / "archive.sqlite"),
        **faults.done,
        "worker faults": sum(faults.done[kind] for kind in KINDS),
        "rejections": _rejections(out / "chaos" / "archive.sqlite"),
        "seconds in peace": round(calm),
        "seconds under faults": round(seconds),
        "wrong": wrong,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(json.dumps(summary, indent=2))
    return 1 if wrong else 0


def _cluster(arguments: argparse.Namespace) -> tuple[Any, list[Any]]:
    """A head without processors, and two nodes of one processor beside those that will be removed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    return cluster, [cluster.add_node(num_cpus=1) for _ in range(2 + arguments.nodes_removed)]


def _read(note: Path) -> str | None:
    try:
        return str(json.loads(note.read_text()))
    except (OSError, ValueError):
        return None


def _told(archive: Path) -> int:
    if not archive.exists():
        return 0
    with Archive.open(archive, read_only=True) as opened:
        return opened.told()


def _rejections(archive: Path) -> dict[str, int]:
    with Archive.open(archive, read_only=True) as opened:
        rejections, _ = opened.ends()
    return dict(Counter(f"{each.stage}: {each.reason}" for each in rejections))


def _compared(out: Path) -> list[str]:
    """Where the two archives differ."""
    with (
        Archive.open(out / "calm" / "archive.sqlite", read_only=True) as calm,
        Archive.open(out / "chaos" / "archive.sqlite", read_only=True) as chaos,
    ):
        one, other = calm.content(), chaos.content()
    return [f"the archives differ in {name}" for name in one if one[name] != other[name]]


def _left_behind(out: Path) -> list[str]:
    """Processes that still run a while after the end, and drafts."""
    deadline = time.monotonic() + 20.0
    while (left := _running(out)) and time.monotonic() < deadline:
        time.sleep(0.5)
    drafts = [path.name for path in out.iterdir() if path.name.endswith(".new")]
    return [f"still running: {line}" for line in left] + [f"left: {name}" for name in drafts]


def _running(out: Path) -> list[str]:
    """Command lines of other processes that were started for this."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            if f"{FOLDER}={out}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if words:  # and no zombie
                    found.append(f"{folder.name} {words[:120]}")
        except OSError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
