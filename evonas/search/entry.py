"""A layer in the ranking of a run, as people and programs get to see it."""

import html
from dataclasses import asdict, dataclass
from typing import Any

from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.search.outcome import Evaluation
from evonas.search.racing.posterior import Posterior


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
        return family_of(self.layer, self.evaluation)

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


def family_of(layer: "Genome | UnreadLayer", evaluation: Evaluation) -> str:
    """Equal for relatives; a layer that cannot be read has none."""
    return evaluation.key if isinstance(layer, UnreadLayer) else layer.family


def scores_text(evaluation: Evaluation) -> str:
    """Scores by task, for people."""
    return ", ".join(f"{task} {value:.4f}" for task, value in evaluation.objectives.items())
