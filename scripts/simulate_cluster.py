"""How a search would run on 10 to 10,000 workers: a discrete-event simulation with measured costs.

    python scripts/simulate_cluster.py RUN --driver-ms 40 --overhead-ms 15

An evaluation takes as long as one drawn from those that RUN has recorded, and the overhead of its executor. The
driver does one thing at a time: it takes ``--driver-ms`` for a candidate, in which it draws, screens and records it.
Candidate n is drawn when n - look-ahead + 1 candidates have been told, in the order of asking, so that one long
evaluation holds up the others. Shown is, for each number of workers and look-ahead, how many candidates are evaluated
in an hour, and what share of the time workers and driver work. The limit of the driver is 3,600 seconds by its
seconds for a candidate.
"""

import argparse
import heapq
import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path

from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive


@dataclass(frozen=True)
class Found:
    """What a simulation came to."""

    workers: int
    look_ahead: int
    per_hour: int
    workers_busy: float
    driver_busy: float


def simulate(
    seconds: list[float], workers: int, look_ahead: int, driver: float, overhead: float, hours: float, seed: int
) -> Found:
    """Let a search run for some hours.

    Args:
        seconds: of evaluations, to draw from.
        workers: that evaluate.
        look_ahead: candidates that may be open at once.
        driver: seconds of the driver for a candidate.
        overhead: seconds of a worker for a candidate beside its evaluation.
        hours: that are simulated.
        seed: of the draws.
    """
    rng, end = random.Random(seed), 3600 * hours
    idle, running = workers, list[tuple[float, int]]()  # when an evaluation ends, and of which candidate
    now = busy_workers = busy_driver = 0.0
    drawn = told = 0
    waiting, done = list[int](), set[int]()
    while now < end:
        if drawn < told + look_ahead:  # the driver draws one; meanwhile workers go on
            now += driver
            busy_driver += driver
            waiting.append(drawn)
            drawn += 1
        else:  # it waits for the next result
            now = max(now, running[0][0])
        while running and running[0][0] <= now:
            _, index = heapq.heappop(running)
            done.add(index)
            idle += 1
        while told in done:
            done.remove(told)
            told += 1
        while idle and waiting:
            length = rng.choice(seconds) + overhead
            busy_workers += length
            idle -= 1
            heapq.heappush(running, (now + length, waiting.pop(0)))
    over = sum(max(0.0, until - now) for until, _ in running)
    return Found(
        workers,
        look_ahead,
        round(told / now * 3600),
        round((busy_workers - over) / (workers * now), 3),
        round(busy_driver / now, 3),
    )


def main() -> None:
    """Simulate, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run whose recorded times are drawn from")
    parser.add_argument("--driver-ms", type=float, required=True, help="of the driver for a candidate")
    parser.add_argument("--overhead-ms", type=float, default=15.0, help="of the executor for a candidate")
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--look-ahead", type=float, nargs="+", default=[1.0, 2.0, 4.0], help="times the workers")
    parser.add_argument("--times", type=float, default=1.0, help="how many times longer evaluations are")
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    with Archive.open(RunFolder(arguments.run).require().archive_file, read_only=True) as archive:
        seconds = [arguments.times * evaluation.seconds for _, evaluation in archive.records()]
    found = [
        simulate(
            seconds,
            workers,
            max(1, round(factor * workers)),
            arguments.driver_ms / 1000,
            arguments.overhead_ms / 1000,
            arguments.hours,
            arguments.seed,
        )
        for workers in arguments.workers
        for factor in arguments.look_ahead
    ]
    print(
        f"{len(seconds)} recorded evaluations, mean {sum(seconds) / len(seconds):.2f} s, longest {max(seconds):.2f} s"
    )
    print("workers  look-ahead  candidates/h  workers busy  driver busy")
    for each in found:
        row = f"{each.workers:7} {each.look_ahead:11} {each.per_hour:13}"
        print(f"{row} {each.workers_busy:13.1%} {each.driver_busy:12.1%}")
    if arguments.out:
        arguments.out.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
