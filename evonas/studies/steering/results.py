"""Results of a study: score and cost of each method over its strengths, and its score at a stated cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from statistics import fmean
from typing import Any

from evonas.report.statistics import Summary, finite, finite_summary, summary
from evonas.report.table import grouped
from evonas.runs.store import Outcome
from evonas.studies.steering.study import DISTANCES, NONE, SteeringCell, SteeringJob, SteeringMeasurement


@dataclass(frozen=True, slots=True)
class StrengthPoint:
    """One point of a curve: the strength, the concept's score, and the cost, such as a perplexity on neutral text."""

    strength: float
    score: float
    cost: float


@dataclass(frozen=True, slots=True)
class AtPerplexityCost:
    """A curve at a stated rise of the cost.

    Attributes:
        strength: where the rise is reached for the first time.
        score: there; between two measured strengths, on the line through them.
        reached: False if no measured strength costs as much: then they are those of the largest one.
    """

    strength: float
    score: float
    reached: bool


def at_rise(curve: Sequence[StrengthPoint], rise: float) -> AtPerplexityCost:
    """The first place on a curve where the cost is (1 + rise) times that of its first point.

    Going up in strength, between the last point before the cost exceeds that and the first point after, score and
    cost count as linear in strength. Where the cost jumps beyond numbers, it is the last point before.

    Args:
        curve: by strength, ascending, the first at strength 0.
        rise: 0.1 is a tenth.
    """
    bound = (1 + rise) * curve[0].cost
    before = curve[0]
    for point in curve[1:]:
        if point.cost > bound:
            if not isfinite(point.cost):
                return AtPerplexityCost(before.strength, before.score, True)
            part = (bound - before.cost) / (point.cost - before.cost)
            strength = before.strength + part * (point.strength - before.strength)
            return AtPerplexityCost(strength, before.score + part * (point.score - before.score), True)
        before = point
    return AtPerplexityCost(before.strength, before.score, False)


def label_of(method: str, sparsity: float, neurons: float) -> str:
    """The name of a variant in legends."""
    return method + (f", gamma {sparsity:g}" if sparsity else "") + (f" {100 * neurons:g} %" if neurons < 1 else "")


@dataclass(frozen=True, slots=True)
class MethodCurves:
    """One method with one sparsity and one share of neurons on one task.

    Attributes:
        task: what the model is steered to.
        method: what it is called; ``none`` is the untouched model.
        sparsity: gamma.
        neurons: share of all neurons that could be steered.
        curves: by seed, those of which every strength was measured: points by ascending strength, the first of the
            untouched model.
        shares: by seed, share of neurons that are steered.
        distances: by seed, how far steered samples are from the target, over how far they were: of fitted and of fresh
            ones, where that was measured.
        failures: by seed, why one has no curve.
    """

    task: str
    method: str
    sparsity: float
    neurons: float
    curves: Mapping[int, tuple[StrengthPoint, ...]]
    shares: Mapping[int, float]
    failures: Mapping[int, str]
    distances: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Its name in legends."""
        return label_of(self.method, self.sparsity, self.neurons)

    @property
    def share(self) -> Summary | None:
        """Share of steered neurons over seeds."""
        return finite_summary(self.shares.values())

    @property
    def strengths(self) -> tuple[float, ...]:
        """The strengths that were measured; 0 is the untouched model."""
        return tuple(point.strength for point in next(iter(self.curves.values()), ()))

    def over_seeds(self, strength: float) -> tuple[Summary, Summary] | None:
        """Score, and cost over that of the untouched model less 1, at a measured strength; None if not all finite."""
        pairs = [(point, curve[0]) for curve in self.curves.values() for point in curve if point.strength == strength]
        if not pairs or not all(isfinite(point.cost) for point, _ in pairs):
            return None
        scores, rises = [point.score for point, _ in pairs], [point.cost / first.cost - 1 for point, first in pairs]
        return summary(scores), summary(rises)

    def at_rise(self, rise: float) -> dict[int, AtPerplexityCost]:
        """For each seed, the place on its curve that ``at_rise`` finds."""
        return {seed: at_rise(curve, rise) for seed, curve in self.curves.items()}


def method_curves(
    measurements: Mapping[SteeringCell, SteeringMeasurement], outcomes: Mapping[SteeringJob, Outcome]
) -> list[MethodCurves]:
    """The curves of each method and variant, in the order of the file, the untouched model first in each task."""
    found = []
    for variant, cells in grouped(measurements, lambda cell: cell.variant).items():
        curves: dict[int, tuple[StrengthPoint, ...]] = {}
        failures: dict[int, str] = {}
        shares: dict[int, float] = {}
        distances: dict[int, tuple[float, float]] = {}
        for seed, own in grouped(cells, lambda cell: cell.seed).items():
            maps = measurements[own[0]].maps
            if maps is not None and (fitted := outcomes[maps].value) is not None:
                shares[seed] = float(fitted["share"])
                if DISTANCES[0] in fitted:
                    distances[seed] = (float(fitted[DISTANCES[0]]), float(fitted[DISTANCES[1]]))
            untouched = SteeringCell(task=variant[0], method=NONE, strength=0.0, seed=seed)
            measured = {cell.strength: outcomes[measurements[cell]] for cell in (untouched, *own)}
            if lost := next((outcome.failure for outcome in measured.values() if outcome.failure), ""):
                failures[seed] = lost
            else:
                curves[seed] = tuple(_point(strength, outcome) for strength, outcome in measured.items())
        found.append(MethodCurves(*variant, curves, shares, failures, distances))
    return found


def steering_json(groups: Sequence[MethodCurves], rises: Sequence[float]) -> dict[str, Any]:
    """All groups as JSON; a cost beyond numbers is null."""
    return {
        "groups": [
            {
                "task": group.task,
                "method": group.method,
                "sparsity": group.sparsity,
                "neurons": group.neurons,
                "share": dict(group.shares),
                **({"distances": dict(group.distances)} if group.distances else {}),
                "curves": {
                    seed: [asdict(p) | {"cost": finite(p.cost)} for p in curve] for seed, curve in group.curves.items()
                },
                "at_rise": {f"{rise:g}": _matched_json(group.at_rise(rise)) for rise in rises if group.curves},
                "failures": dict(group.failures),
            }
            for group in groups
        ]
    }


def _matched_json(found: Mapping[int, AtPerplexityCost]) -> dict[str, Any]:
    scores = summary([each.score for each in found.values()])
    return {
        "score": {"mean": scores.mean, "std": scores.std},
        "strength": fmean(each.strength for each in found.values()),
        "seeds": {seed: asdict(each) for seed, each in found.items()},
    }


def _point(strength: float, outcome: Outcome) -> StrengthPoint:
    assert outcome.value is not None
    cost = outcome.value["cost"]
    return StrengthPoint(strength, float(outcome.value["score"]), inf if cost is None else float(cost))
