"""Which of many layers is worth a training: extra trees on features of the layers that were evaluated.

Source: Geurts et al. 2006, extremely randomized trees; Hutter et al. 2011 (SMAC) chose configurations by the expected
improvement under the spread of a forest's trees. Features, targets and the treatment of rejected layers are ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evonas.graph.genome import Genome
from evonas.graph.references import Array
from evonas.search.guide.features import features
from evonas.search.guide.levels import Level, level_of, rarity
from evonas.search.individual import FULL_TRAINING
from evonas.search.outcome import Candidate, Evaluation, Prediction
from evonas.search.protocols import PROTOCOLS
from evonas.seeding import derive_seed

TREES = 100
Levels = Callable[[], Mapping[int, float]]

LATEST = 1000  # evaluated layers that the trees are fitted to, and as many rejected ones


@dataclass(frozen=True, slots=True)
class _Told:
    """An evaluated candidate, and what was rejected by the probe on the way to it."""

    genome: Genome
    level: Level
    failed: tuple[Genome, ...]


class Surrogate:
    """A guide: predicts how layers will do from what was told of others.

    It is fitted to the first n results, n being the greatest multiple of ``refit`` that were told, when a prediction is
    first asked for. So what it predicts is a function of the results alone, whenever they came. Layers that passed the
    screens and failed the slower probe (propagation) count as the worst, since a choice among layers that were not
    probed yet must know which of them will pass.

    Args:
        seed: of the trees.
        eps: of ``[layer]``.
        refit: results between two fits.
    """

    def __init__(self, seed: int, eps: float, refit: int) -> None:
        self._seed, self._eps, self._refit = derive_seed(seed, "guide") % 2**32, eps, refit
        self._told: list[_Told] = []
        self._believed: Mapping[int, float] = {}  # as of the last result that the next fit takes
        self._known: list[Array] = []  # features of what was told: of the candidate, then of what failed
        self._forest: _Forest | None = None

    @property
    def fitted_to(self) -> int:
        """How many results the next prediction is made from; without any there is none."""
        return len(self._told) // self._refit * self._refit

    def tell(self, candidate: Candidate, evaluation: Evaluation, levels: Levels = dict) -> None:
        """Take the result of the next candidate.

        Args:
            candidate: number n is told as the n-th.
            evaluation: its own.
            levels: the scores that are believed of candidates trained in full, by index, as after further
                measurements; where there are some, they stand in the place of the candidates' own.
        """
        failed = tuple(out.genome for out, why in candidate.screened_out if why.stage in _probing())
        self._told.append(_Told(candidate.genome, level_of(evaluation), failed))
        if len(self._told) == self.fitted_to:
            self._believed = dict(levels())

    def predict(self, genomes: Sequence[Genome]) -> list[Prediction]:
        """What is expected of each layer.

        Raises:
            RuntimeError: nothing was told that it could be fitted to.
        """
        if not self.fitted_to:
            raise RuntimeError(f"the surrogate predicts after {self._refit} results, {len(self._told)} were told")
        if self._forest is None or self._forest.results != self.fitted_to:
            self._forest = self._fit(self.fitted_to)
        return self._forest.predict(features(genomes, self._eps))

    def _fit(self, results: int) -> "_Forest":
        from sklearn.ensemble import ExtraTreesRegressor  # slow to import, and most searches have no guide

        levels = [told.level for told in self._told[:results]]
        for index, score in self._believed.items():
            levels[index] = Level(FULL_TRAINING, score)
        first = max(0, results - LATEST)
        for told in self._told[len(self._known) : results]:
            self._known.append(features((told.genome, *told.failed), self._eps))
        good, failed = ([rows[part] for rows in self._known[first:results]] for part in (np.s_[:1], np.s_[1:]))
        bad = np.concatenate(failed)[-LATEST:]
        targets = np.array(rarity(levels[first:]))
        trees = ExtraTreesRegressor(TREES, max_features=0.5, random_state=self._seed, n_jobs=1)
        trees.fit(np.concatenate([*good, bad]), np.concatenate([targets, np.zeros(len(bad))]))
        return _Forest(results, [tree.tree_ for tree in trees.estimators_], float(targets.max()))


@dataclass(frozen=True, slots=True)
class _Forest:
    """Trees fitted to so many results, and the greatest target, over which improvement is expected."""

    results: int
    trees: Sequence[Any]
    goal: float

    def predict(self, rows: Array) -> list[Prediction]:
        from scipy.stats import norm

        single = rows.astype(np.float32)  # what trees are grown on
        each = np.stack([tree.predict(single)[:, 0] for tree in self.trees])
        mean, deviation = each.mean(0), np.maximum(each.std(0), 1e-9)
        z = (mean - self.goal) / deviation
        improvement = deviation * (z * norm.cdf(z) + norm.pdf(z))
        return [Prediction(*map(float, values)) for values in zip(mean, deviation, improvement, strict=True)]


def _probing() -> frozenset[str]:
    """The stages that a layer comes to after its function was found to be new."""
    return frozenset({"propagation", *(p.name for p in PROTOCOLS.values() if p.after == "equivalence")})
