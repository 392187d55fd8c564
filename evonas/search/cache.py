"""Evaluations that several runs share: a store in which layers of one function are found together."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from evonas.errors import InputError
from evonas.graph.genome import Genome
from evonas.runs.log import LOGGER
from evonas.runs.store import Key, Outcome, Store
from evonas.search.outcome import Evaluation


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
        try:
            rows = self._store.family(f"{context}/{fingerprint}")
        except InputError as error:
            LOGGER.warning("the cache is damaged, and layers are trained as if it did not know them: %s", error)
            return []
        known = (_loaded(outcome) for _, outcome in rows)
        found = [each for each in known if each is not None]
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


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a row of a cache holds."""

    evaluation: Evaluation
    stopped: bool


_KEPT = TypeAdapter(_Kept)


def _loaded(outcome: Outcome) -> tuple[Evaluation, bool] | None:
    """A kept evaluation; None if the row is damaged: then the layer is trained, as if nothing were known of it."""
    try:
        kept = _KEPT.validate_python(outcome.value)
    except (ValidationError, RecursionError):
        return None
    return kept.evaluation, kept.stopped
