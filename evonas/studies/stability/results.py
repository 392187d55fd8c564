"""Results of a study: for each intervention and size, losses over learning rates and what follows from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from evonas.errors import InputError
from evonas.report.statistics import Interval, finite, mean_points, t_interval
from evonas.report.table import grouped
from evonas.runs.store import Outcome
from evonas.studies.stability.prediction import HeldOut, hold_out
from evonas.studies.stability.settings import Decay
from evonas.studies.stability.study import StabilityCell
from evonas.training.sensitivity import (
    COUPLED_WINDOWS,
    Windows,
    coupled_lr_sensitivity,
    diverged,
    lr_sensitivity,
    reaches_over,
    stability_margin,
)

TRACKED = {  # probes that are predicted over sizes, by the names that tables use
    "max attention logit": "blocks.0.max_logit",
    "gradient RMS": "gradient_rms.blocks.0.mlp.up.weight",
}


@dataclass(frozen=True, slots=True)
class Sweep:
    """One intervention at one size.

    Attributes:
        intervention: its name.
        size: as the file calls it.
        parameters: N, without embedding and head.
        losses: final validation loss by seed and learning rate; NaN where it left the finite numbers.
        initial: validation loss at initialization, by seed.
        last: by learning rate and seed, what the probes read last.
        slow: runs that lost again what they had learned.
        spikes: steps with a spike, over all runs.
        failures: why runs have no outcome, by learning rate and seed.
        decay: how weights decay.
    """

    intervention: str
    size: str
    parameters: int
    losses: Mapping[int, Mapping[float, float]]
    initial: Mapping[int, float]
    last: Mapping[tuple[float, int], Mapping[str, float | None]]
    slow: int
    spikes: int
    failures: Mapping[tuple[float, int], str]
    decay: Decay = "independent"

    @property
    def rates(self) -> set[float]:
        """All learning rates."""
        return {rate for found in self.losses.values() for rate in found} | {rate for rate, _ in self.failures}

    @property
    def whole(self) -> list[int]:
        """The seeds with a loss at every learning rate."""
        return [seed for seed, found in self.losses.items() if found.keys() == self.rates]

    @property
    def windows(self) -> Windows:
        """The published windows of coupled decay, where the learning rates reach over them; else none."""
        return COUPLED_WINDOWS if self.decay == "coupled" and reaches_over(self.rates) else ()

    @property
    def sensitivities(self) -> dict[int, float]:
        """LR sensitivity by seed, by the published rule for coupled decay where it can be; NaN if nothing learned."""
        return self.sensitivities_over(self.windows)

    def sensitivities_over(self, windows: Windows) -> dict[int, float]:
        """LR sensitivity by seed: the least over the windows, or without windows over all learning rates."""
        if not windows:
            return {seed: lr_sensitivity(self.losses[seed], self.initial[seed]) for seed in self.whole}
        return {seed: coupled_lr_sensitivity(self.losses[seed], self.initial[seed], windows) for seed in self.whole}

    @property
    def margins(self) -> dict[int, float]:
        """Stability margin by seed; inf where no learning rate above the best one diverges."""
        return {seed: stability_margin(self.losses[seed], self.initial[seed]) for seed in self.whole}

    @property
    def best(self) -> dict[int, tuple[float, float]]:
        """Best learning rate and its loss by seed."""
        found: dict[int, tuple[float, float]] = {}
        for seed, losses in self.losses.items():
            finite = {rate: loss for rate, loss in losses.items() if math.isfinite(loss)}
            if finite:
                rate = min(finite, key=lambda r: (finite[r], r))
                found[seed] = (rate, finite[rate])
        return found

    @property
    def best_losses(self) -> dict[int, float]:
        """Loss at the best learning rate, by seed."""
        return {seed: loss for seed, (_, loss) in self.best.items()}

    @property
    def diverged(self) -> int:
        """Runs that ended worse than they began."""
        return sum(diverged(loss, self.initial[seed]) for seed, found in self.losses.items() for loss in found.values())

    def mean_losses(self) -> list[tuple[float, float, float]]:
        """By learning rate, mean and deviation over seeds of the losses clipped at that of initialization."""
        clipped = (
            [(rate, self.initial[seed] if diverged(loss, self.initial[seed]) else loss) for rate, loss in found.items()]
            for seed, found in self.losses.items()
        )
        return sorted(mean_points(clipped))

    def ends(self, name: str) -> dict[float, list[float]]:
        """What a probe read last under each seed, by learning rate, where every seed has a number."""
        by_rate = grouped(sorted(self.last), lambda place: place[0])
        read = {rate: [self.last[place].get(name) for place in places] for rate, places in by_rate.items()}
        return {rate: [v for v in values if v is not None] for rate, values in read.items() if None not in values}

    def final_values(self, name: str) -> dict[float, float]:
        """Geometric mean over seeds of a probe's last value, by learning rate, where every seed has one above 0."""
        return {rate: math.exp(fmean(map(math.log, v))) for rate, v in self.ends(name).items() if min(v) > 0}


def sweeps_of(outcomes: Mapping[StabilityCell, Outcome]) -> list[Sweep]:
    """The sweeps, in the order of the file."""
    groups = grouped(outcomes, lambda cell: (cell.intervention, cell.size))
    return [_sweep(*key, {cell: outcomes[cell] for cell in cells}) for key, cells in groups.items()]


