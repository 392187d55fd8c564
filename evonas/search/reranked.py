"""The order of a run's latest reranking, as ``evonas rerank`` left it in the folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evonas.errors import InputError
from evonas.limits import LARGEST_RECORD
from evonas.reading import parse_json, read_given
from evonas.runs.folder import RunFolder
from evonas.search.ranking import Entry, ranking


@dataclass(frozen=True, slots=True)
class Reranked:
    """A layer of a run in the order of its reranking.

    Attributes:
        rank: 1 for the best of the reranking.
        entry: the layer in the ranking of the search.
        objectives: its mean scores over the seeds of the reranking, by task.
        seeds: those of the reranking.
    """

    rank: int
    entry: Entry
    objectives: Mapping[str, float]
    seeds: tuple[int, ...]


def reranked(run: RunFolder) -> list[Reranked]:
    """The layers of the latest reranking, best first; none if the run has not been reranked.

    Layers are known by their candidates: a search that went on after the reranking may have given them other ranks.

    Raises:
        InputError: the file of the reranking cannot be read.
    """
    file = run.rerank_file
    if not file.exists():
        return []
    entries = {entry.candidate: entry for entry in ranking(run)}
    try:
        data = parse_json(read_given(file, largest=LARGEST_RECORD), str(file))
        found = [
            _of(layer, entries, tuple(data["seeds"])) for layer in data["layers"] if layer["candidate"] is not None
        ]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        found_there, remedy = "is not what evonas rerank writes", f"write it again: evonas rerank {run.path}"
        raise InputError(str(file), found_there, remedy=remedy) from None
    return sorted(found, key=lambda layer: layer.rank)


def _of(layer: Mapping[str, Any], entries: Mapping[int | None, Entry], seeds: tuple[int, ...]) -> Reranked:
    objectives = {task: float(scores["mean"]) for task, scores in layer["tasks"].items()}
    return Reranked(int(layer["rank"]), entries[layer["candidate"]], objectives, seeds)
