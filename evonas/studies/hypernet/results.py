"""What a study says: each parametrization at its best learning rate, and the steps to the default's final loss."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch

from evonas.errors import InputError
from evonas.report.statistics import Summary, summary
from evonas.runs.store import Outcome
from evonas.studies.hypernet.diagnostics import GRADIENT_MEAN_SQUARED, GRADIENT_VARIANCE, PREFIX, log_log_slope
from evonas.studies.hypernet.settings import SEPARATE, OptimizerName, Piece
from evonas.studies.hypernet.study import Setting

DEFAULT = "default"
Curve = tuple[tuple[int, float], ...]  # step, loss on the fixed batches
Value = Mapping[str, Any]  # what ``work`` gives
Points = list[tuple[float, float, float]]  # place, mean, deviation over seeds


@dataclass(frozen=True, slots=True)
class Group:
    """One parametrization with one correction and setting, at the best of its learning rates.

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
    setting: Setting
    learning_rate: float | None
    rates: Mapping[float, Mapping[int, Value]]
    diverged: int
    runs: int

    @property
    def name(self) -> str:
        """As tables and pictures call it."""
        return self.parametrization + (f" {self.correction:g}" if self.correction else "")

    @property
    def best(self) -> Mapping[int, Value]:
        """By seed, what runs at the best learning rate gave."""
        return {} if self.learning_rate is None else self.rates[self.learning_rate]

    @property
    def final(self) -> Summary | None:
        """Final loss over seeds."""
        return summary([final_loss(value) for value in self.best.values()]) if self.best else None

    @property
    def metric(self) -> Summary | None:
        """Mean metric over the task's grid, over seeds."""
        return summary([fmean(value["metric"]) for value in self.best.values()]) if self.best else None

    def mean_curve(self, rate: float | None = None) -> Points:
        """Step, mean loss and deviation over seeds, at one of ``rates``: the best unless given."""
        chosen = self.best if rate is None else self.rates[rate]
        return _over_seeds([[(step, loss) for step, loss in value["curve"]] for value in chosen.values()])

    def along(self, what: str) -> Points:
        """``losses`` or ``metric`` at the gammas of the grid: place from 0 to 1 or cost, mean and deviation."""
        return _over_seeds([along(value, what) for value in self.best.values()])

    def steps_to(self, loss: float, rate: float | None = None) -> int | None:
        """The first step at which the mean loss over seeds is as low; None if it never is."""
        return next((int(step) for step, mean, _ in self.mean_curve(rate) if mean <= loss), None)

    def magnitudes(self) -> Points:
        """||z||, mean and deviation of ||theta|| along a ray at the start."""
        return _over_seeds([[(z, theta) for z, theta in value["magnitudes"]] for value in self.best.values()])


@dataclass(frozen=True, slots=True)
class Separate:
    """Plain networks trained for one gamma each, with one optimizer, each at the best of its learning rates.

    Attributes:
        optimizer: its name.
        values: by seed, ``losses``, ``metric`` and ``costs`` along the grid, where no network failed or diverged.
    """

    optimizer: str
    values: Mapping[int, Value]

    def along(self, what: str) -> Points:
        """As of a group."""
        return _over_seeds([along(value, what) for value in self.values.values()])


def groups_of(outcomes: Mapping[Piece, Outcome]) -> list[Group]:
    """The groups, in the order of the grid."""
    runs: dict[tuple[str, float, Setting], dict[float, dict[int, Outcome]]] = {}
    for piece, outcome in outcomes.items():
        if piece.place is None:
            setting = (piece.optimizer, piece.activation, piece.norm, piece.noise)
            by_rate = runs.setdefault((piece.parametrization, piece.correction, setting), {})
            by_rate.setdefault(piece.learning_rate, {})[piece.seed] = outcome
    return [_group(*key, by_rate) for key, by_rate in runs.items()]


