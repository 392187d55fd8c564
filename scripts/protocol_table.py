"""How well each rejection protocol predicts the outcome of training, from the trainings of ``measure_protocols.py``.

python scripts/protocol_table.py SEARCH.toml FOLDER [--set a.b=c] [--good gn-relu] [--no-training] [--json]

FOLDER/graphs.jsonl has one trained layer per line. The truth is the quality protocol at its full number of steps: an
accuracy below its minimum on any task, or divergence, rejects. Good layers are those whose mean accuracy at the last
mark is at least that of the catalogue layer ``--good``. Of each protocol the table says: time per call; share of the
layers it rejects; precision, the share of its rejections that the truth rejects too; recall, the share of the truth's
rejections that it makes; share of the good layers it loses. Stability comes after the quality gate in a search, so it
is run on the layers that pass the truth. The second table says how well each measure of the propagation protocol tells
apart what passes and what does not: the area under the ROC curve for large values, small ones, and large distances
from the median of what passes. The third says of each of its limits: recall of this limit alone, the part of it that no
other limit catches, and how tight the limit could be before a good layer is lost. ``--no-training`` leaves out what
needs the data.
"""

import argparse
import json
import math
import statistics
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from evonas import config
from evonas.config import PropagationConfig, SearchConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.outcome import Rejection
from evonas.search.propagation import Propagation, propagate, propagation

EARLY = (25, 0.15), (25, 0.115)  # quality gates at fewer steps: (steps, least accuracy)
LAST = 100  # the last mark of graphs.jsonl
RANGES = "activation", "gradient", "weight_gradient"
TIMED = 5  # layers trained to time the quality gate


@dataclass(frozen=True, slots=True)
class Trained:
    """One line of graphs.jsonl."""

    genome: Genome
    origin: str
    scores: dict[str, dict[str, float]]
    diverged: dict[str, int | None]

    def passes(self, steps: int, least: float, *, ever: bool) -> bool:
        """Whether every accuracy after ``steps`` is high enough, and nothing diverged by then (or ``ever``)."""
        broken = any(at is not None and (ever or at <= steps) for at in self.diverged.values())
        return not broken and all(marks.get(str(steps), 0.0) >= least for marks in self.scores.values())

    def final(self) -> float:
        """Mean accuracy at the last mark; 0 for a layer that did not come so far on every task."""
        return statistics.mean(marks.get(str(LAST), 0.0) for marks in self.scores.values())


def main() -> None:
    """Read, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="a.b=c")
    parser.add_argument("--good", default="gn-relu", choices=sorted(CATALOGUE))
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = config.load_search(arguments.file, arguments.overrides)
    layers = read(arguments.folder / "graphs.jsonl")
    evaluator = None if arguments.no_training else evaluator_from_config(settings)
    result = judge(layers, settings, evaluator, arguments.good)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


def read(path: Path) -> list[Trained]:
    """The layers of a file whose training was not cut short by an error; a line still being written is left out."""
    lines = (json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n"))
    return [
        Trained(Genome.from_text(row["text"]), row["origin"], row["scores"], row["diverged"])
        for row in lines
        if "error" not in row
    ]


def judge(layers: list[Trained], settings: SearchConfig, evaluator: Evaluator | None, good_as: str) -> dict[str, Any]:
    """Every protocol's verdict on every layer, against the truth."""
    quality, layer = settings.protocols.quality, settings.layer
    truth = {t.genome.key: t.passes(quality.steps, quality.min_accuracy, ever=True) for t in layers}
    least = next(t.final() for t in layers if t.genome.key == CATALOGUE[good_as].key)
    good = {t.genome.key for t in layers if truth[t.genome.key] and t.final() >= least}
    passing = [t for t in layers if truth[t.genome.key]]
    depth = settings.protocols.propagation.depth or 20
    probe = settings.protocols.propagation.model_copy(update={"depth": depth})
    reasons: Counter[str] = Counter()

    def by_propagation(trained: Trained) -> bool:
        rejection = propagation(trained.genome, probe, layer)
        reasons[rejection.reason if rejection else "passed"] += 1
        return rejection is not None

    def row(name: str, reject: Callable[[Trained], bool], of: list[Trained]) -> dict[str, Any]:
        started = time.perf_counter()
        rejected = {t.genome.key for t in of if reject(t)}
        milliseconds = 1e3 * (time.perf_counter() - started) / max(1, len(of))
        return {"protocol": name, "layers": len(of), "ms": milliseconds, **_shares(rejected, of, truth, good)}

    found = {t.genome.key: propagate(t.genome, layer, depth=depth) for t in layers}
    wrong, right = ([found[key] for key, passed in truth.items() if passed is side] for side in (False, True))
    rows = [row(f"propagation, {depth} layers", by_propagation, layers)]
    milliseconds = _training_milliseconds(layers, evaluator)
    for steps, accuracy in (*EARLY, (quality.steps, quality.min_accuracy)):
        reject = lambda t, s=steps, a=accuracy: not t.passes(s, a, ever=False)  # noqa: E731
        rows.append(row(f"quality, {accuracy:g} at {steps} steps", reject, layers) | {"ms": milliseconds.get(steps)})
    if evaluator is not None and settings.protocols.stability.steps:
        rows.append(row("stability, after quality", lambda t: _unstable(evaluator, t.genome), passing))
    return {
        "layers": len(layers),
        "rejected by quality": len(layers) - len(passing),
        "good": len(good),
        "least good accuracy": least,
        "protocols": rows,
        "propagation reasons": dict(reasons.most_common()),
        "measures": _areas(wrong, right),
        "limits": _limits(probe, wrong, [found[key] for key in sorted(good)]),
    }


