"""Evaluations that several runs share: a store in which layers of one function are found together."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.runs.store import Key, Outcome, Store
from evonas.search.outcome import Evaluation, Rejection


class EvaluationCache:
    """An open cache; ``close`` it. Several processes may read and write at once.

    Evaluations lie under a context, that is, a digest of everything that decides what an evaluation gives.

    Args:
        path: the file; made if missing.

    Raises:
        InputError: the file cannot be made or used, here and later.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._store = Store.open(path)
        except InputError as error:
            raise error.at("execution.cache") from None

    def find(self, context: str, genome: Genome, fingerprint: str) -> list[Evaluation]:
        """What is known of layers of one function, with the layer's own key; its own and the longest come first."""
        found = [_loaded(outcome) for _, outcome in self._store.family(f"{context}/{fingerprint}")]
        found.sort(key=lambda known: (known[0].key != genome.key, -known[0].steps, known[1]))
        return [replace(evaluation, key=genome.key) for evaluation, _ in found]

    def store(self, context: str, fingerprint: str, evaluation: Evaluation, *, stopped: bool) -> None:
        """Keep an evaluation beside shorter and longer ones; ``stopped`` if the layer could have gone on."""
        spec = json.dumps([context, evaluation.key, evaluation.steps, stopped])
        value = {"evaluation": asdict(evaluation), "stopped": stopped}
        self._store.record(Key(spec, family=f"{context}/{fingerprint}"), Outcome(value))

    def close(self) -> None:
        """Close the file."""
        self._store.close()


def _loaded(outcome: Outcome) -> tuple[Evaluation, bool]:
    assert outcome.value is not None
    data: dict[str, Any] = dict(outcome.value["evaluation"])
    for name in ("traces", "rungs"):
        data[name] = {task: tuple((step, value) for step, value in points) for task, points in data[name].items()}
    rejection = data.pop("rejection")
    evaluation = Evaluation(**data, rejection=Rejection(**rejection) if rejection else None)
    return evaluation, bool(outcome.value["stopped"])
