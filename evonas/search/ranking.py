"""From a run to what people take away: ranked layers, exported modules and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.runs.folder import RunFolder
from evonas.search.archive import Archive
from evonas.search.individual import FULL, Individual
from evonas.search.outcome import Evaluation
from evonas.search.selection import pareto_front


@dataclass(frozen=True, slots=True)
class Entry:
    """A layer in a ranking.

    Attributes:
        rank: 1 for the best mean; 0 for a baseline.
        name: ``#1``, or the baseline's catalogue name.
        genome: the layer, inactive nodes removed.
        evaluation: its scores, or why it has none.
        candidate: index of the candidate in the run; None for a baseline.
    """

    rank: int
    name: str
    genome: Genome
    evaluation: Evaluation
    candidate: int | None = None

    def as_json(self) -> dict[str, Any]:
        """What ``--json`` prints of it."""
        return {
            "rank": self.rank,
            "name": self.name,
            "candidate": self.candidate,
            **describe(self.genome),
            "objectives": dict(self.evaluation.objectives),
            "mean": self.evaluation.mean,
            "extras": dict(self.evaluation.extras),
        }


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
    """The scored layers of a run by mean objective, best first; earlier candidates first among equals."""
    with Archive.open(run.require().archive_file, read_only=True) as archive:
        scored = [(c, e) for c, e in archive.records() if e.objectives]
    scored.sort(key=lambda pair: (-(pair[1].mean or 0.0), pair[0].index))
    return [
        Entry(rank, f"#{rank}", candidate.genome.active(), evaluation, candidate.index)
        for rank, (candidate, evaluation) in enumerate(scored[:count], 1)
    ]


def undominated(entries: Sequence[Entry]) -> list[Entry]:
    """The entries nobody among them dominates on all recorded objectives, accuracies and extras; ranks are kept."""
    individuals = [
        Individual.of(number, e.genome, e.evaluation.objectives, FULL, e.evaluation.extras)
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