def _shares(rejected: set[str], of: list[Trained], truth: dict[str, bool], good: set[str]) -> dict[str, float | None]:
    keys = {t.genome.key for t in of}
    wrong = {key for key in keys if not truth[key]}
    return {
        "rejected": _share(rejected, keys),
        "precision": _share(rejected & wrong, rejected),
        "recall": _share(rejected & wrong, wrong),
        "good lost": _share(rejected & good, good & keys),
    }


def _share(part: set[str], whole: set[str]) -> float | None:
    return len(part) / len(whole) if whole else None


def _unstable(evaluator: Evaluator, genome: Genome) -> bool:
    rejection: Rejection | None = evaluator.stability(genome)
    return rejection is not None


def _training_milliseconds(layers: list[Trained], evaluator: Evaluator | None) -> dict[int, float]:
    """Mean time of ``steps`` steps and a score on every task, over a few layers."""
    if evaluator is None:
        return {}
    sample = [t.genome for t in layers[:: max(1, len(layers) // TIMED)]][:TIMED]
    found = {}
    for steps in {steps for steps, _ in EARLY} | {evaluator.protocols.quality.steps}:
        short = replace(evaluator, training=evaluator.training.model_copy(update={"steps": steps}))
        found[steps] = 1e3 * statistics.mean(short(genome, gated=False).seconds for genome in sample)
    return found


def _areas(wrong: Sequence[Propagation], right: Sequence[Propagation]) -> list[dict[str, Any]]:
    rows = []
    for field in fields(Propagation):
        bad, well = ([_number(getattr(p, field.name)) for p in group] for group in (wrong, right))
        middle = statistics.median(well)
        away = _area([abs(v - middle) for v in bad], [abs(v - middle) for v in well])
        large = _area(bad, well)
        rows.append({"measure": field.name, "large": large, "small": 1 - large, "distant": away})
    return rows


def _limits(
    settings: PropagationConfig, wrong: Sequence[Propagation], good: Sequence[Propagation]
) -> list[dict[str, Any]]:
    limits = [
        *((name, sign, bound) for name in RANGES for sign, bound in zip((-1, 1), getattr(settings, name), strict=True)),
        ("different", 1, settings.different),
        ("alike", -1, settings.alike),
    ]
    beyond = [
        {i for i, p in enumerate(wrong) if sign * _number(getattr(p, name)) > sign * bound}
        for name, sign, bound in limits
    ]
    return [
        {
            "limit": f"{name} {'<=' if sign > 0 else '>='} {bound:g}",
            "alone": len(caught) / len(wrong),
            "only": len(caught.difference(*(b for b in beyond if b is not caught))) / len(wrong),
            "tightest": sign * max(sign * _number(getattr(p, name)) for p in good),
        }
        for (name, sign, bound), caught in zip(limits, beyond, strict=True)
    ]


def _area(wrong: Iterable[float], right: Iterable[float]) -> float:
    """The chance that a random member of ``wrong`` is larger than one of ``right``."""
    ordered = sorted(right)
    ranks = [(bisect_left(ordered, v) + bisect_right(ordered, v)) / 2 for v in wrong]
    return sum(ranks) / len(ranks) / len(ordered)


def _number(value: float) -> float:
    return value if math.isfinite(value) else 1e30


def show(result: dict[str, Any]) -> None:
    """Print for people."""
    console = Console(width=100)
    title = f"{result['layers']} layers, {result['rejected by quality']} rejected by quality, {result['good']} good"
    table = Table(title=title, title_justify="left")
    for column in ("protocol", "layers", "ms a call", "rejected", "precision", "recall", "good lost"):
        table.add_column(column, justify="left" if column == "protocol" else "right", no_wrap=True)
    for row in result["protocols"]:
        shares = (_shown(row[key], 3) for key in ("rejected", "precision", "recall", "good lost"))
        table.add_row(row["protocol"], str(row["layers"]), _shown(row["ms"], 1), *shares)
    console.print(table)
    console.print(result["propagation reasons"])
    table = Table(title="area under the ROC curve", title_justify="left")
    for column in ("measure", "large", "small", "distant"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for row in result["measures"]:
        table.add_row(row["measure"], *(f"{row[key]:.3f}" for key in ("large", "small", "distant")))
    console.print(table)
    table = Table(title="limits of propagation", title_justify="left")
    for column in ("limit", "alone", "only", "tightest"):
        table.add_column(column, justify="left" if column == "limit" else "right")
    for row in result["limits"]:
        table.add_row(row["limit"], f"{row['alone']:.3f}", f"{row['only']:.3f}", f"{row['tightest']:.3g}")
    console.print(table)


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
