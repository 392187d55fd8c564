"""The layers that searches would give after so many core-seconds, as the layers that ``truth.py`` judges.

python scripts/chosen_layers.py RUN... --at 300 600 --out FOLDER

RUNs are those of ``search_core_seconds.py``. The layer chosen at a time is the best by posterior mean of what was
recorded by then, as ``evonas top`` ranks. FOLDER/layers.json has each once; FOLDER/chosen.jsonl says for every run and
time which one it was, its score when found, its posterior mean, and how many candidates there were.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from evonas.files import write_text
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.outcome import Candidate
from evonas.search.racing.race import Race
from evonas.search.ranking import describe

Row = dict[str, Any]


def chosen(run: RunFolder, times: Sequence[float]) -> Iterator[tuple[Row, Row]]:
    """For each time what was chosen, and the layer."""
    lines = (run.path / "core_seconds.jsonl").read_text().splitlines()
    costs = [row["core_seconds"] for row in map(json.loads, lines) if "baseline" not in row]
    with Archive.open(run.archive_file, read_only=True) as archive:
        baselines = list(archive.baselines().values())
        results = list(archive.in_order())
    for time in sorted(times):
        count = sum(cost <= time for cost in costs)
        told = [result for result in results[:count] if isinstance(result[0], Candidate)]
        again = [(what.round, what.candidate, e) for what, e in results[:count] if not isinstance(what, Candidate)]
        found = {what.index: (what.genome.active(), e.mean) for what, e in told if e.mean is not None}
        race = Race.recorded(baselines, ((n, genome.family, mean) for n, (genome, mean) in found.items()), again)
        if not found:
            continue
        best = race.order()[0]
        genome, score = found[best]
        belief = race.beliefs()[best]
        facts = {"run": run.path.name, "core_seconds": time, "candidates": len(told), "trained_in_full": len(found)}
        facts |= {"candidate": best, "found": score, "posterior": belief.mean, "measurements": belief.measurements}
        origin = f"{run.path.name} after {time:g} core-seconds"
        layer = {"origin": origin, **describe(genome), "batch_statistics": genome.uses_batch_statistics}
        yield facts | {"layer": layer["key"], "formula": layer["formula"]}, layer


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--at", type=float, nargs="+", required=True, help="core-seconds")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    pairs = [pair for path in arguments.runs for pair in chosen(RunFolder(path).require(), arguments.at)]
    layers: dict[str, Row] = {}
    for _, layer in pairs:
        layers.setdefault(layer["key"], {name: value for name, value in layer.items() if name != "latex"})
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out / "layers.json", json.dumps(list(layers.values()), indent=1) + "\n")
    write_text(arguments.out / "chosen.jsonl", "".join(json.dumps(facts) + "\n" for facts, _ in pairs))
    for facts, _ in pairs:
        print(json.dumps(facts))


if __name__ == "__main__":
    main()
