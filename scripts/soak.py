r"""Memory, open files and files on disk while a command runs, sampled until it ends.

    python scripts/soak.py out/soak --watch out/soak/run -- \
        evonas search search_spaces/evonorm_s.toml --run out/soak/run --budget 2h --workers 2

Every ``--every`` seconds a line is added to OUT/samples.jsonl. It has the resident memory and the number of open files
of the driver, which is the command itself, and of its workers, which are its descendants (resident memory is summed
over them and so counts shared pages several times); and the bytes of the event files and of the archive below
``--watch``. At the end OUT/soak.png shows them all, and OUT/summary.json has, for the part after the first
``--warm-up`` (a share of the samples), the level and the growth per hour of each by the Theil-Sen estimator: the
median of the slopes between all pairs of samples. ``--draw`` draws again what was sampled.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from scipy.stats import theilslopes

MIB = 2**20
SHOWN = {
    "driver_mib": "resident memory of the driver [MiB]",
    "workers_mib": "resident memory of all workers [MiB]",
    "largest_worker_mib": "resident memory of the largest worker [MiB]",
    "driver_files": "open files of the driver",
    "workers_files": "open files of all workers",
    "processes": "processes",
    "events_mib": "event files [MiB]",
    "archive_mib": "archive [MiB]",
}


def sample(process: psutil.Process, watched: Path) -> dict[str, float]:
    """What is looked at, now; raises psutil.NoSuchProcess once the command has ended."""
    own, files = process.memory_info().rss / MIB, process.num_fds()
    workers, workers_files = [], 0
    for child in process.children(recursive=True):
        try:
            workers.append(child.memory_info().rss / MIB)
            workers_files += child.num_fds()
        except psutil.NoSuchProcess:  # it ended between the two looks
            continue
    return {
        "driver_mib": own,
        "workers_mib": sum(workers),
        "largest_worker_mib": max(workers, default=0.0),
        "driver_files": files,
        "workers_files": workers_files,
        "processes": 1 + len(workers),
        "events_mib": _size(watched, "events.out.tfevents.*"),
        "archive_mib": _size(watched, "archive.sqlite*"),
    }


def _size(folder: Path, pattern: str) -> float:
    found = 0
    for path in folder.rglob(pattern):
        try:
            found += path.stat().st_size
        except FileNotFoundError:
            continue
    return found / MIB


def summary(samples: list[dict[str, float]], warm_up: float) -> dict[str, Any]:
    """Level and growth of each figure after the warm-up."""
    kept = samples[int(len(samples) * warm_up) :]
    hours = [one["seconds"] / 3600 for one in kept]
    found: dict[str, Any] = {"samples": len(samples), "hours": samples[-1]["seconds"] / 3600, "warm_up": warm_up}
    for name in SHOWN:
        values = [one[name] for one in kept]
        slope = float(theilslopes(values, hours).slope) if len(set(hours)) > 1 else 0.0
        level = statistics.median(values)
        found[name] = {"median": round(level, 2), "most": round(max(values), 2), "growth_per_hour": round(slope, 3)}
    return found


def draw(samples: list[dict[str, float]], warm_up: float, path: Path) -> None:
    """A panel for each figure; the warm-up is shaded."""
    from evonas.report.pictures.charts import styled
    from evonas.report.pictures.figure import new_figure

    figure = new_figure(11.0, 9.0)
    minutes = [one["seconds"] / 60 for one in samples]
    for number, (name, title) in enumerate(SHOWN.items()):
        row, column = divmod(number, 2)
        axes = styled(figure.add_axes((0.08 + 0.49 * column, 0.8 - 0.24 * row, 0.4, 0.145)))
        axes.axvspan(0, minutes[int(len(minutes) * warm_up)], color="#e6e9ed", linewidth=0)
        axes.plot(minutes, [one[name] for one in samples], color="#2f6db3", linewidth=1.2)
        axes.set_ylim(bottom=0)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_xlabel("minutes", fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run the command and look at it; the exit status is the command's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--watch", type=Path, help="the run folder; default: OUT")
    parser.add_argument("--every", type=float, default=15.0, metavar="SECONDS")
    parser.add_argument("--warm-up", type=float, default=0.25, metavar="SHARE")
    parser.add_argument("--draw", action="store_true", help="only draw OUT/samples.jsonl again")
    words = [*sys.argv[1:], "--"]
    own, command = words[: words.index("--")], words[words.index("--") + 1 : -1]
    arguments = parser.parse_args(own)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    file, status = out / "samples.jsonl", 0
    if not arguments.draw:
        if not command:
            parser.error("a command is needed, after --")
        status = _run(command, arguments.watch or out, arguments.every, file)
    samples = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if not samples:
        parser.error(f"{file} has no samples: the command ended before the first")
    found = summary(samples, arguments.warm_up) | {"exit_status": status}
    (out / "summary.json").write_text(json.dumps(found, indent=2) + "\n")
    draw(samples, arguments.warm_up, out / "soak.png")
    print(json.dumps(found, indent=2))
    return status


def _run(command: list[str], watched: Path, every: float, file: Path) -> int:
    """Samples until the command ends; its exit status."""
    started = time.monotonic()
    with file.open("w") as lines, subprocess.Popen(command, env=os.environ) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            try:
                found = {"seconds": round(time.monotonic() - started, 2)} | sample(process, watched)
            except psutil.NoSuchProcess:
                break
            lines.write(json.dumps(found) + "\n")
            lines.flush()
            try:
                running.wait(every)
            except subprocess.TimeoutExpired:
                continue
    return running.returncode


if __name__ == "__main__":
    raise SystemExit(main())
