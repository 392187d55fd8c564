"""What a study says: each parametrization at its best learning rate, and the steps to the default's final loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from evonas.evaluate.statistics import Summary, summary
from evonas.hypernet.study import Piece
from evonas.record.results import Outcome

DEFAULT = "default"
Setting = tuple[str, str, str]  # optimizer, activation, norm
Curve = tuple[tuple[int, float], ...]  # step, loss on the fixed batches


@dataclass(frozen=True, slots=True)
class Group:
    """One parametrization with one correction, optimizer, activation and norm, at the best of its learning rates.

    Attributes:
        parametrization: its name.
        correction: of the grid; 0 is the parametrization's own.
        setting: optimizer, activation and norm.
        learning_rate: with the lowest mean final loss over seeds, among those where no seed diverged; None if some seed
            diverged at each.
        curves: by seed, at that rate.
        metrics: by seed, the metric over the task's grid.
        diverged: runs that left the finite numbers, over all learning rates, of how many.
        runs: how many there were.
    """

    parametrization: str
    correction: float
    setting: Setting
    learning_rate: float | None
    curves: Mapping[int, Curve]
    metrics: Mapping[int, tuple[float, ...]]
    diverged: int
    runs: int

    @property
    def name(self) -> str:
        """As tables and pictures call it."""
        return self.parametrization + (f" {self.correction:g}" if self.correction else "")

    @property
    def final(self) -> Summary | None:
        """Final loss over seeds."""
        return summary([curve[-1][1] for curve in self.curves.values()]) if self.curves else None

    @property
    def metric(self) -> Summary | None:
        """Mean metric over the task's grid, over seeds."""
        return summary([fmean(values) for values in self.metrics.values()]) if self.metrics else None

    def mean_curve(self) -> list[tuple[float, float, float]]:
        """Step, mean loss and deviation over seeds."""
        rows = zip(*self.curves.values(), strict=True)
        found = [(row[0][0], summary([loss for _, loss in row])) for row in rows]
        return [(step, each.mean, each.std or 0.0) for step, each in found]

    def steps_to(self, loss: float) -> int | None:
        """The first step at which the mean loss over seeds is as low; None if it never is."""
        return next((int(step) for step, mean, _ in self.mean_curve() if mean <= loss), None)


def groups_of(outcomes: Mapping[Piece, Outcome]) -> list[Group]:
    """The groups, in the order of the grid."""
    runs: dict[tuple[str, float, Setting], dict[float, dict[int, Outcome]]] = {}
    for piece, outcome in outcomes.items():
        setting = (piece.optimizer, piece.activation, piece.norm)
        by_rate = runs.setdefault((piece.parametrization, piece.correction, setting), {})
        by_rate.setdefault(piece.learning_rate, {})[piece.seed] = outcome
    return [_group(*key, by_rate) for key, by_rate in runs.items()]


def _group(form: str, correction: float, setting: Setting, by_rate: Mapping[float, Mapping[int, Outcome]]) -> Group:
    whole = {rate: found for rate, found in by_rate.items() if all(_ended(o) is not None for o in found.values())}
    best = min(whole, key=lambda rate: fmean(_ended(o) or 0.0 for o in whole[rate].values()), default=None)
    chosen = {} if best is None else whole[best]
    values = {seed: outcome.value for seed, outcome in chosen.items() if outcome.value}
    every = [outcome for found in by_rate.values() for outcome in found.values()]
    return Group(
        form,
        correction,
        setting,
        best,
        {seed: tuple((int(step), float(loss)) for step, loss in value["curve"]) for seed, value in values.items()},
        {seed: tuple(value["metric"]) for seed, value in values.items()},
        sum(_ended(outcome) is None for outcome in every),
        len(every),
    )


def _ended(outcome: Outcome) -> float | None:
    """The final loss of a run that went through; None if it diverged or failed."""
    if outcome.value is None or outcome.value["metric"] is None:
        return None
    final = outcome.value["curve"][-1][1]
    return float(final) if final is not None else None


def speedup(group: Group, groups: list[Group]) -> float | None:
    """Steps of the default parametrization over the steps to reach its final loss, under the same setting.

    The default is the one with the lowest final loss among its corrections. inf is not given: None where it is never
    reached, or there is no default.
    """
    defaults = [g for g in groups if g.parametrization == DEFAULT and g.setting == group.setting and g.final]
    if not defaults or group.final is None:
        return None
    best = min(defaults, key=lambda g: g.final.mean if g.final else math.inf)
    assert best.final is not None
    steps, total = group.steps_to(best.final.mean), next(iter(best.curves.values()))[-1][0]
    return total / steps if steps else None


def study_json(groups: list[Group]) -> dict[str, Any]:
    """All groups as JSON."""
    return {
        "groups": [
            {
                "parametrization": group.parametrization,
                "correction": group.correction,
                "optimizer": group.setting[0],
                "activation": group.setting[1],
                "norm": group.setting[2],
                "learning_rate": group.learning_rate,
                "final_loss": {seed: curve[-1][1] for seed, curve in group.curves.items()},
                "metric": {seed: list(values) for seed, values in group.metrics.items()},
                "speedup": speedup(group, groups),
                "curves": {seed: [list(point) for point in curve] for seed, curve in group.curves.items()},
                "diverged": group.diverged,
                "runs": group.runs,
            }
            for group in groups
        ]
    }
