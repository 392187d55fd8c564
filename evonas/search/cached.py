"""Evaluations taken over from earlier runs, where training again would give the same.

A cached evaluation was trained under the hurdles of its own search. It answers for another search only as far as
training under that one's hurdles would have gone; ``cut`` decides it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evonas.config import SearchConfig
from evonas.extensions import load_extensions
from evonas.runs.provenance import code_digest, extension_digests, versions
from evonas.search.cache import EvaluationCache
from evonas.search.execution import EvaluationJob, Executor, Pending, Tick, no_tick
from evonas.search.outcome import OF_THE_MOMENT, Evaluation, Rejection
from evonas.search.protocols import fingerprint
from evonas.search.rungs import STAGE as RUNGS
from evonas.search.rungs import Hurdle, scores_at
from evonas.tasks.sources import digests_of
from evonas.training.device import chip, find_device

_ELSEWHERE: dict[str, Any] = {  # what decides which layers are trained and where, not what training gives
    "name": True,
    "extensions": True,  # what they say counts
    "baselines": True,
    "space": True,
    "evolution": True,
    "budget": True,
    "execution": True,
    "racing": True,
    "rerank": True,
    "data": {"path"},  # the images themselves count, and the text
    "text": {"path"},
    "protocols": {"screens", "numerics", "propagation"},
    "rungs": {"reduction", "reductions", "window"},
}


def context_of(config: SearchConfig) -> str:
    """A hash of everything an evaluation depends on but the layer, the hurdles and whether it is gated.

    Configuration, images, text, seed, device, threads, versions, the package's own code, and files of users' own tasks
    and extensions.
    """
    load_extensions(config.extensions)
    device = find_device(config.execution.device)
    everything = {
        "config": config.model_dump(mode="json", exclude=_ELSEWHERE),
        "place": [device.type, chip(device), config.execution.threads, config.execution.compile],
        "versions": dict(versions()),
        "data": [digests_of(task, config.data, config.text) for task in config.tasks],
        "code": code_digest("search"),
        "extensions": extension_digests(),
    }
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()


def cut(evaluation: Evaluation, hurdles: Sequence[Hurdle], gate: int, *, several: bool = False) -> Evaluation | None:
    """What training the layer again under these hurdles would give; None if the evaluation does not tell.

    It does not if the layer was stopped at a rung where, now, it would go on, be it only to the gate at this step. With
    several learning rates it also does not if the layer would now be stopped earlier: which rate was the best there,
    and how many were still trained, is not known.

    Args:
        evaluation: what is known.
        hurdles: what the layer must reach now, at every rung; or none if it is not gated.
        gate: steps after which the quality gate stands.
        several: whether there are several learning rates.
    """
    marks = sorted({0, gate, *(hurdle.steps for hurdle in hurdles)})
    for hurdle in sorted(hurdles, key=lambda hurdle: hurdle.steps):
        scores = scores_at(evaluation, hurdle.steps)
        reached = dict.fromkeys(hurdle.references, marks[marks.index(hurdle.steps) - 1])
        for task in hurdle.references:  # one after the other, as they are trained
            if task not in scores:
                return None if _stopped(evaluation) else evaluation
            reached[task] = hurdle.steps
            if rejection := hurdle.stopped_on(task, scores[task]):
                return _ended(evaluation, reached, rejection, several)
            if hurdle.steps == gate and _stopped_on(evaluation, task, gate):
                return None
        if hurdle.steps == gate and _rejected_at_gate(evaluation):
            return evaluation
        if rejection := hurdle.stopped(scores):
            return _ended(evaluation, reached, rejection, several)
    return None if _stopped(evaluation) else evaluation


def _ended(
    evaluation: Evaluation, reached: Mapping[str, int], rejection: Rejection, several: bool
) -> Evaluation | None:
    """The evaluation had it ended after so many steps of each task, as far as that is known."""
    if several:
        whole = _stopped(evaluation) and _until(reached, evaluation.rungs) == evaluation.rungs
        return replace(evaluation, rejection=rejection) if whole else None
    return replace(
        evaluation,
        steps=sum(reached.values()),
        objectives={},
        extras={},
        rejection=rejection,
        traces=_until(reached, evaluation.traces),
        rungs=_until(reached, evaluation.rungs),
    )


class CachedExecutor:
    """An executor that looks into a cache before it lets another one work, and keeps what that gives.

    Attributes:
        hits: how many evaluations came from the cache.
    """

    def __init__(self, executor: Executor, cache: EvaluationCache, config: SearchConfig) -> None:
        self._executor, self._cache, self._layer = executor, cache, config.layer
        self._gate = min(config.protocols.quality.steps, config.training.steps)
        self._several = len(config.training.rates) > 1
        self._config, self._contexts = config, {(0, config.seed): context_of(config)}
        self.eager = executor.eager
        self.hits = 0

    def submit(self, job: EvaluationJob) -> Pending:
        """See ``Executor``; a reused evaluation took no seconds. Other seeds than those of the search are not kept."""
        if job.seed is not None and not job.conditions:
            return self._executor.submit(job)
        context = f"{self._context(job)}/{'gated' if job.gated else 'ungated'}"
        print_ = fingerprint(job.genome, self._layer)
        for known in self._cache.find(context, job.genome, print_):
            found = cut(known, job.hurdles if job.gated else (), self._gate, several=self._several)
            if found is not None:
                return _Reused(self, found)
        return _Kept(self._cache, context, print_, self._executor.submit(job))

    def _context(self, job: EvaluationJob) -> str:
        seed = self._config.seed if job.seed is None else job.seed
        place = job.conditions, seed
        if place not in self._contexts:
            settings = self._config.in_round(job.conditions).model_copy(update={"seed": seed})
            self._contexts[place] = context_of(settings)
        return self._contexts[place]

    def doing(self) -> list[str]:
        """See ``Executor``."""
        return self._executor.doing()

    def __enter__(self) -> Self:
        self._executor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._executor.__exit__(kind, error, trace)
        finally:
            self._cache.close()


@dataclass(frozen=True, slots=True)
class _Reused:
    """An evaluation that the cache knows."""

    executor: CachedExecutor
    evaluation: Evaluation
    ready: bool = True

    def __call__(self, _tick: Tick = no_tick, /) -> Evaluation:
        self.executor.hits += 1
        return replace(self.evaluation, seconds=0.0)


@dataclass(frozen=True, slots=True)
class _Kept:
    """An evaluation that the cache keeps when it is there."""

    cache: EvaluationCache
    context: str
    print: str
    pending: Pending

    @property
    def ready(self) -> bool:
        return self.pending.ready

    def __call__(self, tick: Tick = no_tick, /) -> Evaluation:
        evaluation = self.pending(tick)
        if evaluation.rejection is None or evaluation.rejection.stage not in OF_THE_MOMENT:
            self.cache.store(self.context, self.print, evaluation, stopped=_stopped(evaluation))
        return evaluation


def with_cache(executor: Executor, config: SearchConfig) -> Executor:
    """The executor with the cache of ``execution.cache``; itself without one, or where repeats are to be trained.

    Raises:
        InputError: the file cannot be used.
    """
    if not config.execution.cache or "equivalence" not in config.protocols.screens:
        return executor
    return CachedExecutor(executor, EvaluationCache(Path(config.execution.cache)), config)


def _stopped(evaluation: Evaluation) -> bool:
    return evaluation.rejection is not None and evaluation.rejection.stage == RUNGS


def _stopped_on(evaluation: Evaluation, task: str, steps: int) -> bool:
    """Whether a floor stopped it on this task after so many steps."""
    rejection = evaluation.rejection
    on_task = rejection is not None and (rejection.stage, rejection.task) == (RUNGS, task)
    return on_task and evaluation.rungs[task][-1][0] == steps


def _rejected_at_gate(evaluation: Evaluation) -> bool:
    """Whether the quality gate rejected it; at the very step of a rung it is asked before the threshold."""
    return evaluation.rejection is not None and evaluation.rejection.stage == "quality"


_Points = Mapping[str, tuple[tuple[int, float], ...]]


def _until(reached: Mapping[str, int], points: _Points) -> _Points:
    kept = {task: tuple(point for point in found if point[0] <= reached[task]) for task, found in points.items()}
    return {task: found for task, found in kept.items() if found}
