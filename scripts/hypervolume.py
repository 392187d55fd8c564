"""Searches of several objectives beside each other: the hypervolume of their fronts by core-seconds.

    python scripts/hypervolume.py OUT/nsga2-? OUT/single-? OUT/random-? --out OUT/hypervolume

Each folder is that of ``scripts/search_core_seconds.py``, named KIND-SEED; the baselines of all of them together say
what 0 and 1 are (see ``evonas/search/hypervolume.py``), since latencies are measured and differ. OUT.json has, for each
search, the hypervolume after every result that changed it; OUT.png draws them; the table has, at the last time that all
searches reached, mean and deviation of each kind over seeds, and the difference to the first kind, seed by seed, with
its 95 % interval by Student's t.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from evonas.report.pictures.charts import styled
from evonas.report.pictures.figure import new_figure
from evonas.report.statistics import Interval, summary, t_interval
from evonas.report.table import Table
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.hypervolume import Scale, hypervolume
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.outcome import Evaluation
from evonas.search.selection import admitted

COLOURS = ("#c13b2e", "#2f6db3", "#1f2933", "#8a8f98")
Curve = list[tuple[float, float]]


def curve_of(run: Path, scale: Scale) -> Curve:
    """Core-seconds and hypervolume at every result that changed it."""
    lines = [json.loads(line) for line in (run / "core_seconds.jsonl").read_text().splitlines()]
    spent = {line["candidate"]: line["core_seconds"] for line in lines if "candidate" in line}
    front: list[Individual] = []
    found: Curve = [(0.0, 0.0)]
    with Archive.open(RunFolder(run).archive_file, read_only=True) as archive:
        for candidate, evaluation in archive.records():
            if not evaluation.objectives or candidate.index not in spent:
                continue
            one = Individual.of(
                candidate.index, candidate.genome, evaluation.objectives, FULL_TRAINING, evaluation.extras
            )
            front, before = admitted(front, one), front
            if one in front and front != before:
                found.append((spent[candidate.index], hypervolume(front, scale)))
    return found


def baselines_of(run: Path) -> list[Evaluation]:
    """The baselines of a search."""
    with Archive.open(RunFolder(run).archive_file, read_only=True) as archive:
        return list(archive.baselines().values())


def at(curve: Curve, seconds: float) -> float:
    """The hypervolume after so many core-seconds."""
    return next(volume for spent, volume in reversed(curve) if spent <= seconds)


def main() -> None:
    """Read, compare, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="without an ending")
    arguments = parser.parse_args()
    scale = Scale.of([one for run in arguments.runs for one in baselines_of(run)])
    if scale is None:
        parser.error("these searches have no baselines, or a single objective")
    curves: defaultdict[str, dict[int, Curve]] = defaultdict(dict)
    ends = []
    for run in arguments.runs:
        kind, _, seed = run.name.rpartition("-")
        curves[kind][int(seed)] = curve_of(run, scale)
        ends.append(json.loads((run / "core_seconds.jsonl").read_text().splitlines()[-1])["core_seconds"])
    end, first = min(ends), next(iter(curves))
    last = {kind: {seed: at(curve, end) for seed, curve in own.items()} for kind, own in curves.items()}
    rows = []
    for kind, own in last.items():
        pairs = [own[seed] - last[first][seed] for seed in own if seed in last[first]]
        difference: Interval | None = t_interval(pairs) if kind != first and pairs else None
        row = {
            "kind": kind,
            "hypervolume": summary(list(own.values())),
            f"minus {first}": difference,
            "seeds": len(own),
        }
        rows.append(row)
    table = Table.of(rows, {f"minus {first}": "{:+.3f}"}, title=f"After {end:,.0f} core-seconds.")
    data = {
        "core_seconds": end,
        "scale": {name: [w, b] for name, w, b in zip(scale.names, scale.worst, scale.best, strict=True)},
    }
    data |= {"curves": curves, "last": last}
    arguments.out.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")
    _draw(curves, end, arguments.out.with_suffix(".png"))
    console = Console()
    console.print(replace(table, meanings={}).markdown(), markup=False)


def _draw(curves: dict[str, dict[int, Curve]], end: float, path: Path) -> None:
    figure = new_figure(8.0, 4.4)
    axes = styled(figure.add_axes((0.09, 0.14, 0.88, 0.78)))
    for colour, (kind, own) in zip(COLOURS, curves.items(), strict=False):
        for number, curve in enumerate(own.values()):
            steps = [*curve, (end, at(curve, end))]
            label = kind if number == 0 else None
            axes.step(*zip(*steps, strict=True), where="post", color=colour, linewidth=1.3, label=label, alpha=0.85)
    axes.set_xlim(0, end)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("core-seconds")
    axes.set_title("hypervolume of the front", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
