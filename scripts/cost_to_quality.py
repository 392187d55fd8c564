"""Core-seconds until a search holds a layer at least as good as EvoNorm-S0, for procedures that differ by one lever.

python scripts/cost_to_quality.py SEARCH.toml --out FOLDER [--arm NAME ...] [--seeds 1 2 3] [--cap 3000] [--set a.b=c]

Every arm works on the same tasks with the same full budget per layer, the search file's, and stops when a layer trained
in full has a mean validation accuracy of at least EvoNorm-S0's under the same seed, when it has spent --cap
core-seconds, or when it finds no new layer in ``evolution.max_proposals`` proposals (its line says ``exhausted``). What
is spent is processor time of one thread: proposing, screening, training, and the reference curve where rungs need one.
An evaluation depends on the layer and the seed alone, so where a later search trains a layer that an earlier one has
trained under the same rules, the recorded outcome is used and the recorded time is charged.

FOLDER gets memo/ (outcomes; elsewhere with --memo), results.jsonl (a line per arm and seed, with the curve), tb/
(TensorBoard). Started again, the script goes on where it was. ``scripts/cost_table.py`` makes the table and the
pictures.
"""

import argparse
import hashlib
import json
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pebble import ProcessPool

from evonas import config
from evonas.config import SearchConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.report.board import TensorBoard
from evonas.search.engine import SearchExhaustedError
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.making import make_search
from evonas.search.outcome import Candidate, Evaluation, Rejection
from evonas.search.rungs import Hurdle
from evonas.training.allocator import keep_memory

GOAL = "evonorm-s0"
# a filter of 20 % after 100 steps, then every survivor in full; nothing is known of a layer before it is trained
PUBLISHED = [
    "evolution.random_injection=0.5",
    "evolution.point_mutation=0.0",
    "protocols.screens=[]",
    "protocols.propagation.depth=0",
    "protocols.stability.steps=0",
    "protocols.quality.steps=100",
    "protocols.quality.min_accuracy=0.2",
    "rungs.steps=[]",
    "rungs.reductions=[]",
    "execution.compile='never'",
]
SCREENS = [*PUBLISHED, 'protocols.screens=["structure", "numerics"]']
REUSE = [change for change in PUBLISHED if not change.startswith("protocols.screens")]
PROPAGATION = [change for change in REUSE if not change.startswith("protocols.propagation")]
MUTATION = ["protocols.stability.steps=0", "execution.compile='never'"]
RUNGS = [*MUTATION, "evolution.point_mutation=0.0"]
ARMS: Mapping[str, list[str]] = {  # the search file is the last; each arm before it lacks the levers after it
    "random": [*PUBLISHED, "evolution.random_injection=1.0"],
    "published": PUBLISHED,
    "screens": SCREENS,
    "reuse": REUSE,
    "propagation": PROPAGATION,
    "rungs": RUNGS,
    "mutation": MUTATION,
    "ours": [],
    "ours-random": ["evolution.random_injection=1.0"],
}


@dataclass(slots=True)
class Result:
    """How one arm did under one seed.

    ``curve`` has (core-seconds, best mean accuracy so far) at every gain, ``scores`` (core-seconds, mean accuracy) of
    every layer trained in full.
    """

    arm: str
    seed: int
    goal: float
    cap: float
    reached: bool = False
    exhausted: bool = False
    core_seconds: float = 0.0
    driving_seconds: float = 0.0
    candidates: int = 0
    screened_out: int = 0
    trained_in_full: int = 0
    best: float = 0.0
    layer: str = ""
    rejections: dict[str, int] = field(default_factory=dict)
    curve: list[tuple[float, float]] = field(default_factory=list)
    scores: list[tuple[float, float]] = field(default_factory=list)


class Memo:
    """Outcomes of evaluations under one set of rules and one seed, with what they cost, in a file."""

    def __init__(self, path: Path, evaluator: Evaluator) -> None:
        self._path, self._evaluator = path, evaluator
        self._known: dict[str, dict[str, Any]] = {}
        if path.exists():
            lines = path.read_text().splitlines()
            self._known = {row["id"]: row for row in map(json.loads, lines)}

    def __call__(self, genome: Genome, hurdles: tuple[Hurdle, ...], *, gated: bool = True) -> tuple[Evaluation, float]:
        """The evaluation, and the processor time it takes."""
        name = f"{genome.key} {gated} {[(h.steps, h.threshold, sorted(h.floors.items())) for h in hurdles]}"
        if name not in self._known:
            started = time.process_time()
            evaluation = self._evaluator(genome, gated=gated, hurdles=hurdles)
            spent = time.process_time() - started
            row = {
                "id": name,
                "seconds": spent,
                "steps": evaluation.steps,
                "objectives": dict(evaluation.objectives),
                "rejection": asdict(evaluation.rejection) if evaluation.rejection else None,
                "rungs": dict(evaluation.rungs),
            }
            self._known[name] = json.loads(json.dumps(row))
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        row = self._known[name]
        rejection = Rejection(**row["rejection"]) if row["rejection"] else None
        rungs = {task: tuple((int(at), float(score)) for at, score in points) for task, points in row["rungs"].items()}
        evaluation = Evaluation(
            genome.key, self._evaluator.seed, row["steps"], row["seconds"], row["objectives"], rejection, rungs=rungs
        )
        return evaluation, row["seconds"]


