"""From a run to what people take away: ranked layers, exported modules and pictures."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.registry import LOAD, UnknownNameError
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.individual import FULL_TRAINING, Individual
from evonas.search.outcome import Evaluation
from evonas.search.racing.posterior import Posterior
from evonas.search.racing.race import Race
from evonas.search.racing.shrinkage import Found, Shrinkage, shrinkage


@dataclass(frozen=True, slots=True, repr=False)
class Entry:
    """A layer in a ranking.

    Attributes:
        rank: 1 for the best mean; 0 for a baseline.
        name: ``#1``, or the baseline's catalogue name.
        layer: the layer, inactive nodes removed; or its text, where an extension that it needs is not loaded.
        evaluation: its scores, or why it has none.
        candidate: index of the candidate in the run; None for a baseline.
        posterior: what is believed of it, where the search measured its best layers again.
    """

    rank: int
    name: str
    layer: "Genome | UnreadLayer"
    evaluation: Evaluation
    candidate: int | None = None
    posterior: Posterior | None = None

    def __repr__(self) -> str:
        mean = self.evaluation.mean
        believed = f", posterior {self.posterior}" if self.posterior else ""
        return f"Entry({self.name}, {self.formula!r}, mean {'-' if mean is None else f'{mean:.4f}'}{believed})"

    def _repr_html_(self) -> str:
        scores = self.scores_text
        drawn = "" if isinstance(self.layer, UnreadLayer) else self.layer._repr_html_()
        return f"<p>{html.escape(f'{self.name}: {scores}')}</p>" + (drawn or f"<p>{html.escape(self.formula)}</p>")

    @property
    def score(self) -> float | None:
        """What layers are ranked by: the posterior mean where there is one, else the mean over tasks."""
        return self.posterior.mean if self.posterior else self.evaluation.mean

    @property
    def scores_text(self) -> str:
        """Scores by task, and what is believed after further measurements, for people."""
        believed = f"; posterior mean {self.posterior}" if self.posterior else ""
        return scores_text(self.evaluation) + believed

    @property
    def genome(self) -> Genome:
        """The layer.

        Raises:
            InputError: an extension that it needs is not loaded.
        """
        if isinstance(self.layer, UnreadLayer):
            raise self.layer.error
        return self.layer

    @property
    def formula(self) -> str:
        """Of the layer, or its text where an extension that it needs is not loaded."""
        return self.layer.text if isinstance(self.layer, UnreadLayer) else self.layer.formula()

    @property
    def nodes(self) -> int | None:
        """How many nodes its graph has, inputs and parameters counted; None where the layer cannot be read."""
        return None if isinstance(self.layer, UnreadLayer) else len(self.layer.active_positions)

    @property
    def group(self) -> str:
        """Equal for relatives, see ``Genome.family``; a layer that cannot be read has none."""
        return _family(self.layer, self.evaluation)

    @property
    def missing(self) -> str:
        """What has to be loaded to read the layer; empty if nothing."""
        return f"{self.layer.error.found}; {self.layer.error.remedy}" if isinstance(self.layer, UnreadLayer) else ""

    def as_json(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {
            "rank": self.rank,
            "name": self.name,
            "candidate": self.candidate,
            **self._description(),
            "nodes": self.nodes,
            "group": self.group,
            "objectives": dict(self.evaluation.objectives),
            "mean": self.evaluation.mean,
            "extras": dict(self.evaluation.extras),
            "rates": dict(self.evaluation.rates),
            "posterior": asdict(self.posterior) if self.posterior else None,
        }

    def _description(self) -> dict[str, str | None]:
        if isinstance(self.layer, UnreadLayer):
            unread = {"key": self.evaluation.key, "text": self.layer.text, "formula": None, "latex": None}
            return unread | {"missing": self.missing}
        return {**describe(self.layer)}


@dataclass(frozen=True, slots=True)
class Relatives:
    """Layers of a ranking that compute nearly the same.

    Attributes:
        best: the first of them.
        others: those behind it, in the order of the ranking.
    """

    best: Entry
    others: tuple[Entry, ...] = ()


def relatives(entries: Sequence[Entry]) -> list[Relatives]:
    """The entries put together by their groups, in the order of the best of each."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    return [Relatives(group[0], tuple(group[1:])) for group in groups.values()]


