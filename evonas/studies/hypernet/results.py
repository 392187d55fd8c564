"""Results of a study: each parametrization at its best learning rate, and the steps to the default's final loss."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from evonas.errors import InputError
from evonas.report.pictures import Points
from evonas.report.statistics import Summary, finite_summary, mean_points
from evonas.report.table import grouped
from evonas.runs.store import Outcome
from evonas.studies.hypernet.diagnostics import GRADIENT_MEAN_SQUARED, GRADIENT_VARIANCE, PREFIX, log_log_slope
from evonas.studies.hypernet.settings import SEPARATE, HypernetRun
from evonas.studies.hypernet.study import HypernetSetting

DEFAULT = "default"
RunValue = Mapping[str, Any]  # what ``work`` gives


@dataclass(frozen=True, slots=True)
class TunedRuns:
    """Runs of one parametrization with one correction and setting, at the best of their learning rates.

    Attributes:
        parametrization: its name.
        correction: of the grid; 0 is the parametrization's own.
        setting: optimizer, activation, norm and noise.
        learning_rate: with the lowest mean final loss over seeds, among those where no seed diverged; None if some seed
            diverged at each.
        rates: by learning rate where no seed diverged, and seed: what the run gave.
        diverged: runs that left the finite numbers or failed, over all learning rates, of how many.
        runs: how many there were.
    """

    parametrization: str
    correction: float
    setting: HypernetSetting
    learning_rate: float | None
    rates: Mapping[float, Mapping[int, RunValue]]
    diverged: int
    runs: int

    @property
    def name(self) -> str:
        """Its name in tables and pictures."""
        return self.parametrization + (f" {self.correction:g}" if self.correction else "")

    @property
    def best(self) -> Mapping[int, RunValue]:
        """The values of the runs at the best learning rate, by seed."""
        return {} if self.learning_rate is None else self.rates[self.learning_rate]

    @property
    def final(self) -> Summary | None:
        """Final loss over seeds."""
        return finite_summary(map(final_loss, self.best.values()))

    @property
    def metric(self) -> Summary | None:
        """Mean metric over the task's grid, over seeds."""
        return finite_summary(fmean(value["metric"]) for value in self.best.values())

    def mean(self, measure: Callable[[RunValue], float | None]) -> float | None:
        """The mean of a measurement over the runs for which it exists."""
        found = [number for value in self.best.values() if (number := measure(value)) is not None]
        return fmean(found) if found else None

    def mean_curve(self, rate: float | None = None) -> Points:
        """Step, mean loss and deviation over seeds, at one of ``rates``: the best unless given."""
        chosen = self.best if rate is None else self.rates[rate]
        return mean_points(value["curve"] for value in chosen.values())

    def steps_to(self, loss: float, rate: float | None = None) -> int | None:
        """The first step at which the mean loss over seeds is as low; None if it never is."""
        return next((int(step) for step, mean, _ in self.mean_curve(rate) if mean <= loss), None)

    def magnitudes(self) -> Points:
        """||z||, mean and deviation of ||theta|| along a ray at the start."""
        return mean_points(value["magnitudes"] for value in self.best.values())


def tuned_runs(outcomes: Mapping[HypernetRun, Outcome]) -> list[TunedRuns]:
    """The hypernetworks by parametrization, correction and setting, in the order of the grid."""
    groups = grouped(
        (run for run in outcomes if run.place is None),
        lambda p: (p.parametrization, p.correction, (p.optimizer, p.activation, p.norm, p.noise)),
    )
    return [_tuned(*key, {run: outcomes[run] for run in runs}) for key, runs in groups.items()]


def separate_of(outcomes: Mapping[HypernetRun, Outcome]) -> dict[str, dict[int, RunValue]]:
    """Plain networks trained for one gamma each, each at the best of its learning rates.

    By optimizer and seed they are ``losses``, ``metric`` and ``costs`` along the grid, where no network failed or
    diverged.
    """
    groups = grouped((run for run in outcomes if run.place is not None), lambda run: run.optimizer)
    found: dict[str, dict[int, RunValue]] = {}
    for optimizer, runs in groups.items():
        by_place = sorted(grouped(runs, lambda run: run.place or 0).items())
        setting = (optimizer, "", "", 0)
        chosen = [_tuned(SEPARATE, 0.0, setting, {p: outcomes[p] for p in own}).best for _, own in by_place]
        seeds = [seed for seed in chosen[0] if all(seed in best for best in chosen)]
        found[optimizer] = {seed: {key: _joined(best[seed][key] for best in chosen) for key in ALONG} for seed in seeds}
    return found


