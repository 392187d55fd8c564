"""The charts and layers of evaluations, rerankings and certificates, from the JSON of their reports."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evonas.graph.genome import Genome
from evonas.interface.page_data import FoundLayer
from evonas.report.page.charts import Bar, Chart, Intervals, Lines, Point
from evonas.report.statistics import mean_over_tasks, mean_points

Data = Mapping[str, Any]
POINTS = 100.0  # of a score of 1
MEAN = "mean over tasks"
DIFFERENCES = (
    "A point is a hundredth of the score. Bars are 95 % intervals (Student's t), dots the seeds. Right of the line is "
    "better."
)
BANDS = "Means over seeds; bands are one standard deviation."


def compared_charts(data: Data) -> Iterator[Chart]:
    """Differences to each baseline, then curves over training where they were recorded."""
    layers = {each["name"]: each for each in data["layers"]}
    tasks = (MEAN, *(data["tasks"] if len(data["tasks"]) > 1 else ()))
    sets = {
        baseline: {
            task: [
                _difference(each, layers[baseline], task, data["tasks"])
                for name, each in layers.items()
                if name != baseline
            ]
            for task in tasks
        }
        for baseline, found in layers.items()
        if found["baseline"]
    }
    if sets:
        note = (
            "A point is a hundredth of the score. Bars are 95 % intervals (Student's t), dots the seeds. Right of the "
        )
        yield Intervals("Differences to baselines", "points over", sets, note=f"{note}line is better.")
    curves = dict.fromkeys(
        (task, curve)
        for each in layers.values()
        for task, seeds in each.get("curves", {}).items()
        for found in seeds.values()
        for curve in found
    )
    for curve in dict.fromkeys(curve for _, curve in curves):
        panels = {
            task: {
                name: banded(found[curve] for found in each["curves"].get(task, {}).values() if curve in found)
                for name, each in layers.items()
                if each.get("curves")
            }
            for task, other in curves
            if other == curve
        }
        yield Lines(curve.capitalize(), "training steps", curve, panels, BANDS)


def _difference(layer: Data, baseline: Data, task: str, tasks: Sequence[str]) -> Bar:
    """The paired difference of a layer and a baseline, with that of each seed."""
    found = layer["differences"].get(baseline["name"], {})
    interval = found.get("over_seeds") if task == MEAN else found.get("tasks", {}).get(task)
    own, other = (_by_seed(each, task, tasks) for each in (layer, baseline))
    failed = sum(len(seeds) for name, seeds in layer["failures"].items() if task in (MEAN, name))
    note = f"{failed} trainings failed" if failed else ""
    if interval is None:
        return Bar(layer["name"], None, note=note or "no seed in common")
    low, high = (None if (bound := interval[end]) is None else POINTS * bound for end in ("low", "high"))
    dots = [POINTS * (own[seed] - other[seed]) for seed in own if seed in other]
    return Bar(layer["name"], POINTS * interval["mean"], low, high, dots, note)


def _by_seed(layer: Data, task: str, tasks: Sequence[str]) -> Mapping[int, float]:
    scores = {(name, int(seed)): score for name, own in layer["scores"].items() for seed, score in own.items()}
    return mean_over_tasks(scores, tasks if task == MEAN else [task])


def banded(series: Iterator[Sequence[tuple[float, float | None]]]) -> list[Point]:
    """Mean and deviation over seeds at each place; a value that is missing leaves its place out."""
    kept = [[(x, y) for x, y in points if y is not None] for points in series]
    return [(x, mean, mean - sd, mean + sd) for x, mean, sd in mean_points(points for points in kept if points)]


def compared_layers(data: Data, _settings: Data) -> Iterator[FoundLayer]:
    """All layers that are compared, with their means."""
    for each in data["layers"]:
        means = {task: f"{found['mean']:.4f}" for task, found in each["tasks"].items()}
        facts = {
            "rank": str(each["rank"]) if each["rank"] else "a baseline",
            "means": ", ".join(f"{task} {mean}" for task, mean in means.items()),
            "key": each["key"],
        }
        score = each["mean"] and each["mean"]["mean"]
        genome, candidate = Genome.from_text(each["text"]), each.get("candidate")
        yield FoundLayer(each["name"], genome, score, facts, each["baseline"], candidate)


def certified_charts(data: Data) -> Iterator[Chart]:
    """The gains along each axis of the ladder, for each layer and baseline."""
    for against in data["certificates"]:
        panels: dict[str, dict[str, list[Point]]] = {}
        for network in against["networks"]:
            base = next((gain for gain in network["gains"] if gain["axis"] is None), None)
            for axis in dict.fromkeys(gain["axis"] for gain in network["gains"] if gain["axis"] is not None):
                sizes = [(gain["size"], gain) for gain in network["gains"] if gain["axis"] == axis]
                law = next((law for law in network["laws"] if law["axis"] == axis), None)
                if base is not None and law is not None:
                    sizes.append((law["base"], base))
                points = [_gain(size, gain) for size, gain in sorted(sizes, key=lambda each: float(each[0]))]
                line = f"{against['layer']} on {network['network']}"
                panels.setdefault(axis, {})[line] = [point for point in points if point is not None]
        yield Lines(
            title=f"Gains of {against['layer']} over {against['against']}",
            xlabel="size",
            ylabel=f"points over {against['against']}",
            panels=panels,
            note="Bars are intervals that hold together with all of the report; above zero the layer is better.",
            logx=True,
            dots=True,
        )


def _gain(size: float, gain: Data) -> Point | None:
    """A point with its joint interval; None where a training failed."""
    found = gain["joint"]
    if found is None or any(gain["failed"].values()):
        return None
    mean = found["mean"]
    low, high = (mean if found[end] is None else found[end] for end in ("low", "high"))
    return size, mean, low, high


def certified_layers(data: Data, _settings: Data) -> Iterator[FoundLayer]:
    """The layers and the baselines."""
    for name, each in data["layers"].items():
        yield FoundLayer(name, Genome.from_text(each["text"]), None, {"key": each["key"]}, each["baseline"])
