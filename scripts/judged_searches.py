"""Searches by what they chose: the layers of ``chosen_layers.py``, as ``truth.py`` judged them.

    python scripts/judged_searches.py FOLDER --against evolution

FOLDER has chosen.jsonl, layers.json and trainings/. A layer is worth the mean over networks of its test accuracy in the
longest trainings, 0 where it diverged; the worth of the reference is subtracted, if it was judged as well. Runs are
named KIND-SEED. For each kind and time: mean and standard deviation over seeds, the difference to the last time of
``--against``, seed by seed, with its 95 % interval by Student's t, and in how many seeds it is not below. Written to
FOLDER/judged.json too.
"""

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from truth_record import Record

from evonas.files import write_text
from evonas.graph.catalogue import CATALOGUE
from evonas.report.statistics import t_interval


def worths(folder: Path) -> dict[str, dict[str, float]]:
    """By layer and network, the mean test accuracy over seeds of the longest trainings."""
    rows = Record(folder).rows()
    longest = max(row["made_from"]["training"]["steps"] for row in rows)
    found: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        made = row["made_from"]
        if made["training"]["steps"] == longest:
            found[made["layer"]][made["network"]].append(row["test"] or 0.0)
    networks = {network for of_layer in found.values() for network in of_layer}
    whole = {layer: each for layer, each in found.items() if each.keys() == networks}
    if left := found.keys() - whole.keys():
        print(f"{len(left)} layers are not judged on all networks yet: {', '.join(sorted(left))}")
    return {layer: {n: statistics.mean(v) for n, v in of_layer.items()} for layer, of_layer in whole.items()}


def main() -> None:
    """Put together, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", required=True, metavar="KIND")
    parser.add_argument("--reference", default="evonorm-s0")
    arguments = parser.parse_args()
    chosen = [json.loads(line) for line in (arguments.folder / "chosen.jsonl").read_text().splitlines()]
    worth = worths(arguments.folder)
    known = {genome.key: name for name, genome in CATALOGUE.items()}
    of_catalogue = {known[layer]: statistics.mean(of.values()) for layer, of in worth.items() if layer in known}
    zero = of_catalogue.get(arguments.reference, 0.0)
    found: defaultdict[tuple[str, float], dict[int, float]] = defaultdict(dict)
    posterior: defaultdict[tuple[str, float], dict[int, float]] = defaultdict(dict)
    for row in chosen:
        kind, _, seed = row["run"].rpartition("-")
        if row["layer"] in worth:
            found[kind, row["core_seconds"]][int(seed)] = statistics.mean(worth[row["layer"]].values()) - zero
            posterior[kind, row["core_seconds"]][int(seed)] = row["posterior"]
    last = max(time for kind, time in found if kind == arguments.against)
    base = found[arguments.against, last]
    rows: list[dict[str, Any]] = []
    for (kind, time), values in sorted(found.items()):
        row = {"kind": kind, "core_seconds": time, "seeds": len(values), "mean": statistics.mean(values.values())}
        row |= {"sd": statistics.stdev(values.values()) if len(values) > 1 else None}
        row |= {"posterior": statistics.mean(posterior[kind, time].values()), "values": dict(sorted(values.items()))}
        apart = [values[seed] - base[seed] for seed in sorted(values.keys() & base.keys())]
        if (kind, time) != (arguments.against, last) and len(apart) > 1:
            found_interval = t_interval(apart)
            interval = [found_interval.low, found_interval.high]
            not_below = sum(each >= 0 for each in apart)
            row |= {"difference": statistics.mean(apart), "interval": interval, "not_below": not_below}
        rows.append(row)
        print({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()})
    print({name: round(value, 4) for name, value in of_catalogue.items()})
    result = {
        "against": arguments.against,
        "reference": arguments.reference,
        "catalogue": of_catalogue,
        "searches": rows,
    }
    write_text(arguments.folder / "judged.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
