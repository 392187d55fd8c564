"""Generate archives of many evaluations, and measure what a run of that size costs its driver and its readers.

    python scripts/archive_scale.py FOLDER --sizes 10000,100000,1000000 --output scale.json

Rows are inserted as a search leaves them: layers that differ, scores, rejections, scores at rungs, loss curves,
proposals that were screened out, and counts of others. Each measurement is a process of its own; its seconds are those
of the processor, and its memory is the peak beyond what was taken before it began.

An archive that is there already is used again; every measurement of telling adds 50 candidates to it. A search without
a guide keeps all proposals that were screened out, dozens for each candidate, for which ``--screened-out`` stands: all
of them are read when a run goes on.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from evonas import config
from evonas.config import SearchConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.report.table import Table
from evonas.runs.database import transaction
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive, writing
from evonas.search.outcome import Candidate, Evaluation, Proposal, Rejection
from evonas.search.protocols import silent, structure
from evonas.search.start import create_run

SEARCH = "evonorm_s"
KINDS = 5000  # layers that differ, at most
AT_ONCE = 2000  # candidates in one transaction
TOLD = 50  # candidates that are told to measure it
IGNORED = Rejection("structure", "output does not depend on the input")
VANISHES = Rejection("propagation", "gradient vanishes", "", 1e-9, 1e-6)
COUNTS = {("structure", IGNORED.reason): 30, ("equivalence", "same function as another proposal of its pool"): 4}
Measure = Callable[[RunFolder], Mapping[str, float] | None]


def layers(settings: SearchConfig, rng: random.Random, count: int) -> list[Genome]:
    """Layers of the space that the first screen passes, with the inactive nodes that a search has."""
    space, found = SearchSpace.from_config(settings.space), dict[str, Genome]()
    while len(found) < count:
        genome = space.sample(rng)
        if structure(genome) is None:
            found.setdefault(genome.key, genome)
    return list(found.values())


def evaluation_of(genome: Genome, settings: SearchConfig, rng: random.Random) -> Evaluation:
    """What training a layer might give: a third is stopped on the way."""
    tasks, steps = [task.label for task in settings.tasks], settings.training.steps
    level = rng.betavariate(4, 4)
    curves = {task: tuple((at, 2.3 - level * at / steps) for at in range(5, steps + 1, 5)) for task in tasks}
    rungs = {task: tuple((at, level * rng.uniform(0.9, 1.1)) for at in settings.rungs.steps) for task in tasks}
    if rng.random() < 1 / 3:
        reason = Rejection("quality", "accuracy too low", tasks[0], level, 1.0)
        return Evaluation(genome.key, 1, 20, 5.0, rejection=reason, traces={tasks[0]: curves[tasks[0]][:4]})
    scores = {task: level * rng.uniform(0.9, 1.1) for task in tasks}
    return Evaluation(genome.key, 1, steps * len(tasks), 30.0, scores, traces=curves, rungs=rungs)


def candidates(settings: SearchConfig, first: int, count: int, out: int) -> Iterator[tuple[Candidate, Evaluation]]:
    """Candidates as a search tells an archive of them."""
    rng = random.Random(first)
    known = layers(settings, random.Random(0), min(KINDS, count))
    for index in range(first, first + count):
        parent = rng.randrange(max(index - 500, 0), index) if index and rng.random() < 0.8 else None
        why = (silent(parent) if parent is not None else IGNORED, IGNORED, VANISHES)
        screened = tuple((Proposal(rng.choice(known), parent, "node 7: mul -> add"), why[n % 3]) for n in range(out))
        proposal = Proposal(rng.choice(known), parent, "random" if parent is None else "node 5: x -> v1")
        candidate = Candidate(index, proposal, f"{rng.getrandbits(64):016x}", screened, counts=COUNTS)
        yield candidate, evaluation_of(proposal.genome, settings, rng)


def generate(path: Path, size: int, out: int) -> RunFolder:
    """The folder of a search that has evaluated so many candidates."""
    settings = config.load_search(SEARCH, [f"budget.evaluations={size}"])
    run = create_run(path, settings)
    with Archive.open(run.archive_file) as archive:
        archive.event("started", "after 0 candidates")
        for name in settings.baselines:
            sure = next(e for n in range(99) if (e := evaluation_of(CATALOGUE[name], settings, random.Random(n))).mean)
            archive.record_baseline(name, sure)
        archive._db.execute("PRAGMA synchronous = OFF")
        rows = candidates(settings, 0, size, out)
        for first in range(0, size, AT_ONCE):
            with transaction(archive._db):
                for _, (candidate, evaluation) in zip(range(first, min(first + AT_ONCE, size)), rows, strict=False):
                    writing.insert_candidate(archive._db, candidate, evaluation)
        archive.event("stopped", "the budget is used up")
    return run


def telling(run: RunFolder) -> Mapping[str, float]:
    """Record candidates one by one; the time of one."""
    with Archive.open(run.archive_file) as archive:
        rows = list(candidates(run.config(), archive.told(), TOLD, 3))
        began, wall = time.process_time(), time.monotonic()
        for row in rows:
            archive.record(*row)
        seconds, wall = time.process_time() - began, time.monotonic() - wall
    return {"seconds": seconds / TOLD, "wall": wall / TOLD}


def opening(run: RunFolder) -> None:
    """Open the archive as a driver that goes on does, which looks at every page."""
    Archive.open(run.archive_file).close()


def reading(run: RunFolder) -> None:
    """Read what a driver that goes on reads."""
    with Archive.open(run.archive_file, read_only=True) as archive:
        for _ in archive.in_order(screened_out=True):
            pass


def resuming(run: RunFolder) -> None:
    """Bring a search to where its archive stands, as a driver does."""
    from evonas.search.driver import drive
    from evonas.search.execution import InProcess

    with Archive.open(run.archive_file) as archive:
        told = archive.told()
        settings = run.config().model_copy(update={"budget": config.BudgetConfig(evaluations=told)})
        nobody: InProcess = InProcess(None, 1)  # type: ignore[arg-type]
        drive(settings, archive, nobody, [])


def showing(run: RunFolder) -> Mapping[str, float]:
    """Let a board catch up with the record; and how long it takes to show one more candidate, with all pictures."""
    from evonas.report.board import TensorBoard
    from evonas.search.dashboard import SearchBoard

    board = SearchBoard(TensorBoard(run.board_folder), run.config())
    began, step = time.process_time(), 0
    with Archive.open(run.archive_file, read_only=True) as archive:
        for name, evaluation in archive.baselines().items():
            board.baseline(name, evaluation)
        for candidate, evaluation in archive.in_order(screened_out=True):
            board.told(candidate, evaluation, recorded=True)  # type: ignore[arg-type]
            step += 1
    seconds = time.process_time() - began
    ((candidate, evaluation),) = candidates(run.config(), step, 1, 3)
    board.told(candidate, evaluation, recorded=False)
    board.close()
    return {"seconds": seconds, "one more": time.process_time() - began - seconds}


def reporting(run: RunFolder) -> None:
    """What is said and written at the end of a search."""
    from evonas.interface.runs import open_run
    from evonas.search.best import save_best

    save_best(run)
    found = open_run(run.path)
    assert repr(found)


def typed(*arguments: str) -> Measure:
    """A measurement of the command line; RUN stands for the folder."""

    def measure(run: RunFolder) -> None:
        from evonas import cli

        sys.argv = ["evonas", *(argument.replace("RUN", str(run.path)) for argument in arguments)]
        with redirect_stdout(StringIO()):
            try:
                cli.main()
            except SystemExit as ended:
                if ended.code:
                    raise

    return measure


MEASURES: Mapping[str, Measure] = {
    "tell one more": telling,
    "open to write": opening,
    "read to go on": reading,
    "resume": resuming,
    "board": showing,
    "report": reporting,
    "top": typed("top", "RUN"),
    "top --pareto": typed("top", "RUN", "--pareto"),
    "show RUN#1": typed("show", "RUN#1"),
    "runs": typed("runs", "RUN"),
    "verify": typed("verify", "RUN"),
}


def measured(name: str, run: RunFolder) -> dict[str, float]:
    """Seconds of the processor and megabytes of a measurement, in this process."""
    import evonas.interface.runs  # noqa: F401  what is imported counts for nothing

    before, began = _peak(), time.process_time()
    found = MEASURES[name](run) or {}
    return {"seconds": time.process_time() - began, "megabytes": _peak() - before, **found}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Read the command line, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the archives are, or shall be")
    parser.add_argument("--sizes", default="10000,100000", help="evaluations of each archive")
    parser.add_argument("--screened-out", type=int, default=3, help="kept proposals before each candidate")
    parser.add_argument("--only", default=",".join(MEASURES), help="what is measured; by default everything")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(args.measure, RunFolder(args.folder))))
        return
    rows = []
    for size in map(int, args.sizes.split(",")):
        run = RunFolder(args.folder / str(size))
        if not run.exists:
            generate(run.path, size, args.screened_out)
        print(f"{size} evaluations: {run.archive_file.stat().st_size / 2**20:.0f} MB", file=sys.stderr, flush=True)
        for name in args.only.split(","):
            command = [sys.executable, __file__, str(run.path), "--measure", name]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.returncode}
            rows.append({"evaluations": size, "what": name, **found})
            print(rows[-1], file=sys.stderr, flush=True)
    if args.output:
        args.output.write_text(json.dumps(rows, indent=2) + "\n")
    print(Table.of(rows, dict.fromkeys(("seconds", "megabytes", "wall", "one more"), "{:.3g}")).markdown())


if __name__ == "__main__":
    main()
