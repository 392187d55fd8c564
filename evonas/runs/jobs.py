"""Jobs: independent tasks that are done in worker processes, each recorded as it comes and never done twice."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from evonas.config import ExecutionConfig
from evonas.config.section import Section
from evonas.errors import InputError, described
from evonas.runs.interrupt import Interrupts
from evonas.runs.pool import Failure, Pool, open_pool, threads
from evonas.runs.progress import JobProgress, in_words, time_left
from evonas.runs.provenance import differences, listed_differences, made_from
from evonas.runs.store import Key, Outcome, Store
from evonas.training.allocator import keep_memory
from evonas.training.device import find_device

Value = Mapping[str, Any]
Spec = TypeVar("Spec", bound=Section)
Work = Callable[[Spec, Mapping[Spec, Value]], Value]
Job = tuple[Spec, Mapping[Spec, Value]]


def _nothing(_: Section) -> tuple[Any, ...]:
    return ()


def _no_data(_: Section) -> Mapping[str, str]:
    return {}


def _never(_: Section) -> bool:
    return False


def _no_words(_: Section) -> str:
    return ""


def _no_check(_: Sequence[Section]) -> None:
    """Nothing can be seen to be wrong before the jobs are done."""


@dataclass(frozen=True, slots=True)
class Jobs(Generic[Spec]):
    """What is to be done, and what its results depend on.

    Attributes:
        specs: one for each job: all the settings that its result depends on; equal ones are one job.
        work: a function that can travel to a worker, from a spec and the values of the jobs that it needs to its own
            value, which is fit for JSON.
        code: parts of the package that the results depend on, beside what all do: see ``provenance.code_digest``.
        needs: the specs of the jobs that must be done before a job; they are added where they are missing.
        data: digests, by name, of what a job reads beside its spec: files, data sets, the source of a user's task.
        timed: whether a job measures time, so that nothing may run beside it.
        doing: what is done in a job, in words for people; jobs with the same words take about as long.
        check: called with the jobs that are not recorded, before one of them is done. It raises an InputError where one
            cannot be done.
    """

    specs: Sequence[Spec]
    work: Work[Spec]
    code: tuple[str, ...] = ()
    needs: Callable[[Spec], Sequence[Spec]] = _nothing
    data: Callable[[Spec], Mapping[str, str]] = _no_data
    timed: Callable[[Spec], bool] = _never
    doing: Callable[[Spec], str] = _no_words
    check: Callable[[Sequence[Spec]], None] = _no_check


def run_jobs(
    jobs: Jobs[Spec],
    store: Store,
    execution: ExecutionConfig,
    on_progress: Callable[[JobProgress], None],
    *,
    keep_changed: bool = False,
) -> dict[Spec, Outcome]:
    """Do every job that is not recorded, and give the outcomes of all; those that failed are tried again.

    A job whose work raises fails with that error, and a job that needs a failed one fails with it; the others go on.
    Jobs that are needed come first, and those that measure time last, one after the other.

    Args:
        jobs: what is to be done.
        store: where outcomes are recorded as they come.
        execution: workers, threads, device and timeout.
        on_progress: is called with how far the jobs are, before those that may run at once and after each of them.
        keep_changed: whether results that were made with other data, code or versions are kept as they are.

    Raises:
        InputError: raised by the work; workers that cannot start; results that were made from something else.
        RunInterruptedError: by Ctrl-C or SIGTERM; what was under way is dropped.
    """
    stages = _stages(jobs)
    every = [spec for stage in stages for spec in stage]
    sources = made_from(*jobs.code, device=find_device(execution.device))
    keys = {spec: Key(spec_text(spec), sources | dict(jobs.data(spec))) for spec in every}
    found = _recorded(store, keys, keep_changed=keep_changed)
    if missing := [spec for spec in every if spec not in found]:
        jobs.check(missing)
    progress, recorded = _Progress(jobs, every, found, max(1, execution.workers)), len(found)
    with Interrupts() as interrupts, _Runner(jobs.work, execution) as runner:
        for stage in stages:
            ready: list[Job[Spec]] = []
            for spec in (spec for spec in stage if spec not in found):
                needed = {need: found[need] for need in jobs.needs(spec)}
                failed = [outcome.failure for outcome in needed.values() if outcome.failure]
                if failed:
                    found[spec] = Outcome(None, failed[0])
                else:
                    ready.append((spec, {need: outcome.value or {} for need, outcome in needed.items()}))
            timed = bool(ready) and jobs.timed(ready[0][0])
            coming = runner.outcomes(ready, alone=timed, at_most=len(every) - recorded)
            waiting = dict.fromkeys(spec for spec, _ in ready)
            on_progress(progress.now(waiting))
            for _ in ready:
                (spec, _needed), outcome = interrupts.wait(partial(next, coming))
                found[spec] = outcome
                del waiting[spec]
                store.record(keys[spec], outcome)
                progress.ended(spec, outcome)
                on_progress(progress.now(waiting))
    return {spec: found[spec] for spec in every}


def spec_text(spec: Section) -> str:
    """A spec as JSON, by which its outcome is recorded."""
    return json.dumps([type(spec).__name__, spec.identity()], sort_keys=True)


def _stages(jobs: Jobs[Spec]) -> list[list[Spec]]:
    """The distinct jobs, in the order given, in stages that need nothing of later ones; timed jobs last."""
    depths: dict[Spec, int] = {}

    def depth(spec: Spec) -> int:
        if spec not in depths:
            below = max((depth(need) for need in jobs.needs(spec)), default=-1)
            depths[spec] = below + 1
        return depths[spec]

    for spec in jobs.specs:
        depth(spec)
    places = sorted({(jobs.timed(spec), level) for spec, level in depths.items()})
    return [[spec for spec, level in depths.items() if (jobs.timed(spec), level) == place] for place in places]


class _Progress(Generic[Spec]):
    """What is known of the jobs while they are done.

    Args:
        jobs: the jobs.
        every: all of them, with those that are needed.
        found: the outcomes so far; it grows while this looks at it.
        workers: how many jobs are done at once.
    """

    def __init__(self, jobs: Jobs[Spec], every: Sequence[Spec], found: Mapping[Spec, Outcome], workers: int) -> None:
        self._jobs, self._found, self._workers = jobs, found, workers
        self._kinds = {spec: (jobs.doing(spec), jobs.timed(spec)) for spec in every}
        self._seconds: dict[tuple[str, bool], list[float]] = {}
        self._done = 0
        for spec, outcome in found.items():
            self._seconds.setdefault(self._kinds[spec], []).append(outcome.seconds)

    def ended(self, spec: Spec, outcome: Outcome) -> None:
        """A job was done."""
        self._done += 1
        self._seconds.setdefault(self._kinds[spec], []).append(outcome.seconds)

    def now(self, waiting: Iterable[Spec]) -> JobProgress:
        """How far the jobs are, when these wait to be done, the first of them being done."""
        left = Counter(kind for spec, kind in self._kinds.items() if spec not in self._found)
        seconds, at_least = time_left(left, self._seconds, lambda kind: 1 if kind[1] else self._workers)
        doing = [self._kinds[spec] for spec in waiting]
        at_once = 1 if doing and doing[0][1] else self._workers
        words = in_words([what for what, _ in doing[:at_once]])
        return JobProgress(len(self._found), len(self._kinds), self._done, words, seconds, at_least)


def _recorded(store: Store, keys: Mapping[Spec, Key], *, keep_changed: bool) -> dict[Spec, Outcome]:
    """What need not be done."""
    found, changed, count = dict[Spec, Outcome](), dict[str, str](), 0
    for spec, key in keys.items():
        outcome = store.find(key)
        if outcome is not None and not outcome.failure:
            found[spec] = outcome
        elif (other := store.find_with_other_sources(key)) is not None:
            found[spec], count = other[0], count + 1
            changed |= differences(other[1], key.sources)
    if changed and not keep_changed:
        what = listed_differences(changed)
        results = "a result was" if count == 1 else f"{count} results were"
        remedy = "choose another folder, or keep the recorded results as they are with --force"
        raise InputError(str(store.path), f"{results} made from something else: {what}", remedy=remedy)
    return found


class _Runner(Generic[Spec]):
    """Does jobs, in this process or in a pool that starts with the first of them."""

    def __init__(self, work: Work[Spec], execution: ExecutionConfig) -> None:
        self._work, self._execution = work, execution
        self._stack = ExitStack()
        self._pool: Pool[Job[Spec], Outcome] | None = None

    def outcomes(self, jobs: Sequence[Job[Spec]], *, alone: bool, at_most: int) -> Iterator[tuple[Job[Spec], Outcome]]:
        """The outcomes as they come, one after the other if each is to be ``alone``."""
        if not jobs:
            return iter(())
        if self._execution.here:
            do = contained(self._work)
            keep_memory()
            self._stack.enter_context(threads(self._execution.threads))
            return ((job, do(job)) for job in jobs)
        pool = self._started(min(self._execution.workers, at_most))
        batches = [[job] for job in jobs] if alone else [jobs]
        return ((job, _of(outcome)) for batch in batches for job, outcome in pool.unordered(batch))

    def _started(self, workers: int) -> Pool[Job[Spec], Outcome]:
        if self._pool is None:
            self._pool = self._stack.enter_context(open_pool(contained, self._work, self._execution, workers))
        return self._pool

    def __enter__(self) -> "_Runner[Spec]":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


def _of(outcome: Outcome | Failure) -> Outcome:
    return Outcome(None, str(outcome)) if isinstance(outcome, Failure) else outcome


def contained(work: Work[Spec]) -> Callable[[Job[Spec]], Outcome]:
    """``work`` timed, with every error but that of a user's input turned into a failure of the job."""

    def outcome(job: Job[Spec]) -> Outcome:
        started = time.perf_counter()
        try:
            value = work(*job)
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            return Outcome(None, described(error), time.perf_counter() - started)
        return Outcome(value, "", time.perf_counter() - started)

    return outcome
