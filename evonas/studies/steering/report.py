"""What a study of steering reports: each method at strength 1 and at equal side effects, curves, samples of images."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from evonas.report.pictures import Points, draw_images, draw_panels, panels_of
from evonas.report.save import Report, RunLog
from evonas.report.statistics import finite_summary, summary
from evonas.report.table import Datum, Table, grouped, written
from evonas.runs.store import Outcome
from evonas.studies.steering.images import ImageTarget
from evonas.studies.steering.results import MethodCurves, label_of, method_curves, steering_json
from evonas.studies.steering.study import (
    NONE,
    SteeringCell,
    SteeringJob,
    SteeringMeasurement,
    SteeringStudyConfig,
    maps_of,
    maps_place,
    target_of,
)

TEXTS = ("prompts", "texts")  # of a measurement, beside its numbers
FITTED_STRENGTH = 1.0  # the strength at which a table shows a method as fitted
SHOWN_RISES = 1.5  # times the largest rise that is compared: how far a picture of trade-offs goes
PICTURES = 12  # images in a row
_MOST_LINES = 9  # in a picture that has one for each variant
RISE = "cost, rise in %"
WIDE = 4.0  # from this ratio of strengths on their axis is logarithmic
MAPS_NOTE = "The fitted maps are in the folder maps/ of this run; results.md lists them, and shows how to apply one."
USE = """A map is applied from Python, to the model that it was fitted on or to one with the same sites:

