"""How well the guide would have predicted a search that is over: nothing is trained.

    python scripts/bench_guide.py RUN_OR_ARCHIVE... [--pool 16] [--refit 16]

The surrogate is told the results of an archive in their order, and predicts each candidate of the second half from the
results up to the last fit before it. Printed are Spearman's rank correlations of predicted means with the level that
layers came to (the mark, and the score there), with the score at the first rung and with that after full training; and
the share of the best tenth that is found if of every pool of consecutive candidates only the one of greatest expected
improvement is trained, with what a random choice finds and what the best choice would.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from evonas.report.table import Table
from evonas.search.archive import Archive
from evonas.search.guide.levels import level_of, rarity
from evonas.search.guide.surrogate import Surrogate
from evonas.search.individual import FULL_TRAINING
from evonas.search.outcome import Candidate, Evaluation, Prediction
from evonas.search.rungs import scores_at

EPS = 1e-5
BEST = 0.1  # the share of layers that are to be found


def main() -> None:
    """Read the command line and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", nargs="+", type=Path, help="run folders or archives")
    parser.add_argument("--pool", type=int, default=16)
    parser.add_argument("--refit", type=int, default=16)
    args = parser.parse_args()
    rows = []
    for path in args.archives:
        with Archive.open(path / "archive.sqlite" if path.is_dir() else path, read_only=True) as archive:
            records = list(archive.records())
        rows.append({"archive": path.stem if path.is_file() else path.name, **measure(records, args.pool, args.refit)})
    print(Table.of(rows, {name: "{:.2f}" for name, value in rows[0].items() if isinstance(value, float)}).markdown())


def measure(records: Sequence[tuple[Candidate, Evaluation]], pool: int, refit: int) -> dict[str, float | int]:
    """The figures of one search."""
    half, started = len(records) // 2, time.process_time()
    guide, expected = Surrogate(1, EPS, refit), list[Prediction]()
    for candidate, evaluation in records:
        if len(expected) + half == candidate.index:
            expected += guide.predict([candidate.genome])
        guide.tell(candidate, evaluation)
    seconds = (time.process_time() - started) / len(records)
    later = [evaluation for _, evaluation in records[half:]]
    means, wanted = np.array([p.mean for p in expected]), [p.improvement for p in expected]
    levels = [level_of(evaluation) for evaluation in later]
    reached = np.array(rarity(levels))
    full = np.array([level.steps == FULL_TRAINING for level in levels])
    first = np.array([_first_score(evaluation) for evaluation in later])
    scored = np.isfinite(first)
    best = reached >= np.sort(reached)[-max(1, round(BEST * len(reached)))]
    return {
        "candidates": len(records),
        "trained in full": int(full.sum()),
        "rank correlation": _rank(means, reached),
        "at the first rung": _rank(means[scored], first[scored]),
        "of those in full": _rank(means[full], reached[full]),
        "found": _found(np.array(wanted), best, pool),
        "by chance": 1 / pool,
        "at most": _found(reached, best, pool),
        "seconds a candidate": seconds,
    }


def _first_score(evaluation: Evaluation) -> float:
    """Mean over tasks at the first rung of a training that came to it on all of them."""
    steps = min((at for points in evaluation.rungs.values() for at, _ in points), default=0)
    scores = scores_at(evaluation, steps)
    return float(np.mean(list(scores.values()))) if scores else float("nan")


def _rank(one: np.ndarray, other: np.ndarray) -> float:
    return float(spearmanr(one, other).statistic) if len({*one}) > 2 and len({*other}) > 2 else float("nan")


def _found(wanted: np.ndarray, best: np.ndarray, pool: int) -> float:
    """The share of the best that are chosen, over all ways to cut consecutive candidates into pools."""
    chosen, there = 0, 0
    for offset in range(pool):
        for start in range(offset, len(wanted) - pool + 1, pool):
            part = slice(start, start + pool)
            chosen += best[part][int(np.argmax(wanted[part]))]
            there += best[part].sum()
    return chosen / max(there, 1)


if __name__ == "__main__":
    main()
