"""What a study of hypernetworks reports: a row for each parametrization at its best learning rate, and pictures."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure

from evonas.report.pictures import Points, draw_panels, panels_of
from evonas.report.save import Report, RunLog
from evonas.report.statistics import numbered
from evonas.report.table import Datum, Table, written
from evonas.runs.store import Outcome
from evonas.studies.hypernet.results import (
    RunValue,
    TunedRuns,
    along,
    default_runs,
    hypernet_json,
    points_along,
    relative_spread,
    separate_of,
    slope,
    speedup,
    tuned_runs,
)
from evonas.studies.hypernet.settings import SEPARATE, HypernetRun
from evonas.studies.hypernet.study import HypernetSetting

LOSS: dict[str, Any] = {"ylabel": "loss on fixed batches", "better": -1, "logx": 0}
STEPS: dict[str, Any] = {
    "xlabel": "learning rate",
    "ylabel": "steps to the default's final loss",
    "better": -1,
    "title": "Steps until a parametrization reaches the default's final loss, by learning rate; a cross at the upper "
    "edge: never reached; no mark: diverged",
}
MAGNITUDE: dict[str, Any] = {
    "xlabel": "norm of the hypernetwork's input",
    "ylabel": "norm of the predicted parameters",
    "logy": True,
    "title": "How predicted parameters grow with the input of the hypernetwork, before training",
}
METRIC: dict[str, Any] = {"ylabel": "accuracy, or minus the loss of a registration", "better": 1, "logx": 0}
CURVES: dict[str, Any] = LOSS | {"xlabel": "steps", "logy": True}
CURVES |= {"title": "Loss during the training, by parametrization: mean and deviation over seeds"}
FASTER = "{:.2f}x"

Separate = Mapping[str, Mapping[int, RunValue]]  # networks for one gamma each, by optimizer and seed


def hypernet_report(name: str, outcomes: Mapping[HypernetRun, Outcome]) -> Report:
    """The report of a study from the outcomes of all its runs."""
    tuned, separate = tuned_runs(outcomes), separate_of(outcomes)
    details = [
        ablation(tuned),
        along_table(tuned, separate, "losses", "Loss on fixed batches along the range:"),
        along_table(tuned, separate, "metric", "Metric along the range:"),
    ]
    return Report(
        title=name,
        tables=[tuned_table(tuned)],
        data=hypernet_json(tuned, separate),
        details=details,
        runs=_runs(outcomes),
        pictures=draw_pictures(tuned, separate),
        failures=[f"{_folder(run)}: {outcome.failure}" for run, outcome in outcomes.items() if outcome.failure],
        logs={_folder(run): _log(run, o.value) for run, o in outcomes.items() if o.value is not None},
    )


MEANINGS = {
    "noise": "how many random inputs the hypernetwork gets beside the setting gamma.",
    "learning rate": "the best one of the grid: the lowest mean final loss over seeds, where no seed diverged.",
    "final loss": "the loss after the last step, on batches that are the same for all runs.",
    "metric": "the accuracy, or of a registration the negative loss: the mean over five gammas, larger is better.",
    "steps saved": "the steps of the default parametrization, divided by the steps after which this one reaches the "
    "default's final loss; `-` where it never does.",
    "slope": "by how much the logarithm of the norm of the predicted parameters grows with that of the hypernetwork's "
    "input, before training; 0 is no dependence.",
    "gradient variance": "the variance of the gradient over gamma, divided by its squared mean, before training.",
    "diverged": "runs at any learning rate that left the finite numbers or failed.",
}


def tuned_table(tuned: Sequence[TunedRuns]) -> Table:
    """A row for each parametrization with its correction and setting."""
    forms = {"learning rate": "{:g}", "steps saved": FASTER, "slope": "{:z.2f}", "gradient variance": "{:.2g}"}
    return Table.of(
        (
            {
                "parametrization": runs.name,
                "optimizer": runs.setting[0],
                "activation": runs.setting[1],
                "norm": runs.setting[2],
                "noise": runs.setting[3],
                "learning rate": runs.learning_rate,
                "final loss": runs.final,
                "metric": runs.metric,
                "steps saved": speedup(runs, tuned),
                "slope": runs.mean(lambda value: slope(value["magnitudes"])),
                "gradient variance": runs.mean(relative_spread),
                "diverged": f"{runs.diverged} of {runs.runs}",
            }
            for runs in tuned
        ),
        forms,
        meanings=MEANINGS,
    ).without_constants(("optimizer", "activation", "norm", "noise"))


def ablation(tuned: Sequence[TunedRuns]) -> Table:
    """Final loss and steps saved: settings x parametrizations."""

    def found(runs: TunedRuns) -> str:
        faster = speedup(runs, tuned)
        return (written(runs.final) if runs.final else "diverged") + (f", {FASTER.format(faster)}" if faster else "")

    rows = ({"setting": title_of(runs.setting), "name": runs.name, "found": found(runs)} for runs in tuned)
    return Table.of(rows, title="Final loss and steps saved:").pivot("name", "found")


def along_table(tuned: Sequence[TunedRuns], separate: Separate, what: str, title: str = "") -> Table:
    """One network for all gammas and separate ones: ``losses`` or ``metric`` at the gammas of the grid."""
    networks = {f"{runs.name}, {title_of(runs.setting)}": runs.best for runs in tuned}
    networks |= {f"{SEPARATE}, {optimizer}": values for optimizer, values in separate.items()}
    rows: list[Mapping[str, Datum]] = []
    for network, values in networks.items():
        for value in values.values():
            places, numbers = zip(*along(value, what), strict=True)
            for (place, before), number in zip(numbered(places), numbers, strict=True):
                name = f"{place:g}" + (f" ({before + 1})" if before else "")
                rows.append({"network": network, "place": name, "value": number})
    return Table.of(rows, title=title).over_seeds(["network", "place"], ["value"]).pivot("place", "value")


def title_of(setting: HypernetSetting) -> str:
    """A setting in words: what is not there is left out."""
    optimizer, activation, norm, noise = setting
    return ", ".join(
        [optimizer, activation, *([f"{norm} norm"] * (norm != "none")), *([f"{noise} noise inputs"] * bool(noise))]
    )


def _runs(outcomes: Mapping[HypernetRun, Outcome]) -> Table:
    def numbers(value: RunValue) -> dict[str, float | None]:
        return {"final_loss": value["curve"][-1][1], "metric": fmean(value["metric"]) if value["metric"] else None}

    return Table.of(
        run.model_dump(exclude={"task", "data", "run", "device"})
        | (numbers(outcome.value) if outcome.value else {"final_loss": None, "metric": None})
        | {"failure": outcome.failure, "seconds": round(outcome.seconds, 2)}
        for run, outcome in outcomes.items()
    )


def _folder(run: HypernetRun) -> str:
    place = f"correction_{run.correction:g}" if run.place is None else f"place_{run.place}"
    network = (run.parametrization, run.optimizer, run.activation, run.norm, f"noise_{run.noise}", place)
    return "/".join(filter(None, (*network, f"lr_{run.learning_rate:g}", f"seed_{run.seed}")))


def _log(run: HypernetRun, value: RunValue) -> RunLog:
    curves = {"loss": value["curve"]}
    for step, numbers in value.get("scalars", ()):  # older records have none
        for tag, number in numbers.items():
            curves.setdefault(tag, []).append((step, number))
    settings = run.model_dump(include={"parametrization", "optimizer", "learning_rate", "correction", "seed"})
    hparams = {key.replace("_", " "): setting for key, setting in settings.items()}
    metrics = {"hypernet/slope at the start": slope(value["magnitudes"]) if value["magnitudes"] else None}
    metrics |= {"metric": fmean(value["metric"]) if value["metric"] else None, "loss": value["curve"][-1][1]}
    return RunLog(hparams, {key: number for key, number in metrics.items() if number is not None}, curves)


def draw_pictures(tuned: Sequence[TunedRuns], separate: Separate) -> dict[str, Figure]:
    """Every picture by its name, but for those without a point; bands are deviations over seeds."""
    costs = any(value["costs"] for runs in tuned for value in runs.best.values())
    place = "floating point operations on an image" if costs else "gamma, from start to end of its range"
    settled = "of one network for all settings gamma, and of separate ones for each" if separate else "by setting gamma"
    settings = {runs.setting for runs in tuned if runs.setting[0] in separate}

    def lines(points: Callable[[TunedRuns], Points]) -> list[tuple[str, str, Points]]:
        return [(title_of(runs.setting), runs.name, points(runs) if runs.best else []) for runs in tuned]

    def compared(what: str) -> list[tuple[str, str, Points]]:
        alone = [(title_of(each), SEPARATE, points_along(separate[each[0]], what)) for each in settings]
        return lines(lambda runs: points_along(runs.best, what)) + alone

    pictures = {
        "curves": (lines(TunedRuns.mean_curve), CURVES),
        "steps": (lines(lambda runs: steps_by_rate(runs, tuned)), STEPS | {"missing": _never(tuned)}),
        "magnitude": (lines(TunedRuns.magnitudes), MAGNITUDE),
        "losses": (compared("losses"), LOSS | {"xlabel": place, "title": f"Loss after the training, {settled}"}),
        "metric": (compared("metric"), METRIC | {"xlabel": place, "title": f"Metric after the training, {settled}"}),
    }
    return {
        picture: draw_panels(panels_of(drawn), **words)
        for picture, (drawn, words) in pictures.items()
        if any(points for _, _, points in drawn)
    }


def steps_by_rate(runs: TunedRuns, tuned: Sequence[TunedRuns]) -> Points:
    """Learning rates with the steps to the final loss of the default at its best one, where it is reached."""
    best = default_runs(runs, tuned)
    if best is None or best.final is None:
        return []
    found = [(rate, runs.steps_to(best.final.mean, rate)) for rate in sorted(runs.rates)]
    return [(rate, steps, 0.0) for rate, steps in found if steps]


def _never(tuned: Sequence[TunedRuns]) -> dict[str, dict[str, list[float]]]:
    """By setting and parametrization, the learning rates at which the default's final loss was not reached."""
    found: dict[str, dict[str, list[float]]] = {}
    for runs in tuned:
        reached = {rate for rate, *_ in steps_by_rate(runs, tuned)}
        if default_runs(runs, tuned) is not None:
            found.setdefault(title_of(runs.setting), {})[runs.name] = sorted(runs.rates.keys() - reached)
    return found
