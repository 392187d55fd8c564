"""How well a guide predicted: predictions held against what the layers came to, as TensorBoard shows it."""

from dataclasses import dataclass, field

from evonas.search.guide.levels import Level, level_of, rarity
from evonas.search.outcome import Candidate, Evaluation

LATEST = 100  # guided candidates over which the rank correlation is taken
FEWEST = 10


@dataclass
class Fidelity:
    """Collects results, those of candidates that no guide chose included: all of them say how rare a level is."""

    _levels: list[Level] = field(default_factory=list)
    _expected: dict[int, float] = field(default_factory=dict)  # predicted means, by place in the levels
    _due: int = 0  # results from which on the correlation is taken anew
    _latest: float | None = None

    def tell(self, candidate: Candidate, evaluation: Evaluation) -> None:
        """Take the result of a candidate."""
        if candidate.prediction is not None:
            self._expected[len(self._levels)] = candidate.prediction.mean
        self._levels.append(level_of(evaluation))

    @property
    def points(self) -> list[tuple[float, float]]:
        """What was predicted and what was measured of each guided candidate; both are -ln of the share better."""
        measured = rarity(self._levels)
        return [(expected, measured[place]) for place, expected in self._expected.items()]

    @property
    def correlation(self) -> float | None:
        """Spearman's rank correlation over the latest guided candidates; None if they are too few or all alike.

        It is taken anew once there are half a percent more results: every time, all of them are ranked.
        """
        if len(self._levels) >= self._due:
            self._due = len(self._levels) + 1 + len(self._levels) // 200
            self._latest = self._correlation()
        return self._latest

    def _correlation(self) -> float | None:
        latest = self.points[-LATEST:]
        if len(latest) < FEWEST or any(len({*side}) == 1 for side in zip(*latest, strict=True)):
            return None
        from scipy.stats import spearmanr

        return float(spearmanr(*zip(*latest, strict=True)).statistic)