def separate_of(outcomes: Mapping[Piece, Outcome]) -> list[Separate]:
    """The separate networks, by optimizer."""
    runs: dict[OptimizerName, dict[int, dict[float, dict[int, Outcome]]]] = {}
    for piece, outcome in outcomes.items():
        if piece.place is not None:
            by_rate = runs.setdefault(piece.optimizer, {}).setdefault(piece.place, {})
            by_rate.setdefault(piece.learning_rate, {})[piece.seed] = outcome
    found = []
    for optimizer, places in runs.items():
        chosen = [_group(SEPARATE, 0.0, (optimizer, "", "", 0), places[place]).best for place in sorted(places)]
        seeds = [seed for seed in chosen[0] if all(seed in best for best in chosen)]
        joined = {seed: {key: _joined(best[seed][key] for best in chosen) for key in ALONG} for seed in seeds}
        found.append(Separate(optimizer, joined))
    return found


ALONG = ("losses", "metric", "costs")


def _joined(parts: Iterable[list[float] | None]) -> list[float] | None:
    lists = list(parts)
    return None if None in lists else [number for part in lists for number in part or ()]


def _group(form: str, correction: float, setting: Setting, by_rate: Mapping[float, Mapping[int, Outcome]]) -> Group:
    whole: dict[float, dict[int, Value]] = {}
    for rate, found in by_rate.items():
        ended = {seed: outcome.value for seed, outcome in found.items() if outcome.value and outcome.value["metric"]}
        if len(ended) == len(found):
            whole[rate] = ended
    best = min(whole, key=lambda rate: fmean(map(final_loss, whole[rate].values())), default=None)
    every = [outcome for found in by_rate.values() for outcome in found.values()]
    lost = sum(not (outcome.value and outcome.value["metric"]) for outcome in every)
    return Group(form, correction, setting, best, whole, lost, len(every))


def final_loss(value: Value) -> float:
    """The last loss of a run that went through."""
    return float(value["curve"][-1][1])


def along(value: Value, what: str) -> list[tuple[float, float]]:
    """Points of ``losses`` or ``metric``: over cost, or over the place from 0 to 1 where cost is always the same."""
    numbers = value[what]
    places = value["costs"] or [index / max(1, len(numbers) - 1) for index in range(len(numbers))]
    return list(zip(places, numbers, strict=True))


def _over_seeds(rows: Sequence[Sequence[tuple[float, float]]]) -> Points:
    columns = [(column[0][0], summary([y for _, y in column])) for column in zip(*rows, strict=True)]
    return [(x, found.mean, found.std or 0.0) for x, found in columns]


def reference(group: Group, groups: Sequence[Group]) -> Group | None:
    """The default parametrization under the same setting, with the best of its corrections; None if all diverged."""
    defaults = [g for g in groups if g.parametrization == DEFAULT and g.setting == group.setting and g.best]
    return min(defaults, key=lambda g: g.final.mean if g.final else math.inf, default=None)


def speedup(group: Group, groups: Sequence[Group], rate: float | None = None) -> float | None:
    """Steps of the default parametrization over the steps to reach its final loss, under the same setting.

    None where it is never reached, or there is no default.

    Args:
        group: what is compared.
        groups: all of the study.
        rate: a learning rate of the group where no seed diverged; the best unless given.
    """
    best = reference(group, groups)
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


def relative_spread(value: Value) -> float | None:
    """Variance of the gradient over gamma at the start, over the square of its mean; None if that is 0."""
    _, first = (value.get("scalars") or [(0, {})])[0]  # older records have none
    variance, square = (first.get(f"{PREFIX}/{tag}") for tag in (GRADIENT_VARIANCE, GRADIENT_MEAN_SQUARED))
    return variance / square if variance is not None and square else None


def study_json(groups: Sequence[Group], separate: Sequence[Separate] = ()) -> dict[str, Any]:
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
            {"optimizer": found.optimizer, **{key: {s: v[key] for s, v in found.values.items()} for key in ALONG}}
            for found in separate
        ],
    }
