"""A certificate: gains of a layer over a baseline with intervals, the laws they follow, and all numbers as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evonas.compare.certificate.ladder import Ladder, Place
from evonas.compare.certificate.measure import Measured
from evonas.compare.comparison import Contender
from evonas.config import CertificateConfig
from evonas.report.law import Law, Spread, fit_law, pooled_spread
from evonas.report.statistics import LEVEL, Interval, finite

FORMAT = "evonas certificate 1"
POINTS = 100.0  # of a score of 1


@dataclass(frozen=True, slots=True)
class Gain:
    """A layer's score minus the baseline's at a point, in points: hundredths of the score.

    Attributes:
        place: the point.
        by_seed: the differences, each between trainings with the same initial weights and batches.
        interval: of their mean, at the ordinary level.
        joint: of their mean, at the level at which all intervals of the report hold together.
        failed: of how many seeds the layer, and of how many the baseline, has no score.
    """

    place: Place
    by_seed: Mapping[int, float]
    interval: Interval | None
    joint: Interval | None
    failed: tuple[int, int]

    @property
    def complete(self) -> bool:
        """Whether no training failed: a mean over those that did not would flatter whoever failed."""
        return self.failed == (0, 0)

    @property
    def sign(self) -> int:
        """1 or -1 if all trainings ended well and the joint interval says better or worse; 0 otherwise."""
        return self.joint.sign if self.joint and self.complete else 0


@dataclass(frozen=True, slots=True)
class NetworkGains:
    """What was found on one network.

    Attributes:
        network: its name.
        spread: the variance of one difference, pooled over the network's points.
        gains: by point.
        laws: by axis, through the points at which no training failed, with intervals at the joint level. None where
            less than two sizes are left.
    """

    network: str
    spread: Spread
    gains: Mapping[Place, Gain]
    laws: Mapping[str, Law | None]


@dataclass(frozen=True, slots=True)
class Against:
    """A layer against a baseline, on all networks."""

    layer: str
    baseline: str
    networks: tuple[NetworkGains, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """All that one run of ``evonas certify`` found.

    Attributes:
        settings: of the run.
        ladder: the points.
        contenders: the layers and the baselines.
        measured: the trainings.
        parameters: of the networks as they come, by the first point that has them.
        against: each layer against each baseline.
        intervals: how many intervals the claims go by: one for each gain, and two for each law, of its slope and of the
            size at which the sign turns.
    """

    settings: CertificateConfig
    ladder: Ladder
    contenders: tuple[Contender, ...]
    measured: Measured
    parameters: Mapping[Place, int]
    against: tuple[Against, ...]
    intervals: int

    @property
    def joint_level(self) -> float:
        """The level of each interval at which all of them hold together (Bonferroni)."""
        return joint_level(self.intervals)

    @property
    def seconds(self) -> float:
        """What all trainings took."""
        return sum(found.seconds for found in self.measured.values())

    def as_json(self) -> dict[str, Any]:
        """Everything, in the format that ``docs/certify.md`` describes."""
        sections = {"seed", "layer", "data", "text", "training", "tasks", "ladder"}
        return {
            "format": FORMAT,
            "settings": self.settings.model_dump(mode="json", include=sections),
            "level": LEVEL,
            "intervals": self.intervals,
            "joint_level": self.joint_level,
            "layers": {each.name: _layer_json(each) for each in self.contenders},
            "measurements": [
                {"layer": name, **_place_json(place), **found.as_json()}
                for (name, place), found in self.measured.items()
            ],
            "certificates": [self._against_json(each) for each in self.against],
        }

    def _against_json(self, against: Against) -> dict[str, Any]:
        return {
            "layer": against.layer,
            "against": against.baseline,
            "networks": [
                {
                    "network": each.network,
                    "standard_deviation": each.spread.variance**0.5,
                    "degrees_of_freedom": each.spread.freedom,
                    "gains": [_gain_json(gain) for gain in each.gains.values()],
                    "laws": [_law_json(axis, law) for axis, law in each.laws.items() if law],
                }
                for each in against.networks
            ],
        }


def joint_level(intervals: int) -> float:
    """The level of each of so many intervals at which all hold together with at least ``LEVEL`` (Bonferroni)."""
    return 1 - (1 - LEVEL) / max(1, intervals)


def certify(
    settings: CertificateConfig,
    ladder: Ladder,
    contenders: Sequence[Contender],
    measured: Measured,
    parameters: Mapping[Place, int],
) -> Certificate:
    """Gains, intervals and laws from the trainings."""
    layers = [each.name for each in contenders if each.ranked]
    baselines = [each.name for each in contenders if each.baseline]
    pairs = [(layer, baseline) for layer in layers for baseline in baselines if layer != baseline]
    laws = sum(len(ladder.axes(network)) for network in ladder.networks)
    intervals = len(pairs) * (len(ladder.points) + 2 * laws)
    level = joint_level(intervals)
    against = tuple(
        Against(
            layer,
            baseline,
            tuple(_on_network(network, ladder, measured, layer, baseline, level) for network in ladder.networks),
        )
        for layer, baseline in pairs
    )
    return Certificate(settings, ladder, tuple(contenders), measured, parameters, against, intervals)


def _on_network(
    network: str, ladder: Ladder, measured: Measured, layer: str, baseline: str, level: float
) -> NetworkGains:
    places = [place for place in ladder.points if place.network == network]
    differences: dict[Place, dict[int, float]] = {}
    for place in places:
        own, other = measured[layer, place].scores, measured[baseline, place].scores
        differences[place] = {seed: POINTS * (own[seed] - other[seed]) for seed in own if seed in other}
    spread = pooled_spread([list(found.values()) for found in differences.values()])
    gains = {}
    for place, found in differences.items():
        values = list(found.values())
        gains[place] = Gain(
            place,
            found,
            spread.interval(values) if values else None,
            spread.interval(values, level) if values else None,
            (len(measured[layer, place].failures), len(measured[baseline, place].failures)),
        )
    laws = {
        axis.name: fit_law(
            {
                size: list(differences[place].values())
                for size, place in ladder.along(network, axis.name).items()
                if gains[place].complete
            },
            ladder.bases[axis.name],
            spread,
            level,
        )
        for axis in ladder.axes(network)
    }
    return NetworkGains(network, spread, gains, laws)


def _layer_json(each: Contender) -> dict[str, Any]:
    genome = each.genome.active()
    return {"key": each.genome.key, "formula": genome.formula(), "text": genome.to_text(), "baseline": each.baseline}


def _place_json(place: Place) -> dict[str, Any]:
    return {"network": place.network, "axis": place.axis or None, "size": place.size if place.axis else None}


def _gain_json(gain: Gain) -> dict[str, Any]:
    return {
        "axis": gain.place.axis or None,
        "size": gain.place.size if gain.place.axis else None,
        "by_seed": dict(gain.by_seed),
        "gain": gain.interval and asdict(gain.interval),
        "joint": gain.joint and asdict(gain.joint),
        "verdict": {1: "better", 0: "not shown", -1: "worse"}[gain.sign],
        "failed": {"layer": gain.failed[0], "baseline": gain.failed[1]},
    }


def _law_json(axis: str, law: Law) -> dict[str, Any]:
    turn = law.turn
    return {
        "axis": axis,
        "base": law.base,
        "smallest": law.smallest,
        "largest": law.largest,
        "at_base": asdict(law.at_base),
        "slope": asdict(law.slope),
        "better_than_constant": law.better_than_constant,
        "misfit": law.misfit,
        "turn": turn
        and {
            "size": finite(turn.size),
            "low": None if turn.low is None else finite(turn.low),
            "high": None if turn.high is None else finite(turn.high),
            "measured": law.measured(turn.size),
        },
    }