def _sweep(intervention: str, size: str, outcomes: Mapping[StabilityCell, Outcome]) -> Sweep:
    losses: dict[int, dict[float, float]] = {}
    initial: dict[int, float] = {}
    last: dict[tuple[float, int], Mapping[str, float | None]] = {}
    failures: dict[tuple[float, int], str] = {}
    parameters = slow = spikes = 0
    for cell, outcome in outcomes.items():
        place, value = (cell.learning_rate, cell.seed), outcome.value
        if value is None:
            failures[place] = outcome.failure
            continue
        final = value["final_loss"]
        losses.setdefault(cell.seed, {})[cell.learning_rate] = math.nan if final is None else final
        initial[cell.seed], parameters = value["initial_loss"], value["size"]
        slow, spikes = slow + value["slow"], spikes + value["spikes"]
        if value["readings"]:
            last[place] = value["readings"][-1][1]
    decay = next(iter(outcomes)).decay
    return Sweep(intervention, size, parameters, losses, initial, last, slow, spikes, failures, decay)


def predict_largest(sweeps: Sequence[Sweep], intervention: str, name: str) -> dict[float, HeldOut]:
    """By learning rate: a probe's value at the largest size, predicted from the others where there are enough."""
    by_rate: dict[float, dict[float, float]] = {}
    for sweep in sweeps:
        if sweep.intervention == intervention:
            for rate, value in sweep.final_values(name).items():
                by_rate.setdefault(rate, {})[sweep.parameters] = value
    found: dict[float, HeldOut] = {}
    for rate, values in sorted(by_rate.items()):
        for degree in (2, 1):
            try:
                found[rate] = hold_out(values, degree)
            except InputError:
                continue
            break
    return found


@dataclass(frozen=True, slots=True)
class InterventionDifference:
    """An intervention minus the first one of the study at the same size, paired by seed.

    Attributes:
        intervention: its name.
        first: the name of the one it is compared with.
        size: as the file calls it.
        sensitivity: of the LR sensitivity; below 0 is less sensitive.
        best_loss: of the loss at the best learning rate.
    """

    intervention: str
    first: str
    size: str
    sensitivity: Interval
    best_loss: Interval


def differences_to_first(sweeps: Sequence[Sweep]) -> list[InterventionDifference]:
    """Differences to the first intervention, in the order of the sweeps, where both have a common whole seed.

    Beside coupled decay that is judged by its windows, the other one is judged over the last of them: the published
    window of everything else, which has as many learning rates.
    """
    firsts = {sweep.size: sweep for sweep in reversed(sweeps) if sweep.intervention == sweeps[0].intervention}
    found = []
    for sweep in sweeps:
        first = firsts.get(sweep.size)
        if first is None or first is sweep:
            continue
        seeds = [seed for seed in sweep.whole if seed in first.whole]
        mine, theirs = (
            one.sensitivities_over(one.windows or other.windows[-1:]) for one, other in ((sweep, first), (first, sweep))
        )
        gains = [mine[seed] - theirs[seed] for seed in seeds]
        best, other_best = sweep.best_losses, first.best_losses
        losses = [best[seed] - other_best[seed] for seed in seeds if seed in best and seed in other_best]
        if losses and all(map(math.isfinite, gains)):
            names = (sweep.intervention, first.intervention, sweep.size)
            found.append(InterventionDifference(*names, t_interval(gains), t_interval(losses)))
    return found


def sweeps_json(sweeps: Sequence[Sweep]) -> dict[str, Any]:
    """All of it as JSON; what is not finite is null."""
    return {
        "sweeps": [
            {
                "intervention": sweep.intervention,
                "size": sweep.size,
                "parameters": sweep.parameters,
                "initial_loss": dict(sweep.initial),
                "losses": {
                    seed: {f"{r:g}": finite(v) for r, v in found.items()} for seed, found in sweep.losses.items()
                },
                "lr_sensitivity_windows": [list(window) for window in sweep.windows],
                "lr_sensitivity": {seed: finite(value) for seed, value in sweep.sensitivities.items()},
                "stability_margin": {seed: finite(value) for seed, value in sweep.margins.items()},
                "best_learning_rate": {seed: rate for seed, (rate, _) in sweep.best.items()},
                "best_loss": sweep.best_losses,
                "diverged": sweep.diverged,
                "slow_divergences": sweep.slow,
                "spikes": sweep.spikes,
                "last_probes": {
                    name: {f"{rate:g}": value for rate, value in sweep.final_values(key).items()}
                    for name, key in TRACKED.items()
                },
                "failures": {f"{rate:g} seed {seed}": why for (rate, seed), why in sweep.failures.items()},
            }
            for sweep in sweeps
        ],
        "against_first": [asdict(found) for found in differences_to_first(sweeps)],
        "predictions": [
            {
                "intervention": intervention,
                "what": name,
                "learning_rate": rate,
                "parameters": held.prediction.size,
                "predicted": held.prediction.value,
                "low": held.prediction.low,
                "high": held.prediction.high,
                "measured": held.measured,
                "factor": held.factor,
                "doubts": [doubt.value for doubt in held.prediction.doubts],
            }
            for intervention in dict.fromkeys(sweep.intervention for sweep in sweeps)
            for name, key in TRACKED.items()
            for rate, held in predict_largest(sweeps, intervention, key).items()
        ],
    }