ALONG = ("losses", "metric", "costs")


def _joined(parts: Iterable[list[float] | None]) -> list[float] | None:
    lists = list(parts)
    return None if None in lists else [number for part in lists for number in part or ()]


def _tuned(
    form: str, correction: float, setting: HypernetSetting, outcomes: Mapping[HypernetRun, Outcome]
) -> TunedRuns:
    whole: dict[float, dict[int, RunValue]] = {}
    for rate, runs in grouped(outcomes, lambda run: run.learning_rate).items():
        ended = {p.seed: value for p in runs if (value := outcomes[p].value) and value["metric"]}
        if len(ended) == len(runs):
            whole[rate] = ended
    best = min(whole, key=lambda rate: fmean(map(final_loss, whole[rate].values())), default=None)
    lost = sum(not (outcome.value and outcome.value["metric"]) for outcome in outcomes.values())
    return TunedRuns(form, correction, setting, best, whole, lost, len(outcomes))


def final_loss(value: RunValue) -> float:
    """The last loss of a run that went through."""
    return float(value["curve"][-1][1])


def along(value: RunValue, what: str) -> list[tuple[float, float]]:
    """``losses`` or ``metric`` along the grid: over cost, or over places from 0 to 1 where cost is always the same."""
    numbers = value[what]
    places = value["costs"] or [index / max(1, len(numbers) - 1) for index in range(len(numbers))]
    return list(zip(places, numbers, strict=True))


def points_along(values: Mapping[int, RunValue], what: str) -> Points:
    """Places, means and deviations over seeds of ``losses`` or ``metric`` along the grid."""
    return mean_points(along(value, what) for value in values.values())


def default_runs(group: TunedRuns, groups: Sequence[TunedRuns]) -> TunedRuns | None:
    """The default parametrization under the same setting, with the best of its corrections; None if all diverged."""
    defaults = [g for g in groups if g.parametrization == DEFAULT and g.setting == group.setting and g.best]
    return min(defaults, key=lambda g: g.final.mean if g.final else math.inf, default=None)


def speedup(group: TunedRuns, groups: Sequence[TunedRuns], rate: float | None = None) -> float | None:
    """Steps of the default parametrization over the steps to reach its final loss, under the same setting.

    None where it is never reached, or there is no default.

    Args:
        group: what is compared.
        groups: all of the study.
        rate: a learning rate of the group where no seed diverged; the best unless given.
    """
    best = default_runs(group, groups)
    if best is None or best.final is None or not group.best:
        return None
    steps, total = group.steps_to(best.final.mean, rate), best.mean_curve()[-1][0]
    return total / steps if steps else None


def slope(magnitudes: Sequence[Sequence[float]]) -> float | None:
    """Log-log slope of ||theta|| against ||z||; None where a size is 0 or not finite."""
    try:
        return log_log_slope(*torch.tensor(magnitudes).T)
    except InputError:
        return None


def relative_spread(value: RunValue) -> float | None:
    """Variance of the gradient over gamma at the start, over the square of its mean; None if that is 0."""
    _, first = (value.get("scalars") or [(0, {})])[0]  # older records have none
    variance, square = (first.get(f"{PREFIX}/{tag}") for tag in (GRADIENT_VARIANCE, GRADIENT_MEAN_SQUARED))
    return variance / square if variance is not None and square else None


def hypernet_json(groups: Sequence[TunedRuns], separate: Mapping[str, Mapping[int, RunValue]]) -> dict[str, Any]:
    """All groups as JSON."""
    return {
        "groups": [
            {
                "parametrization": group.parametrization,
                "correction": group.correction,
                "optimizer": group.setting[0],
                "activation": group.setting[1],
                "norm": group.setting[2],
                "noise": group.setting[3],
                "learning_rate": group.learning_rate,
                "final_loss": {seed: final_loss(value) for seed, value in group.best.items()},
                "speedup": speedup(group, groups),
                "speedups": {f"{rate:g}": speedup(group, groups, rate) for rate in group.rates},
                "slope": {seed: slope(value["magnitudes"]) for seed, value in group.best.items()},
                "gradient_variance": {seed: relative_spread(value) for seed, value in group.best.items()},
                "curves": {seed: value["curve"] for seed, value in group.best.items()},
                **{key: {seed: value[key] for seed, value in group.best.items()} for key in ALONG},
                "diverged": group.diverged,
                "runs": group.runs,
            }
            for group in groups
        ],
        "separate": [
            {"optimizer": optimizer, **{key: {seed: value[key] for seed, value in values.items()} for key in ALONG}}
            for optimizer, values in separate.items()
        ],
    }
