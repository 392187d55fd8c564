"""Draw the pictures of kept results again, from the numbers that lie beside them.

python scripts/redraw_kept.py [FOLDER ...]

FOLDER is a folder of results below runs/kept with a results.json, a rerank.json or a front.png; the default is all of
them. Nothing is trained. A picture is left as it is where the numbers kept do not suffice: those of output logits, of
the sizes of predicted parameters, and images.
"""

import argparse
import csv
import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from evonas.compare.comparison import Comparison, Contender, compare
from evonas.compare.report import draw_batch_sizes, draw_comparison, draw_matrix
from evonas.compare.result import Matrix
from evonas.config import SearchConfig
from evonas.graph.genome import Genome
from evonas.report.pictures import MEAN, draw_front, draw_panels, draw_progress, panels_of, to_png
from evonas.report.statistics import Interval
from evonas.search.individual import Individual
from evonas.search.objectives import OBJECTIVES
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.selection import pareto_front
from evonas.studies.hypernet import report as hypernet
from evonas.studies.hypernet.results import TunedRuns, default_runs
from evonas.studies.sparsity.results import Score, SparsityRow
from evonas.studies.sparsity.study import Place, SparsitySetting
from evonas.studies.sparsity.study_report import draw_perplexity
from evonas.studies.stability import report as stability
from evonas.studies.stability.results import TRACKED, Sweep
from evonas.studies.steering import report as steering
from evonas.studies.steering.results import MethodCurves, StrengthPoint

KEPT = Path("runs/kept")
ANY = Genome.from_text("neg(x)")  # where only scores matter
COLOURS = 256  # of a file, which is half as large then and looks the same
Data = Mapping[str, Any]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    arguments = parser.parse_args()
    found = arguments.folders or sorted(
        {p.parent for n in ("results.json", "rerank.json", "front.png") for p in KEPT.rglob(n)}
    )
    for folder in found:
        redraw(folder)


def redraw(folder: Path, only: str = "") -> None:
    """Draw the pictures of a folder, or only the one of a name."""
    for name, figure in pictures(folder).items():
        if only in ("", name):
            path = folder / f"{name}.png"
            to_png(figure, path)
            with Image.open(path) as picture:
                small = picture.convert("RGB").quantize(COLOURS, kmeans=1)
            small.save(path, optimize=True)
            print(path)


def pictures(folder: Path) -> dict[str, Figure]:
    """The pictures that follow from what a folder holds, by name."""
    found: dict[str, Figure] = {}
    for stem in ("results", "rerank"):
        if (folder / f"{stem}.json").exists():
            data = json.loads((folder / f"{stem}.json").read_text())
            found |= _drawn(folder, data, stem)
    return found | (_search(folder) if (folder / "front.png").exists() else {})