def run_arm(settings: SearchConfig, arm: str, cap: float, out: Path, known: Path, *, until_goal: bool) -> Result:
    """Search until the goal is reached or the cap is spent; outcomes are kept in the folder ``known``."""
    torch.set_num_threads(1)
    keep_memory()
    evaluator = evaluator_from_config(settings)
    memo = Memo(known / f"{_rules(settings)}-{settings.seed}.jsonl", evaluator)
    goal, _ = memo(CATALOGUE[GOAL], (), gated=False)
    assert goal.mean is not None, f"{GOAL} could not be trained"
    result = Result(arm, settings.seed, goal.mean, cap)
    reference = None
    if settings.rungs.steps:
        reference, result.core_seconds = memo(CATALOGUE[settings.baselines[0]], (), gated=False)
    search = make_search(settings, reference)
    waiting: deque[tuple[Candidate, tuple[Hurdle, ...]]] = deque()
    board = TensorBoard(out / "tb" / f"{arm}-{settings.seed}")
    while result.core_seconds < cap and not (result.reached and until_goal):
        started = time.process_time()
        while search.may_ask and not result.exhausted:
            try:
                waiting.append((search.ask(), search.hurdles()))
            except SearchExhaustedError:
                result.exhausted = True
        _charge(result, time.process_time() - started)
        if not waiting:
            break
        candidate, hurdles = waiting.popleft()
        evaluation, spent = memo(candidate.genome, hurdles)
        result.core_seconds += spent
        started = time.process_time()
        search.tell(candidate.index, evaluation)
        _charge(result, time.process_time() - started)
        _count(result, candidate, evaluation)
        if evaluation.mean is not None:
            result.scores.append((result.core_seconds, evaluation.mean))
        if evaluation.mean is not None and evaluation.mean > result.best:
            result.best, result.layer = evaluation.mean, candidate.genome.active().to_text()
            result.curve.append((result.core_seconds, result.best))
            result.reached = result.best >= result.goal
            board.scalar("best mean accuracy by core-seconds", result.best, int(result.core_seconds))
    board.close()
    return result


def _charge(result: Result, seconds: float) -> None:
    result.core_seconds += seconds
    result.driving_seconds += seconds


def _count(result: Result, candidate: Candidate, evaluation: Evaluation) -> None:
    result.candidates += 1
    result.screened_out += candidate.reasons.total()
    result.trained_in_full += bool(evaluation.objectives)
    reasons = candidate.reasons
    if evaluation.rejection is not None:
        reasons[evaluation.rejection.stage, evaluation.rejection.reason] += 1
    for (stage, _), count in reasons.items():
        result.rejections[stage] = result.rejections.get(stage, 0) + count


def _rules(settings: SearchConfig) -> str:
    """A name for all that an evaluation depends on, but for the seed."""
    p = settings.protocols
    parts = (settings.data, settings.training, settings.layer, p.quality, p.stability, settings.rungs)
    text = json.dumps([part.identity() for part in parts])
    text += json.dumps([task.identity() for task in settings.tasks])
    return hashlib.sha256((text + settings.execution.compile).encode()).hexdigest()[:12]


def main() -> None:
    """Run what is not there yet, two at a time or as --workers says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arm", dest="arms", action="append", choices=list(ARMS), help="default: all, may be repeated")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cap", type=float, default=3000.0, help="core-seconds after which an arm gives up")
    parser.add_argument("--to-the-cap", action="store_true", help="go on after the goal is reached, for the curves")
    parser.add_argument("--memo", type=Path, help="folder of outcomes, to share one; default: OUT/memo")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="a.b=c")
    arguments = parser.parse_args()
    known = arguments.memo or arguments.out / "memo"
    for folder in (arguments.out, known):
        folder.mkdir(parents=True, exist_ok=True)
    results = arguments.out / "results.jsonl"
    done = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    finished = {(row["arm"], row["seed"]) for row in done}
    wanted = [(arm, seed) for arm in arguments.arms or ARMS for seed in arguments.seeds if (arm, seed) not in finished]
    with results.open("a") as file, ProcessPool(arguments.workers) as pool:
        running = []
        for arm, seed in wanted:
            overrides = [*arguments.overrides, *ARMS[arm], f"seed={seed}"]
            job = (config.load_search(arguments.file, overrides), arm, arguments.cap, arguments.out, known)
            running.append(pool.schedule(run_arm, args=job, kwargs={"until_goal": not arguments.to_the_cap}))
        for future in as_completed(running):
            result: Result = future.result()
            file.write(json.dumps(asdict(result)) + "\n")
            file.flush()
            how = f"{'' if result.reached else 'not '}reached{', exhausted' if result.exhausted else ''}"
            spent = f"{result.core_seconds:.0f} core-seconds"
            print(f"{result.arm} seed {result.seed}: {how}, {spent}, {result.best:.4f}", flush=True)


if __name__ == "__main__":
    main()
