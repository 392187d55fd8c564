"""Statistics of the candidates of a search: operators, families of relatives, and where proposals ended."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from evonas.graph.genome import Genome
from evonas.search.outcome import Candidate, Evaluation

STAGES = ("structure", "numerics", "equivalence", "propagation", "guide")  # before training, in their order
TRAINED = ("quality", "stability", "rungs", "training", "objectives", "execution", "resource")
FAMILIES = 15  # that are listed

_NODE = r"(\w[\w.]*(?:\[\w+])?)\(([\d, ]*)\)"
_CHANGE = re.compile(rf"node \d+: {_NODE} -> {_NODE}")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """A candidate of a search as a page shows it.

    Attributes:
        candidate: its index and where it comes from.
        evaluation: how it did.
        genome: its active nodes.
        formula: simplified.
        cost: core-seconds of all that was told until then, itself included.
    """

    candidate: Candidate
    evaluation: Evaluation
    genome: Genome
    formula: str
    cost: float

    @property
    def index(self) -> int:
        """The number of the candidate."""
        return self.candidate.index


def operator_kind(operator: str) -> str:
    """The sort of what gave rise to a layer, by what the archive says of it."""
    if change := _CHANGE.fullmatch(operator):
        before, old, after, new = change.groups()
        if before == after:
            return "mutation: the same node" if old == new else "mutation: other input"
        if before.partition("[")[0] == after.partition("[")[0]:
            return "mutation: other index set"
        return "mutation: other operation"
    if " of the donor " in operator:
        return "crossover: put after" if "put after" in operator else "crossover: in place of"
    if operator.startswith("proposed by "):
        return "proposed from outside"
    return {"random": "random", "initial": "start layer"}.get(operator, "other")


def operators(layers: Iterable[Layer]) -> list[Json]:
    """For each sort of operator how often it was tried and scored, and its gain over parents that have scores."""
    scores = {layer.index: layer.evaluation.mean for layer in layers}
    groups: defaultdict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        groups[operator_kind(layer.candidate.proposal.operator)].append(layer)
    rows = []
    for kind, members in groups.items():
        found = [score for layer in members if (score := layer.evaluation.mean) is not None]
        gains = [
            score - before
            for layer in members
            if (score := layer.evaluation.mean) is not None
            and (parent := layer.candidate.proposal.parent) is not None
            and (before := scores.get(parent)) is not None
        ]
        better = sum(gain > 0 for gain in gains)
        best = max(found, default=None)
        gain = fmean(gains) if gains else None
        row = {"kind": kind, "tried": len(members), "scored": len(found), "best": best, "gain": gain}
        rows.append(row | {"compared": len(gains), "better": better})
    return sorted(rows, key=lambda row: -row["tried"])


def families(scored: Sequence[Layer]) -> list[Json]:
    """Relatives among the scored layers: how many, and their best and mean score; those with the best layers."""
    groups: defaultdict[str, list[Layer]] = defaultdict(list)
    for layer in scored:
        groups[layer.genome.family].append(layer)
    rows: list[Json] = []
    for members in groups.values():
        scores = [layer.evaluation.mean or 0.0 for layer in members]
        best = members[scores.index(max(scores))]
        row = {"best": str(best.index), "formula": best.formula, "score": max(scores)}
        rows.append(row | {"mean": fmean(scores), "members": len(members)})
    return sorted(rows, key=lambda row: -row["score"])[:FAMILIES]


def funnel(rejections: Mapping[tuple[str, str], int], told: int, scored: int) -> list[Json]:
    """Stages in their order: how many proposals reached each, and why some ended there.

    All proposals that were drawn reach the first one; candidates, which were told, those of training.
    """
    by_stage: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (stage, reason), count in rejections.items():
        by_stage[stage][reason] += count
    own = [stage for stage in by_stage if stage not in (*STAGES, *TRAINED)]
    before = [stage for stage in (*STAGES[:2], *own, *STAGES[2:]) if stage in by_stage]
    reached, rows = told + sum(by_stage[stage].total() for stage in before), []
    for stage in (*before, *(stage for stage in TRAINED if stage in by_stage)):
        ended_here = by_stage[stage].total()
        rows.append({"stage": stage, "reached": reached, "ended": ended_here, "reasons": by_stage[stage].most_common()})
        reached -= ended_here
    return [*rows, {"stage": "scored", "reached": scored, "ended": 0, "reasons": []}]