def _search(folder: Path) -> dict[str, Figure]:
    """Front and progress of a kept search, from its candidates."""
    with (folder / "candidates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def numbers(row: Mapping[str, str], kind: str) -> dict[str, float]:
        return {key.removeprefix(kind): float(value) for key, value in row.items() if key.startswith(kind) and value}

    tasks = [key.removeprefix("score:") for key in rows[0] if key.startswith("score:")]
    extras = {
        key.removeprefix("extra:"): OBJECTIVES[key.removeprefix("extra:")].weight for key in rows[0] if "extra:" in key
    }
    values = {row["candidate"]: numbers(row, "score:") | numbers(row, "extra:") for row in rows}
    scored = {name: own for name, own in values.items() if all(task in own for task in tasks)}
    means = {name: fmean(own[task] for task in tasks) for name, own in scored.items()}
    points = [(name, own) for name, own in scored.items() if name.isdecimal()]
    baselines = {name: own for name, own in scored.items() if not name.isdecimal()}
    members = [
        Individual.of(int(name), ANY, {task: own[task] for task in tasks}, 1, {key: own[key] for key in extras})
        for name, own in points
    ]
    front = {str(individual.index) for individual in pareto_front(members)}
    found = {"front": draw_front(points, front, baselines=baselines, objectives=tasks, extras=extras)}
    if (folder / "progress.png").exists():
        history = [means.get(row["candidate"]) for row in rows if row["candidate"].isdecimal()]
        levels = {name: means[name] for name in baselines}
        found["progress"] = draw_progress(history, baselines=levels, label=MEAN)
    return found


def _drawn(folder: Path, data: Data, stem: str) -> dict[str, Figure]:
    if "layers" in data and "seeds" in data:
        title = (folder / f"{stem}.md").read_text().partition("\n")[0].removeprefix("# ")
        comparison = _comparison(data)
        if stem == "results":
            return _matrix(data, comparison, title)
        return {"rerank": draw_comparison(comparison, title=f"The best layers of {folder.name}, trained again,")}
    if "sweeps" in data:
        return _stability(data)
    if "separate" in data:
        return _hypernet(data)
    if "rows" in data and "settings" in data:
        return {"perplexity": draw_perplexity([_sparsity_row(row) for row in data["rows"]])}
    if "groups" in data:
        return _steering(data, tomllib.loads((folder / "config.toml").read_text())["rises"])
    return {}


def _comparison(data: Data) -> Comparison:
    contenders = [Contender(each["name"], Genome.from_text(each["text"]), each["baseline"]) for each in data["layers"]]
    results: dict[str, dict[tuple[str, int], Evaluation]] = {}
    for contender, each in zip(contenders, data["layers"], strict=True):
        own = results[contender.genome.key] = {}
        for task, scores in each["scores"].items():
            for seed, score in scores.items():
                own[task, int(seed)] = Evaluation("", int(seed), objectives={task: score})
        for task, failures in each["failures"].items():
            for seed, failure in failures.items():
                own[task, int(seed)] = Evaluation("", int(seed), rejection=Rejection(**failure))
    return compare(contenders, data["tasks"], data["seeds"], results, data.get("margin_over"))


def _matrix(data: Data, comparison: Comparison, title: str) -> dict[str, Figure]:
    columns = {
        name: SearchConfig.model_validate_json(json.dumps({"name": "kept", "space": {}, **column}))
        for name, column in data["columns"].items()
    }
    matrix = Matrix(title, columns, comparison, data["baseline"])
    found: dict[str, Figure | None] = {
        "heatmap": draw_matrix(matrix),
        "batch_sizes": draw_batch_sizes(matrix),
        "differences": draw_comparison(comparison, title=f"Layers ({matrix.data})") if data["baseline"] else None,
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _stability(data: Data) -> dict[str, Figure]:
    sweeps = [_sweep(each) for each in data["sweeps"]]
    found = {"losses": stability.draw_losses(sweeps), "sensitivity": stability.draw_sensitivity(sweeps)}
    for what, probe in TRACKED.items():
        if any(sweep.final_values(probe) for sweep in sweeps):
            found[what.replace(" ", "_")] = stability.draw_tracked(sweeps, what)
    return found


def _sweep(each: Data) -> Sweep:
    losses = {
        int(seed): {float(rate): math.nan if loss is None else loss for rate, loss in found.items()}
        for seed, found in each["losses"].items()
    }
    seed = next(iter(losses))  # means over seeds are kept of probes, so that one seed stands for all
    last: dict[tuple[float, int], dict[str, float | None]] = {}
    for what, values in each["last_probes"].items():
        for rate, value in values.items():
            last.setdefault((float(rate), seed), {})[TRACKED[what]] = value
    initial = {int(seed): loss for seed, loss in each["initial_loss"].items()}
    return Sweep(each["intervention"], each["size"], each["parameters"], losses, initial, last, 0, 0, {})


def _hypernet(data: Data) -> dict[str, Figure]:
    tuned = [_tuned(each) for each in data["groups"]]
    separate = {
        each["optimizer"]: {
            int(seed): {key: each[key].get(seed) for key in ("losses", "metric", "costs")} for seed in each["losses"]
        }
        for each in data["separate"]
    }
    found = hypernet.draw_pictures(tuned, separate)
    del found["magnitude"]  # what it shows is not kept
    found.pop("steps", None)
    return found | {"steps": _steps(data["groups"], tuned)}


def _steps(groups: list[Data], tuned: list[TunedRuns]) -> Figure:
    """From the steps that were saved at each learning rate; the curves of rates that were not the best are not kept."""
    lines: list[tuple[str, str, list[tuple[float, float, float]]]] = []
    missing: dict[str, dict[str, list[float]]] = {}
    for each, runs in zip(groups, tuned, strict=True):
        default = default_runs(runs, tuned)
        if default is None:
            continue
        setting, total = hypernet.title_of(runs.setting), default.mean_curve()[-1][0]
        saved = {float(rate): value for rate, value in each["speedups"].items()}
        lines.append(
            (setting, runs.name, [(rate, total / value, 0.0) for rate, value in sorted(saved.items()) if value])
        )
        missing.setdefault(setting, {})[runs.name] = [rate for rate, value in saved.items() if not value]
    return draw_panels(panels_of(lines), missing=missing, **hypernet.STEPS)


def _tuned(each: Data) -> TunedRuns:
    keys = {"curve": "curves", "losses": "losses", "metric": "metric", "costs": "costs"}
    best = {
        int(seed): {key: each[kept][seed] for key, kept in keys.items()} | {"magnitudes": [(1.0, 1.0)]}
        for seed in each["curves"]
    }
    setting = (each["optimizer"], each["activation"], each["norm"], each["noise"])
    rate = each["learning_rate"]
    rates = {} if rate is None else {rate: best}
    return TunedRuns(each["parametrization"], each["correction"], setting, rate, rates, each["diverged"], each["runs"])


def _sparsity_row(row: Data) -> SparsityRow:
    dense = row["method"] == "dense"
    keys = ("method", "allocation", "transform")
    setting = None if dense else SparsitySetting(**{key: row[key] for key in keys}, selection="topk", dense_first=0)
    scores = {}
    for name, score in row["texts"].items():
        known = score is not None and score["ratio"] is not None
        ratio = Interval(score["ratio"], score["low"], score["high"], 0) if known else None
        scores[name] = score and Score(score["perplexity"], ratio, score["tokens"])
    place = Place(setting, row["sparsity"])
    return SparsityRow(place, scores, row["achieved"], row["macs"], row["kinds"], None, row["failures"])


def _steering(data: Data, rises: list[float]) -> dict[str, Figure]:
    found = [_curves(each) for each in data["groups"]]
    drawn: dict[str, Figure | None] = {
        "score": steering.draw_strengths(found, "score"),
        "cost": steering.draw_strengths(found, "cost"),
        "trade": steering.draw_trade(found, rises),
        "support": steering.draw_support(found, rises),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _curves(each: Data) -> MethodCurves:
    def point(found: Data) -> StrengthPoint:
        strength, score, cost = found.values()
        return StrengthPoint(strength, score, math.inf if cost is None else cost)

    curves = {int(seed): tuple(map(point, points)) for seed, points in each["curves"].items()}
    shares = {int(seed): share for seed, share in each["share"].items()}
    return MethodCurves(
        each["task"], each["method"], each["sparsity"], each["neurons"], curves, shares, each["failures"]
    )


if __name__ == "__main__":
    main()
