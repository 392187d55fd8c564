"""What an evaluation costs beside training: of a pool of workers, local or Ray's, and of the driver.

    python scripts/bench_overhead.py overhead.json

Evaluations are empty: a worker gets a layer and gives a score made from its content. *Latency* is the time from
handing in one job to its result, one after the other; the median of many. *Throughput* is that of many jobs handed in
at once. *Driver* is the time that a whole search takes for a candidate with such a worker in its own process: drawing
and screening, recording in the archive, and TensorBoard left out. Processes are started before a clock starts.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from evonas import config
from evonas.config import ExecutionConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.runs.pool import Failure, open_pool
from evonas.search.archive import Archive
from evonas.search.driver import drive
from evonas.search.execution import EvaluationJob, InProcess
from evonas.search.outcome import Evaluation

LAYER = CATALOGUE["evonorm-s0"]


def empty(_: Any) -> Callable[[EvaluationJob], Evaluation]:
    """What does jobs: nothing."""
    return _empty


def _empty(job: EvaluationJob) -> Evaluation:
    return Evaluation(job.genome.key, job.seed or 1, objectives={"made": int(job.genome.key[:6], 16) / 2**24})


def pool_figures(executor: str, workers: int, jobs: int) -> dict[str, Any]:
    """Latency and throughput of a pool."""
    execution = ExecutionConfig(executor=executor, workers=workers)
    with open_pool(empty, None, execution, workers) as pool:
        for _, found in pool.unordered([EvaluationJob(LAYER)] * 4 * workers):  # all of them have begun
            assert not isinstance(found, Failure), found
        latencies = []
        for _ in range(jobs // 4):
            began = time.perf_counter()
            pool.submit(EvaluationJob(LAYER))()
            latencies.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _ in pool.unordered([EvaluationJob(LAYER)] * jobs):
            pass
        seconds = time.perf_counter() - began
    return {
        "executor": executor,
        "workers": workers,
        "latency ms": round(1000 * statistics.median(latencies), 2),
        "jobs per second": round(jobs / seconds, 1),
        "ms per job": round(1000 * seconds / jobs, 2),
    }


def driver_figures(name: str, candidates: int, screeners: int = 0) -> dict[str, Any]:
    """Seconds of the driver for a candidate of a search, at its beginning and its end."""
    changes = ("rungs.steps=[]", "racing.every=0", f"execution.screeners={screeners}")
    settings = config.load_search(Path(name), [f"budget.evaluations={candidates}", *changes])
    marks: list[float] = []

    def evaluate(genome: Any, *, seed: int | None, **_: Any) -> Evaluation:
        marks.append(time.perf_counter())
        return _empty(EvaluationJob(genome, seed=seed))

    with tempfile.TemporaryDirectory() as folder, Archive.create(Path(folder) / "archive.sqlite") as archive:
        drive(settings, archive, InProcess(evaluate, 1), [])  # type: ignore[arg-type]
    each = [later - sooner for sooner, later in pairwise(marks)]
    tenth = max(1, len(each) // 10)
    return {
        "search": settings.name,
        "candidates": candidates,
        "screeners": screeners,
        "ms per candidate": round(1000 * statistics.mean(each), 2),
        "first tenth": round(1000 * statistics.mean(each[:tenth]), 2),
        "last tenth": round(1000 * statistics.mean(each[-tenth:]), 2),
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--executors", nargs="+", default=["local", "ray"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--screeners", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--searches", nargs="*", default=["evonorm_s", "cifar_s"])
    parser.add_argument("--candidates", type=int, default=400)
    arguments = parser.parse_args()
    found = [
        driver_figures(name, arguments.candidates, screeners)
        for name in arguments.searches
        for screeners in arguments.screeners
    ]
    for executor in arguments.executors:
        found += [pool_figures(executor, workers, arguments.jobs) for workers in arguments.workers]
        print(json.dumps(found[-1]))
    arguments.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
