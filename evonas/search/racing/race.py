"""Racing: while a search runs, its best layers are measured again, in rounds of their own conditions.

A round is a fixed condition, the same for all layers: its networks, its training and a seed that is no other round's.
Which layer is measured next follows from the results told so far (asynchronous successive halving): one that is among
the best 1 / reduction of those that finished a round, by posterior mean, goes on to the next round; where nobody does,
the best layer that was not measured again yet enters the first round, as long as it is among the share ``elites`` of
all layers. Nobody is waited for. Relatives (``Genome.family``) are one layer: its score in the search is the mean of
theirs, and the best of them is measured.

Source: Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning" (arXiv 1810.05934), algorithm 1. There,
more resources are given from rung to rung; here, further independent measurements.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Self

from evonas.config import RacingConfig, SearchConfig
from evonas.search.outcome import Evaluation
from evonas.search.racing.posterior import Posterior, Reference, posteriors


@dataclass(slots=True)
class _Layer:
    """A layer of the race: relatives, by candidate, with their scores in the search."""

    found: dict[int, float] = field(default_factory=dict)
    runner: int | None = None  # the candidate that is measured for all of them
    scores: dict[int, float] = field(default_factory=dict)  # by round
    failed: bool = False

    @property
    def first(self) -> int:
        return min(self.found)

    @property
    def best(self) -> int:
        return min(self.found, key=lambda index: (-self.found[index], index))


class Race:
    """Which layer is measured next in which round, and what is believed of every scored layer.

    Args:
        settings: the ``[racing]`` section.
        reference: score in the search of the baseline that is measured once in every round; None without one.
    """

    def __init__(self, settings: RacingConfig | None = None, reference: float | None = None) -> None:
        self._settings, self._reference = settings or RacingConfig(), reference
        self._layers: defaultdict[str, _Layer] = defaultdict(_Layer)
        self._family: dict[int, str] = {}
        self._asked: defaultdict[int, set[str]] = defaultdict(set)  # families by round
        self._finished: defaultdict[int, list[str]] = defaultdict(list)
        self._references: dict[int, float | None] = {}  # by round, None until told
        self._beliefs: dict[str, Posterior] | None = None

    @classmethod
    def recorded(
        cls,
        baselines: Iterable[Evaluation],
        found: Iterable[tuple[int, str, float]],
        measured: Iterable[tuple[int, int | None, Evaluation]],
    ) -> Self:
        """The race that an archive holds: what is believed, not what is to be measured next.

        Args:
            baselines: in the order of the configuration; the first that was trained to the end is the reference.
            found: index, family and score of scored candidates.
            measured: round, candidate (None: the reference) and evaluation of measurements, in their order.
        """
        race = cls(reference=next((evaluation.mean for evaluation in baselines if evaluation.mean is not None), None))
        for candidate, family, score in found:
            race.found(candidate, family, score)
        for round_, index, evaluation in measured:
            race.ask(round_, index)
            race.tell(round_, index, evaluation.mean)
        return race

    def found(self, candidate: int, family: str, score: float) -> None:
        """Take the score of a candidate in the search."""
        self._family[candidate] = family
        self._layers[family].found[candidate] = score
        self._beliefs = None

    def next(self, position: int) -> tuple[int, int | None] | None:
        """The round and the candidate (None: the reference) that are measured at a position in the order of asking.

        None if a new candidate is to be drawn there.
        """
        if not self._settings.every or (position + 1) % self._settings.every:
            return None
        for round_ in sorted(self._finished, reverse=True):
            through = int(len(self._finished[round_]) / self._settings.reduction)
            for family in self._ranked(self._finished[round_])[:through]:
                if family not in self._asked[round_ + 1]:
                    return self._in_round(round_ + 1, family)
        for family in self._ranked(self._layers)[: int(self._settings.elites * len(self._layers))]:
            if family not in self._asked[1]:
                return self._in_round(1, family)
        return None

    def ask(self, round_: int, candidate: int | None) -> None:
        """Note that a candidate, or the reference, is measured in a round."""
        if candidate is None:
            self._references[round_] = None
            return
        family = self._family[candidate]
        self._layers[family].runner = candidate
        self._asked[round_].add(family)

    def tell(self, round_: int, candidate: int | None, score: float | None) -> None:
        """Take the score of a candidate, or of the reference, in a round; None where it was not trained to the end."""
        self._beliefs = None
        if candidate is None:
            self._references[round_] = score
            return
        family = self._family[candidate]
        layer = self._layers[family]
        if score is None:
            layer.failed = True
        else:
            layer.scores[round_] = score
        self._finished[round_].append(family)

    def beliefs(self) -> dict[int, Posterior]:
        """What is believed of every scored candidate, by its index; relatives share it."""
        by_family = self._by_family()
        return {index: by_family[family] for index, family in self._family.items()}

    def levels(self) -> dict[int, float]:
        """The posterior mean of every scored candidate, by its index."""
        return {index: belief.mean for index, belief in self.beliefs().items()}

    def order(self) -> list[int]:
        """The scored candidates, best first; relatives beside each other, the one that was measured before them."""
        beliefs = self.beliefs()

        def key(index: int) -> tuple[bool, float, int, bool, float, int]:
            layer, belief = self._layers[self._family[index]], beliefs[index]
            return belief.failed, -belief.mean, layer.first, index != layer.runner, -layer.found[index], index

        return sorted(self._family, key=key)

    def _in_round(self, round_: int, family: str) -> tuple[int, int | None]:
        if self._reference is not None and round_ not in self._references:
            return round_, None  # the layer is measured at the next position
        layer = self._layers[family]
        return round_, layer.best if layer.runner is None else layer.runner

    def _ranked(self, families: Mapping[str, _Layer] | list[str]) -> list[str]:
        """Those that did not fail, best first; the one that was found first among equals."""
        beliefs = self._by_family()
        sound = (family for family in families if not self._layers[family].failed)
        return sorted(sound, key=lambda family: (-beliefs[family].mean, self._layers[family].first))

    def _by_family(self) -> dict[str, Posterior]:
        if self._beliefs is None:
            self._beliefs = self._computed()
        return self._beliefs

    def _computed(self) -> dict[str, Posterior]:
        found = {family: fmean(layer.found.values()) for family, layer in self._layers.items()}
        scores = {family: layer.scores for family, layer in self._layers.items() if not layer.failed}
        known = {round_: score for round_, score in self._references.items() if score is not None}
        reference = Reference(self._reference, known) if self._reference is not None else None
        beliefs = posteriors(found, scores, reference)
        for family, layer in self._layers.items():
            if layer.failed:
                tried = 2 + len(layer.scores)
                beliefs[family] = Posterior(min(found.values()), 0.0, tried, failed=True)
        return beliefs


def conditions_text(config: SearchConfig, round_: int) -> str:
    """The conditions of a round as JSON: what differs from the settings of the search, and the seed."""
    settings = config.in_round(round_)
    training = settings.training.model_dump(mode="json")
    of_search = config.training.model_dump(mode="json")
    conditions = {
        "seed": settings.seed,
        "tasks": [task.label for task in settings.tasks],
        "training": {key: value for key, value in training.items() if value != of_search.get(key)},
    }
    return json.dumps(conditions)
