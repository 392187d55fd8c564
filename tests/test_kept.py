"""Figures in the READMEs of kept results against the files beside them.

Oracle: what is printed there, computed again from the records that are kept, by the script that the README names where
there is one.
"""

import csv
import json
import re
import runpy
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pytest
from command import status_of_script

from evonas.report.statistics import t_interval
from evonas.runs.folder import RunFolder

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "runs" / "kept"


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the rows of the table whose first cell begins with ``head``, without what makes them bold."""
    lines = [line.strip() for line in text.splitlines()]
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head}"))
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith("|")), len(lines))
    return [[cell.strip() for cell in line.replace("**", "").strip("|").split("|")] for line in lines[start + 2 : end]]


def readme(name: str) -> str:
    return (KEPT / name / "README.md").read_text()


def numbers(text: str) -> list[float]:
    return [float(found) for found in re.findall(r"[-+]?\d*\.\d+", text)]


@pytest.mark.parametrize(
    ("name", "baselines"),
    [
        ("cifar-b", ("bn-relu", "bn-silu", "evonorm-b0")),
        ("cifar-s", ()),
        ("cifar-s-point", ()),
        ("cifar-s-warm", ("bn-relu", "gn-relu", "evonorm-s0")),
        ("transformer", ("rmsnorm", "layernorm", "derf", "dyt")),
        ("first-cifar10", ("bn-relu", "gn-relu", "evonorm-s0")),
    ],
)
def test_counts_and_scores_of_a_search_are_those_of_its_candidates(name: str, baselines: tuple[str, ...]) -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "candidates_table.py"))
    source, text = KEPT / name / "candidates.csv", readme(name)
    rows = script["read"](source) if source.exists() else script["recorded"](RunFolder(KEPT / name))
    printed = "\n".join([*script["outcomes"](rows), "", *script["best"](rows, 10)])
    counts = {ended: int(number) for ended, number, _ in table(printed, "candidates")}
    full = f"{counts['trained in full']} (?:of them |of {counts['all']} candidates\\s)?(?:were )?trained in full"
    assert re.search(rf"{full}|\| scored \| {counts['trained in full']} \|", text)
    assert re.search(rf"\b{counts['all']} candidates", text) or name == "first-cifar10"
    (head,) = (line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| layer "))
    means = {row[0]: row[head.index("mean")] for row in table(printed, "layer")}
    for baseline in baselines:
        assert means[baseline].removeprefix("0") in text


def test_log_z_of_the_output_logits_is_what_was_read() -> None:
    runs: dict[tuple[str, float], list[dict[int, float]]] = defaultdict(list)
    with (KEPT / "stability-output-logits" / "log_z.csv").open() as file:
        for row in csv.DictReader(file):
            readings = {int(step): float(value) for step, value in row.items() if step.isdigit()}
            runs[row["intervention"], float(row["learning_rate"])].append(readings)
    rows = table(readme("stability-output-logits"), "learning rate")
    assert len(rows) == 3
    for rate, *cells in rows:
        without, given = runs["no-z-loss", float(rate)], runs["z-loss", float(rate)]
        means = (fmean(r[400] for r in without), fmean(r[3999] for r in without), fmean(r[3999] for r in given))
        assert [f"{mean:.2f}" for mean in means] == cells[:3]
        gains = [a[3999] - b[3999] for a, b in zip(given, without, strict=True)]
        rises = [[r[3999] - r[400] for r in found] for found in (without, given)]
        for values, cell in zip((gains, *rises), cells[3:], strict=True):
            found = t_interval(values)
            assert numbers(cell) == pytest.approx([found.mean, found.low, found.high], abs=0.006)


@pytest.mark.parametrize(("task", "first"), [("registration", 0), ("digits", 3), ("rescaling", 6)])
def test_steps_that_a_parametrization_saves_are_those_of_its_curves(task: str, first: int) -> None:
    groups = json.loads((KEPT / "mip" / task / "results.json").read_text())["groups"]
    with (KEPT / "mip" / task / "separate.csv").open() as file:
        separate = list(csv.DictReader(file))
    for cells in table(readme("mip"), "task")[first : first + 3]:
        optimizer = cells[1].lower()
        plain = [
            g
            for g in groups
            if (g["optimizer"], g["activation"], g["norm"], g["noise"]) == (optimizer, "relu", "none", 0)
        ]
        default, mip = (next(g for g in plain if g["parametrization"] == form) for form in ("default", "mip"))
        goal = fmean(default["final_loss"].values())
        assert numbers(cells[2])[0] == pytest.approx(goal, abs=6e-4)
        assert numbers(cells[3])[0] == pytest.approx(fmean(mip["final_loss"].values()), abs=6e-4)
        assert f"{mip['speedup']:.2f}x" == cells[4]
        assert f"{max(found for found in mip['speedups'].values() if found):.2f}x" == cells[5]
        curves = [
            {int(k): float(v) for k, v in row.items() if k.isdigit() and v}
            for row in separate
            if row["optimizer"] == optimizer
        ]
        soonest = min(step for curve in curves for step, loss in curve.items() if loss <= goal)
        assert max(curves[0]) / soonest == pytest.approx(float(cells[6].removesuffix("x")), rel=0.03)


@pytest.mark.parametrize(
    ("name", "options"), [("cost-to-quality", ()), ("evolution-vs-random", ("--against", "ours-random"))]
)
def test_the_table_of_costs_is_made_from_the_results(
    name: str, options: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(KEPT / name / "results.jsonl", tmp_path)
    assert status_of_script("cost_table.py", tmp_path, *options) == 0
    printed = capfd.readouterr().out
    assert (tmp_path / "table.md").read_text() == (KEPT / name / "table.md").read_text()
    assert table(printed, "procedure") == table((KEPT / name / "table.md").read_text(), "procedure")
