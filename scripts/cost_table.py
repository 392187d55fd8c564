"""The table and the pictures of ``scripts/cost_to_quality.py``.

python scripts/cost_table.py FOLDER [--against ARM] [--json]

Prints a Markdown table, a row per procedure: core-seconds under every seed until EvoNorm-S0's accuracy was reached,
their median, and how many times fewer than the published procedure; and where layers' scores are recorded, the mean of
the five best under every seed. A search that gave up counts with what it had spent, as a lower bound (>). With
--against a second table has the differences to ARM, paired by seed, in points of accuracy, with 95 % intervals
(Student's t over seeds). FOLDER gets table.md, curves.png.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

from evonas.compare.report import interval_text
from evonas.files import write_text
from evonas.report.pictures import draw_curves, to_png
from evonas.report.statistics import t_interval

PUBLISHED = "published"
WORDS = {  # what the picture calls procedures
    "published": "the published procedure",
    "random": "the published procedure without evolution",
    "screens": "with structure and numerics screens",
    "reuse": "and without repeats (equivalence)",
    "propagation": "and with the propagation screen",
    "rungs": "and with rungs",
    "mutation": "and with point mutations",
    "ours": "evolution: the search as it is",
    "ours-random": "random: the same search without evolution",
}


def main() -> None:
    """Read, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", metavar="ARM", help="the procedure that the others are compared with")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in (arguments.folder / "results.jsonl").read_text().splitlines()]
    by_arm: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["seed"]):
        by_arm[row["arm"]].append(row)
    costs = {arm: [_cost(row) for row in found] for arm, found in by_arm.items()}
    if arguments.against not in {None, *by_arm}:
        parser.error(f"--against: {arguments.against!r} has no results; accepted: {', '.join(by_arm)}")
    table = _table(by_arm, costs)
    if arguments.against:
        table += f"\n{_differences(by_arm, arguments.against)}"
    write_text(arguments.folder / "table.md", table)
    drawn = sorted(by_arm, key=list(WORDS).index)
    curves = {WORDS[arm]: [row["curve"] for row in by_arm[arm]] for arm in drawn}
    goal = sum(row["goal"] for row in rows) / len(rows)
    end = max(row["core_seconds"] for row in rows)
    seeds = max(map(len, by_arm.values()))
    title = f"Best layer so far by cost: a thin line for each of {seeds} seeds, a broad one for their mean\n"
    title += "(from where all have a layer); dashed: EvoNorm-S0" + "; grey: the other procedures" * (len(drawn) > 4)
    labels = {"xlabel": "core-seconds", "ylabel": "best mean validation accuracy", "title": title}
    to_png(draw_curves(curves, levels={"EvoNorm-S0": goal}, end=end, **labels), arguments.folder / "curves.png")
    print(
        json.dumps({arm: {"core_seconds": c, "rows": by_arm[arm]} for arm, c in costs.items()})
        if arguments.json
        else table
    )


def _cost(row: dict[str, Any]) -> float:
    """Core-seconds at which the goal was reached, or what was spent without reaching it."""
    return next((at for at, best in row["curve"] if best >= row["goal"]), row["core_seconds"])


def _table(by_arm: dict[str, list[dict[str, Any]]], costs: dict[str, list[float]]) -> str:
    published = median(costs[PUBLISHED]) if PUBLISHED in costs else None
    heads = ("procedure", "seeds", "core-seconds to EvoNorm-S0", "median", "published / this", "candidates", "in full")
    lines = [f"| {' | '.join((*heads, 'best', 'mean of the best five'))} |", "|---|---|---|---|---|---|---|---|---|"]
    for arm, rows in by_arm.items():
        reached = [any(best >= row["goal"] for _, best in row["curve"]) for row in rows]
        shown = ", ".join(f"{'' if ok else '> '}{cost:,.0f}" for ok, cost in zip(reached, costs[arm], strict=True))
        middle = median(costs[arm])
        most = sum(reached) * 2 > len(reached)
        ratio = f"{published / middle:.1f}" if published and most else ""  # of two bounds there is none
        seeds = ", ".join(str(row["seed"]) for row in rows)
        candidates = ", ".join(f"{row['candidates']:,}" for row in rows)
        full = ", ".join(f"{row['trained_in_full']:,}" for row in rows)
        least = "" if most else "> "
        best = ", ".join(f"{row['best']:.4f}" for row in rows)
        five = ", ".join(f"{_five(row):.4f}" for row in rows if row.get("scores"))
        cells = (arm, seeds, shown, f"{least}{middle:,.0f}", ratio, candidates, full, best, five)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _five(row: dict[str, Any]) -> float:
    """The mean of the five best layers."""
    return fmean(sorted(value for _, value in row["scores"])[-5:])


def _differences(by_arm: dict[str, list[dict[str, Any]]], against: str) -> str:
    """Paired over the seeds that both procedures have."""
    other = {row["seed"]: row for row in by_arm[against]}
    lines = [f"| minus {against}, points | seeds | best | mean of the best five |", "|---|---|---|---|"]
    for arm, rows in by_arm.items():
        pairs = [(row, other[row["seed"]]) for row in rows if arm != against and row["seed"] in other]
        if pairs:
            best = interval_text(t_interval([row["best"] - than["best"] for row, than in pairs]))
            scored = [(row, than) for row, than in pairs if row.get("scores") and than.get("scores")]
            five = interval_text(t_interval([_five(row) - _five(than) for row, than in scored]) if scored else None)
            lines.append(f"| {arm} | {len(pairs)} | {best} | {five} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
