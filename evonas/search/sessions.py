"""Candidates one by one in TensorBoard: where each stands, where it came from, its scores, its loss curves.

TensorBoard lists each as a run of its own, and ticks none of them if there are more than forty in all. So the best are
shown, the baselines to compare them with, and the latest that were rejected in training.
"""

import re
from collections.abc import Mapping, Sequence

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.report.board import Board, Columns, HParam
from evonas.search.lineage import Told, ended
from evonas.search.outcome import Evaluation

BEST, REJECTED = 16, 4
CANDIDATES, BASELINES = "candidates", "baselines"

BY_COST = "objective_by_core-seconds/mean"
_HPARAMS: Mapping[str, HParam] = {
    "ended at": "",
    "formula": "",
    "operator": "",
    "parent": 0,
    "rank": 0,
    "size in nodes": 0,
}

_OPERATION = re.compile(r"([a-z_]+)(?:\[\w+\])?\(")


def show_candidates(board: Board, ranked: Sequence[Told], rejected: Sequence[Told], tags: Sequence[str]) -> None:
    """Write a run for each of the best and of the latest rejected, in the place of those written before.

    Args:
        board: of the search.
        ranked: scored candidates, best first.
        rejected: those that were rejected when their training had begun, in order.
        tags: of the objectives.
    """
    board.clear(CANDIDATES)
    ranks = {each.index: rank for rank, each in enumerate(ranked, 1)}
    for each in (*ranked[:BEST], *rejected[-REJECTED:]):
        proposal = each.proposal
        origin: dict[str, HParam] = {"operator": _short(proposal.operator)}
        origin |= {"rank": ranks[each.index]} if each.index in ranks else {}
        origin |= {"parent": proposal.parent} if proposal.parent is not None else {}
        with board.fresh_part(f"{CANDIDATES}/{each.index:04}") as part:
            _write(part, proposal.genome, each.evaluation, origin, tags)
            part.scalars(objectives_of(each.evaluation), each.index)


def show_baselines(
    board: Board, baselines: Mapping[str, Evaluation], tags: Sequence[str], step: int, core_seconds: int
) -> None:
    """Write a run for each baseline, in the place of those written before, with its scores as level lines.

    Args:
        board: of the search.
        baselines: by name.
        tags: of the objectives.
        step: up to where the lines go by candidate.
        core_seconds: up to where they go by cost.
    """
    for name, evaluation in baselines.items():
        with board.fresh_part(f"{BASELINES}/{name}") as part:
            _write(part, CATALOGUE[name], evaluation, {"operator": "baseline"}, tags)
            for at in (0, step):
                part.scalars(objectives_of(evaluation), at)
            if evaluation.mean is not None:
                for at in (0, core_seconds):
                    part.scalar(BY_COST, evaluation.mean, at)


def objectives_of(evaluation: Evaluation) -> dict[str, float]:
    """The mean, every task's objective and the extras, by tag; nothing of a rejected layer."""
    mean = {} if evaluation.mean is None else {"mean": evaluation.mean}
    return {
        f"objective/{name}": value for name, value in {**mean, **evaluation.objectives, **evaluation.extras}.items()
    }


def _write(
    part: Board, genome: Genome, evaluation: Evaluation, origin: Mapping[str, HParam], tags: Sequence[str]
) -> None:
    """A session of the tab HPARAMS, whose metrics are the last values of curves, and the curves of its losses."""
    hparams: dict[str, HParam] = {
        **origin,
        "ended at": ended(evaluation),
        "formula": genome.active().formula(),
        "size in nodes": len(genome.active_positions),
    }
    scores = objectives_of(evaluation)
    part.hparams(hparams, scores, curves=list(scores), columns=Columns(_HPARAMS, tags))
    for task, points in evaluation.traces.items():
        for at, loss in points:
            part.scalar(f"loss/{task}", loss, at)


def _short(operator: str) -> str:
    """What a mutation did to a node, without the numbers of nodes, such as ``mul -> add``."""
    return " -> ".join(_OPERATION.findall(operator)) or operator
