"""Studies: many independent pieces of work, in worker processes, each recorded as it comes and never done twice."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

from evonas.config import ExecutionConfig
from evonas.config.section import Section
from evonas.errors import first_line
from evonas.runs.interrupt import Interrupts
from evonas.runs.progress import Tally
from evonas.runs.store import Outcome, Results
from evonas.runs.workers import Failure, Workers, threads
from evonas.training.allocator import keep_memory

Value = Mapping[str, Any]


S = TypeVar("S", bound=Section)


def spec_text(spec: Section) -> str:
    """A spec as JSON, by which its outcome is recorded."""
    return json.dumps(spec.identity(), sort_keys=True)


def run_study(
    specs: Sequence[S],
    work: Callable[[S], Value],
    results: Results,
    execution: ExecutionConfig,
    watch: Callable[[Tally], None],
) -> dict[S, Outcome]:
    """Do every piece of work that is not recorded; failures are tried again.

    Args:
        specs: everything each piece depends on; equal ones are done once.
        work: a function of a module, from a spec to its value: numbers, texts, lists and mappings. An error of torch's
            or of arithmetic is recorded as a failure of that piece.
        results: the record.
        execution: workers, threads and timeout.
        watch: is told how far the study is, before the first piece and after each.

    Raises:
        InputError: raised by ``work``, or workers that cannot start.
        RunInterruptedError: by Ctrl-C or SIGTERM; what was under way is dropped.
    """
    distinct = list(dict.fromkeys(specs))
    recorded = {spec: results.find(spec_text(spec)) for spec in distinct}
    found = {spec: outcome for spec, outcome in recorded.items() if outcome is not None and not outcome.failure}
    missing, known = [spec for spec in distinct if spec not in found], len(found)
    watch(Tally(known, len(distinct), 0))
    with Interrupts() as interrupts, ExitStack() as stack:
        coming = _outcomes(missing, work, execution, stack)
        for _ in missing:
            spec, outcome = interrupts.wait(partial(next, coming))
            found[spec] = Outcome(None, str(outcome)) if isinstance(outcome, Failure) else outcome
            results.record(spec_text(spec), found[spec])
            watch(Tally(len(found), len(distinct), len(found) - known))
    return {spec: found[spec] for spec in distinct}


def _outcomes(
    specs: Sequence[S], work: Callable[[S], Value], execution: ExecutionConfig, stack: ExitStack
) -> Iterator[tuple[S, Outcome | Failure]]:
    """The outcomes as they come; one worker is this process."""
    if execution.workers == 1 or not specs:
        stack.enter_context(threads(execution.threads))
        keep_memory()
        do = contained(work)
        return ((spec, do(spec)) for spec in specs)
    number = min(execution.workers, len(specs))
    pool: Workers[Callable[[S], Value], S, Outcome] = stack.enter_context(
        Workers(contained, work, workers=number, threads=execution.threads, timeout=execution.timeout_seconds)
    )
    return pool.unordered(specs)


def contained(work: Callable[[S], Value]) -> Callable[[S], Outcome]:
    """``work`` timed, with errors of torch's and of arithmetic turned into failures."""

    def outcome(spec: S) -> Outcome:
        started = time.perf_counter()
        try:
            value = work(spec)
        except (RuntimeError, ArithmeticError) as error:  # torch's out-of-memory error is the first
            return Outcome(None, first_line(error), time.perf_counter() - started)
        return Outcome(value, "", time.perf_counter() - started)

    return outcome
