"""What the screens before training cost and reject, and whether good layers are among what they reject.

python scripts/screens_table.py SEARCH.toml FOLDER [--proposals 20000] [--set a.b=c] [--good gn-relu] [--json]

FOLDER holds graphs.jsonl and screened.jsonl of ``measure_protocols.py``: trained layers that pass the screens, and as
many that each of them rejects. A layer is good when it passes the quality protocol and its mean accuracy at the last
mark is at least that of the catalogue layer ``--good``. Structure and numerics lose every good layer they reject;
equivalence loses one only when the layer it repeats is not good, and the largest difference in accuracy between the two
is printed. Cost and share rejected are of fresh proposals: random graphs, and mutants (1 to 3 mutations) of the
catalogue layers the space holds; each screen sees what those before it pass, and each content key once.
"""

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from measure_protocols import proposals
from protocol_table import LAST, Trained, read
from rich.console import Console
from rich.table import Table

from evonas import config
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.space import SearchSpace
from evonas.search.protocols import fingerprint, numerics, structure

STAGES = "structure", "numerics", "equivalence"


def main() -> None:
    """Read, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--proposals", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="a.b=c")
    parser.add_argument("--good", default="gn-relu", choices=sorted(CATALOGUE))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    settings = config.load_search(arguments.file, arguments.overrides)
    losses = lost(settings, arguments.folder, arguments.good)
    shares = {kind: cost(settings, kind, arguments.proposals, arguments.seed) for kind in ("random", "mutant")}
    result = {stage: {**losses[stage], **{kind: found[stage] for kind, found in shares.items()}} for stage in STAGES}
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


def lost(settings: config.SearchConfig, folder: Path, good_as: str) -> dict[str, dict[str, Any]]:
    """Of every screen: layers trained, how many of them are good, how many of these are lost."""
    quality = settings.protocols.quality
    passed = {t.genome.key: t for t in read(folder / "graphs.jsonl")}
    least = passed[CATALOGUE[good_as].key].final()

    def good(layer: Trained) -> bool:
        return layer.passes(quality.steps, quality.min_accuracy, ever=True) and layer.final() >= least

    rows = [json.loads(line) for line in (folder / "screened.jsonl").read_text().splitlines()]
    trained = {layer.genome.key: layer for layer in read(folder / "screened.jsonl")}
    found = {}
    for stage in STAGES:
        of = [row for row in rows if row["rejected"] == stage]
        pairs = [(trained[row["key"]], passed.get(row.get("twin", ""))) for row in of if "error" not in row]
        found[stage] = {
            "trained": len(of),
            "errors": sum("error" in row for row in of),
            "good": sum(good(layer) for layer, _ in pairs),
            "lost": sum(good(layer) and not (twin and good(twin)) for layer, twin in pairs),
            "difference": max((_difference(layer, twin) for layer, twin in pairs if twin), default=None),
        }
    return found


def _difference(layer: Trained, twin: Trained) -> float:
    """The largest difference in accuracy at the last mark over the tasks."""
    last = str(LAST)
    return max(abs(layer.scores[name].get(last, 0.0) - twin.scores[name].get(last, 0.0)) for name in layer.scores)


def cost(settings: config.SearchConfig, kind: str, count: int, seed: int) -> dict[str, dict[str, float]]:
    """Of every screen: milliseconds a call and the share rejected of what reaches it."""
    space, rng = SearchSpace.from_config(settings.space), random.Random(seed)
    source, keys, functions = proposals(kind, space, rng), set[str](), set[str]()
    seconds, calls, rejected = defaultdict[str, float](float), Counter[str](), Counter[str]()

    def rejects(stage: str, genome: Any) -> bool:
        started = time.perf_counter()
        if stage == "structure":
            verdict = structure(genome) is not None
        elif stage == "numerics":
            verdict = numerics(genome, settings.protocols.numerics, settings.layer) is not None
        else:
            function = fingerprint(genome, settings.layer)
            verdict = function in functions
            functions.add(function)
        seconds[stage] += time.perf_counter() - started
        calls[stage] += 1
        rejected[stage] += verdict
        return verdict

    for _ in range(count):
        genome = next(source)
        if genome.key not in keys:
            keys.add(genome.key)
            any(rejects(stage, genome) for stage in STAGES)
    return {
        s: {"calls": calls[s], "ms": 1e3 * seconds[s] / calls[s], "rejected": rejected[s] / calls[s]} for s in STAGES
    }


def show(result: dict[str, Any]) -> None:
    """Print for people."""
    table = Table(title="screens before training", title_justify="left")
    for column in (
        "screen",
        "ms a call",
        "rejected: random",
        "mutants",
        "trained",
        "good",
        "lost",
        "largest difference",
    ):
        table.add_column(column, justify="left" if column == "screen" else "right")
    for stage, row in result.items():
        shares = (f"{row[kind]['rejected']:.3f}" for kind in ("random", "mutant"))
        difference = "-" if row["difference"] is None else f"{row['difference']:.4f}"
        counts = (str(row[key]) for key in ("trained", "good", "lost"))
        table.add_row(stage, f"{row['random']['ms']:.3f}", *shares, *counts, difference)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