@dataclass(frozen=True, slots=True)
class UnreadLayer:
    """The text of a layer of a run, and why it cannot be read."""

    text: str
    error: InputError


def describe(genome: Genome) -> dict[str, str]:
    """Key, text and formulas of a genome."""
    active = genome.active()
    return {
        "key": genome.key,
        "text": active.to_text(),
        "formula": active.formula(),
        "latex": active.formula(latex=True),
    }


def ranking(run: RunFolder, count: int | None = None) -> list[Entry]:
    """The scored layers of a run, best first; earlier candidates first among equals.

    They go by their mean objective; by posterior mean, where the search measured its best layers again. Of relatives,
    which share what is believed of them, the one that was measured comes first.
    """
    with Archive.open(run.require().archive_file, read_only=True) as archive:
        scored, measured = archive.scored(), archive.race()
        known = archive.baselines().values() if measured else ()
    if not measured:
        scored.sort(key=lambda found: (-(found[2].mean or 0.0), found[0]))
        return [
            Entry(rank, f"#{rank}", _read(run, rank, text), evaluation, candidate)
            for rank, (candidate, text, evaluation) in enumerate(scored[:count], 1)
        ]
    layers = {candidate: _read(run, 0, text) for candidate, text, _ in scored}
    found = ((index, _family(layers[index], evaluation), evaluation.mean or 0.0) for index, _, evaluation in scored)
    race = Race.recorded(known, found, measured)
    beliefs, order = race.beliefs(), race.order()
    scores = {candidate: (text, evaluation) for candidate, text, evaluation in scored}
    return [
        Entry(rank, f"#{rank}", _read(run, rank, scores[index][0]), scores[index][1], index, beliefs[index])
        for rank, index in enumerate(order[:count], 1)
    ]


def shrinkage_of(entries: Sequence[Entry]) -> Shrinkage | None:
    """How much the best layers of a whole ranking fell, where they were measured again."""
    return shrinkage(
        [
            Found(entry.group, entry.evaluation.mean, entry.posterior)
            for entry in entries
            if entry.posterior is not None and entry.evaluation.mean is not None
        ]
    )


def _family(layer: "Genome | UnreadLayer", evaluation: Evaluation) -> str:
    """Equal for relatives; a layer that cannot be read has none."""
    return evaluation.key if isinstance(layer, UnreadLayer) else layer.family


def _read(run: RunFolder, rank: int, text: str) -> Genome | UnreadLayer:
    """A layer of a run; reading one imports nothing, so that what it needs may be missing."""
    try:
        return Genome.from_text(text).active()
    except UnknownNameError as error:
        names = run.config().extensions
        remedy = f"evonas {' '.join(f'--extension {name}' for name in names)} ..." if names else LOAD
        found = f"{error.found}, of an extension that is not loaded"
        return UnreadLayer(text, InputError(f"{run.path}#{rank}", found, remedy=f"load it: {remedy}"))


def undominated(entries: Sequence[Entry]) -> list[Entry]:
    """The entries nobody among them dominates on all recorded objectives, accuracies and extras; ranks are kept."""
    from evonas.search.selection import pareto_front  # DEAP's tools take long to import

    individuals = [
        Individual.of(number, e.genome, e.evaluation.objectives, FULL_TRAINING, e.evaluation.extras)
        for number, e in enumerate(entries)
    ]
    return [entries[individual.index] for individual in pareto_front(individuals)]


def baselines(run: RunFolder) -> list[Entry]:
    """The catalogue layers trained under the run's budget, best first."""
    with Archive.open(run.require().archive_file, read_only=True) as archive:
        entries = [Entry(0, name, CATALOGUE[name], e) for name, e in archive.baselines().items()]
    return sorted(entries, key=lambda entry: -(entry.evaluation.mean or 0.0))


def scores_text(evaluation: Evaluation) -> str:
    """Scores by task, for people."""
    return ", ".join(f"{task} {value:.4f}" for task, value in evaluation.objectives.items())