```python
from evonas.steering import Intervention

maps = Intervention.load("FOLDER OF THIS RUN/maps/...")
with maps.on(model, strength=1.0):
    ...  # the model is steered here, for instance in model.generate(...)
```"""
STRENGTH_1 = {"score": "score at strength 1", "cost": "cost at strength 1"}
MEANINGS = {
    "sparsity": "the weight gamma of the penalty that leaves neurons alone.",
    "neurons": "the share of all neurons that are steered.",
    STRENGTH_1["score"]: "how much of the concept there is with the maps as they were fitted; of `none`, without maps.",
    STRENGTH_1[
        "cost"
    ]: "by how much steering raises the side effect, such as the perplexity of neutral text, above that "
    "of the untouched model; of `none`, the side effect itself.",
}
DISTANCE = {
    "fitted sentences": "how far steered sentences of the fit are from the target, over how far they were before: the "
    "mean squared Wasserstein distance of a neuron.",
    "fresh sentences": "the same of sentences that were not fitted; where it is much more, the fit is by heart.",
}
AT_RISE = (
    "the score where the cost has risen by {0:g} % for the first time, on the line between two measured strengths. The "
    "mean strength is in brackets, with `>=` where some seed's largest measured strength costs less and counts instead."
)


def steering_report(
    name: str,
    rises: Sequence[float],
    measurements: Mapping[SteeringCell, SteeringMeasurement],
    outcomes: Mapping[SteeringJob, Outcome],
    images: Mapping[str, Figure],
) -> Report:
    """The report of a study from its measurements, the outcomes of all its runs, and the images of ``draw_samples``."""
    found = method_curves(measurements, outcomes)
    pictures = {
        "score": draw_strengths(found, "score"),
        "cost": draw_strengths(found, "cost"),
        "trade": draw_trade(found, rises),
        "support": draw_support(found, rises),
    }
    return Report(
        title=name,
        tables=[method_table(found, rises)],
        data=steering_json(found, rises),
        notes=["Means and deviations are over seeds.", MAPS_NOTE],
        details=[*_continuations(measurements, outcomes), _fitted(measurements, outcomes), USE],
        runs=_runs(measurements, outcomes),
        pictures={key: figure for key, figure in pictures.items() if figure is not None} | dict(images),
        logs=_logs(measurements, outcomes),
        failures=[f"{each.task}, {each.label}, seed {n}: {why}" for each in found for n, why in each.failures.items()],
    )


def method_table(found: Sequence[MethodCurves], rises: Sequence[float]) -> Table:
    """A row for each method and variant: means and deviations over seeds; of the untouched model, score and cost."""
    forms = {"sparsity": "{:g}", "neurons": "{:.1%}", STRENGTH_1["cost"]: "{:+.1%}"}
    first = {_at_rise(rise): AT_RISE.format(100 * rise) for rise in rises[:1]}
    rows = (_row(curves, rises) | _distances(curves, known=any(each.distances for each in found)) for curves in found)
    return Table.of(rows, forms, meanings=MEANINGS | first | DISTANCE)


def _at_rise(rise: float) -> str:
    return f"score at +{100 * rise:g} %"


def _row(curves: MethodCurves, rises: Sequence[float]) -> dict[str, Datum]:
    row: dict[str, Datum] = {"task": curves.task, "method": curves.method, "sparsity": curves.sparsity or None}
    row["neurons"] = curves.share.mean if curves.share else None
    if curves.method == NONE:
        firsts = [points[0] for points in curves.curves.values()]
        row[STRENGTH_1["score"]] = finite_summary(point.score for point in firsts)
        row[STRENGTH_1["cost"]] = written(finite_summary(point.cost for point in firsts))
    else:
        score, rise = curves.over_seeds(FITTED_STRENGTH) or (None, None)
        row[STRENGTH_1["score"]], row[STRENGTH_1["cost"]] = score, rise and rise.mean
    return row | {_at_rise(rise): _matched_text(curves, rise) for rise in rises}


def _distances(curves: MethodCurves, *, known: bool) -> dict[str, Datum]:
    """How far steered sentences are from the target, where that was measured of some method."""
    if not known:
        return {}
    return {
        column: finite_summary(pair[place] for pair in curves.distances.values())
        for place, column in enumerate(DISTANCE)
    }


def _matched_text(curves: MethodCurves, rise: float) -> str | None:
    found = list(curves.at_rise(rise).values())
    if not found or curves.method == NONE:
        return None
    more = "" if all(each.reached for each in found) else ">="
    score = written(summary([each.score for each in found]))
    return f"{score} ({more}{fmean(each.strength for each in found):.2f})"


def _continuations(
    measurements: Mapping[SteeringCell, SteeringMeasurement], outcomes: Mapping[SteeringJob, Outcome]
) -> list[Table]:
    """By task, what the model of the first seed said after each prompt: untouched, then steered."""
    seed = next(iter(measurements)).seed
    rows: dict[str, list[dict[str, Datum]]] = {}
    for cell, measurement in measurements.items():
        value = outcomes[measurement].value or {}
        texts = ([" ".join(text.split()) for text in value.get(key, ())] for key in TEXTS)
        for prompt, text in zip(*texts, strict=True):
            if cell.seed == seed:
                label = label_of(cell.method, cell.sparsity, cell.neurons)
                said = {"prompt": prompt, "method": label, "strength": cell.strength, "continuation": text}
                rows.setdefault(cell.task, []).append(said)
    return [
        Table.of(
            [row for same in grouped(own, lambda row: row["prompt"]).values() for row in same],
            {"strength": "{:g}"},
            title=f"Continuations, {task}, seed {seed}: `{NONE}` is the untouched model.",
        )
        for task, own in rows.items()
    ]


def _fitted(measurements: Mapping[SteeringCell, SteeringMeasurement], outcomes: Mapping[SteeringJob, Outcome]) -> Table:
    """Where the maps of each fit are."""
    fits = {cell.model_copy(update={"strength": 0.0}): each.maps for cell, each in measurements.items() if each.maps}
    return Table.of(
        (
            {
                "task": cell.task,
                "method": cell.method,
                "sparsity": cell.sparsity or None,
                "neurons": cell.neurons,
                "seed": cell.seed,
                "folder": str(maps_place(maps)),
            }
            for cell, maps in fits.items()
            if outcomes[maps].value is not None
        ),
        {"sparsity": "{:g}", "neurons": "{:.1%}"},
        title="Fitted maps:",
        code=("folder",),
    )


def _runs(measurements: Mapping[SteeringCell, SteeringMeasurement], outcomes: Mapping[SteeringJob, Outcome]) -> Table:
    found = {cell: outcomes[measurement] for cell, measurement in measurements.items()}
    numbers = dict.fromkeys(key for outcome in found.values() for key in outcome.value or () if key not in TEXTS)
    return Table.of(
        cell.model_dump()
        | {key: (outcome.value or {}).get(key) for key in numbers}
        | {"failure": outcome.failure, "seconds": round(outcome.seconds, 2)}
        for cell, outcome in found.items()
    )


def _logs(
    measurements: Mapping[SteeringCell, SteeringMeasurement], outcomes: Mapping[SteeringJob, Outcome]
) -> dict[str, RunLog]:
    """A board for each fit: its loss, and what was measured, whose steps are thousandths of the strength."""
    logs = {}
    for (variant, seed), cells in grouped(measurements, lambda cell: (cell.variant, cell.seed)).items():
        task, method, sparsity, neurons = variant
        maps, last = measurements[cells[0]].maps, cells[-1]
        fitted = outcomes[maps].value if maps is not None else None
        curves = {"loss": fitted["losses"]} if fitted else {}
        for cell in cells:
            numbers = _numbers(outcomes[measurements[cell]])
            for tag, number in numbers.items():
                curves.setdefault(tag, []).append((round(1000 * cell.strength), number))
        hparams = last.model_dump()
        place = f"{task.replace(' ', '_')}/{method}/sparsity_{sparsity:g}_neurons_{neurons:g}/seed_{seed}"
        logs[place] = RunLog(hparams, _numbers(outcomes[measurements[last]]), curves)
    return logs


def _numbers(outcome: Outcome) -> dict[str, float]:
    value = outcome.value or {}
    return {f"steering/{key}": number for key, number in value.items() if isinstance(number, int | float)}


def draw_strengths(found: Sequence[MethodCurves], what: str) -> Figure:
    """Score, or rise of the cost in percent, over strength: a panel for each task, a line for each method.

    Where they were too many, each method has its first variant alone; ``draw_support`` has all.
    """
    wide = max((strength for each in found for strength in each.strengths), default=0.0) > WIDE * FITTED_STRENGTH

    def points(curves: MethodCurves) -> Iterator[tuple[float, float, float]]:
        for strength in curves.strengths:
            if (means := curves.over_seeds(strength)) is not None and not (wide and strength == 0):
                yield (means[0] if what == "score" else means[1].times(100)).at(strength)

    panels = panels_of((_heading(each.task), each.label, list(points(each))) for each in _lines(found))
    shown: dict[str, Any] = {"ylabel": "score of the concept", "levels": _untouched(found), "title": "Score"}
    shown = shown if what == "score" else {"ylabel": RISE, "better": -1, "title": "Side effect"}
    shown["title"] += " by strength of the steering: mean and deviation over seeds"
    return draw_panels(panels, xlabel="strength", logx=2 if wide else 0, **shown)


def draw_trade(found: Sequence[MethodCurves], rises: Sequence[float]) -> Figure:
    """Score over the rise of the cost, as far as is compared, strength by strength: lines as ``draw_strengths``."""

    def points(curves: MethodCurves) -> Iterator[tuple[float, float, float]]:
        for strength in curves.strengths:
            means = curves.over_seeds(strength)
            if means is None or means[1].mean > SHOWN_RISES * max(rises, default=inf):
                return
            yield means[0].at(100 * means[1].mean)

    panels = panels_of((_heading(each.task), each.label, list(points(each))) for each in _lines(found))
    title = "Score of the concept by what it costs, strength by strength: mean and deviation over seeds"
    words: dict[str, Any] = {"xlabel": RISE, "ylabel": "score of the concept", "title": title}
    return draw_panels(panels, logx=0, levels=_untouched(found), **words)


def draw_support(found: Sequence[MethodCurves], rises: Sequence[float]) -> Figure | None:
    """Score over the share of steered neurons, a line for each cost; None without a method of several variants."""
    measured = [each for each in _steered(found) if each.share]
    several = Counter((each.task, each.method) for each in measured)
    lines: list[tuple[str, str, Points]] = []
    for each in measured:
        if each.share is None or several[each.task, each.method] < 2:
            continue
        panel, share = f"{_heading(each.task)}, {each.method}", 100 * each.share.mean
        if (full := each.over_seeds(FITTED_STRENGTH)) is not None:
            lines.append((panel, "strength 1", [full[0].at(share)]))
        for rise in rises:
            score = summary([matched.score for matched in each.at_rise(rise).values()])
            lines.append((panel, f"cost +{100 * rise:g} %", [score.at(share)]))
    if not lines:
        return None
    panels = {
        panel: {name: sorted(points) for name, points in series.items()} for panel, series in panels_of(lines).items()
    }
    logx = 10 if all(points[0][0] > 0 for _, _, points in lines) else 0
    title = "Score of the concept by how many neurons are steered, at equal cost"
    words: dict[str, Any] = {"xlabel": "neurons steered, %", "ylabel": "score of the concept", "title": title}
    return draw_panels(panels, logx=logx, levels=_untouched(found), **words)


def _heading(task: str) -> str:
    """The task, with which scores are better where that is known from its name."""
    better = {"remove": " (lower is better)", "include": " (higher is better)"}
    return task + better.get(task.split()[0], "")


def draw_samples(
    study: SteeringStudyConfig, measurements: Mapping[SteeringCell, SteeringMeasurement], folder: Path
) -> dict[str, Figure]:
    """Images of the first seed, by task: the untouched generator's, and each method's nearest to strength 1."""
    subject = target_of(study, folder)
    if not isinstance(subject, ImageTarget):
        return {}
    found = {}
    for task in subject.tasks:
        rows: dict[str, Tensor] = {NONE: subject.pictures(task, study.seeds[0], PICTURES)}
        cells = [cell for cell in measurements if (cell.task, cell.seed) == (task, study.seeds[0])]
        for variant in dict.fromkeys(cell.variant for cell in cells if cell.method != NONE):
            own = [cell for cell in cells if cell.variant == variant]
            nearest = min(own, key=lambda cell: abs(cell.strength - FITTED_STRENGTH))
            maps = measurements[nearest].maps
            assert maps is not None
            try:
                intervention = maps_of(subject, folder, maps)
            except ArithmeticError:  # its training diverged
                continue
            with intervention.on(subject.model, nearest.strength):
                label = label_of(*variant[1:])
                rows[f"{label}, strength {nearest.strength:g}"] = subject.pictures(task, study.seeds[0], PICTURES)
        found[f"images_{task.replace(' ', '_')}"] = draw_images(
            rows, title=f"{task.capitalize()}: the same noise in each column, a method in each row"
        )
    return found


def _steered(groups: Sequence[MethodCurves]) -> list[MethodCurves]:
    return [group for group in groups if group.method != NONE and group.curves]


def _lines(groups: Sequence[MethodCurves]) -> list[MethodCurves]:
    steered = _steered(groups)
    if len({group.label for group in steered}) <= _MOST_LINES:
        return steered
    return list({(group.task, group.method): group for group in reversed(steered)}.values())[::-1]


def _untouched(groups: Sequence[MethodCurves]) -> dict[str, float]:
    """A level for pictures, where there is one task: of several tasks each has its own."""
    found = [group for group in groups if group.method == NONE and group.curves]
    if len(found) != 1:
        return {}
    return {NONE: fmean(curve[0].score for curve in found[0].curves.values())}
