"""Where evaluations run: in this process, or in worker processes that may die without harm.

Both give the same numbers: an evaluation uses a fixed number of threads and depends on nothing but its genome and the
configuration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from evonas.config import SearchConfig
from evonas.extensions import load_extensions
from evonas.graph.genome import Genome
from evonas.runs.workers import Failure, Workers, threads
from evonas.search.evaluator import Evaluator, evaluator_from_config
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.rungs import Hurdle
from evonas.training.allocator import keep_memory

Pending = Callable[[], Evaluation]


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """One evaluation, as it travels to a worker."""

    genome: Genome
    gated: bool
    hurdles: tuple[Hurdle, ...] = ()
    seed: int | None = None

    def run(self, evaluator: Evaluator) -> Evaluation:
        """Evaluate the genome."""
        return evaluator(self.genome, gated=self.gated, hurdles=self.hurdles, seed=self.seed)


class Executor(Protocol):
    """Runs evaluations: ``submit`` gives a function that waits for the result."""

    def submit(
        self, genome: Genome, *, gated: bool = True, hurdles: Sequence[Hurdle] = (), seed: int | None = None
    ) -> Pending:
        """Queue an evaluation, with the arguments of ``Evaluator``; call what this returns to get the result."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InProcess:
    """Evaluates when a result is waited for. An evaluation that raises ends the run: there is nobody to contain it."""

    def __init__(self, evaluator: Evaluator, threads: int) -> None:
        self._evaluator, self._threads = evaluator, threads

    def submit(
        self, genome: Genome, *, gated: bool = True, hurdles: Sequence[Hurdle] = (), seed: int | None = None
    ) -> Pending:
        """See ``Executor``."""
        return partial(self._evaluate, EvaluationJob(genome, gated, tuple(hurdles), seed))

    def _evaluate(self, job: EvaluationJob) -> Evaluation:
        with threads(self._threads):
            return job.run(self._evaluator)

    def __enter__(self) -> Self:
        keep_memory()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LocalPool:
    """Worker processes on this machine; one that is killed, hangs or runs out of memory costs its candidate only."""

    def __init__(self, config: SearchConfig) -> None:
        load_extensions(config.extensions)  # workers begin with those that are loaded here
        execution, self._seed = config.execution, config.seed
        self._pool: Workers[SearchConfig, EvaluationJob, Evaluation] = Workers(
            evaluations,
            config,
            workers=execution.workers,
            threads=execution.threads,
            timeout=execution.timeout_seconds,
        )

    def submit(
        self, genome: Genome, *, gated: bool = True, hurdles: Sequence[Hurdle] = (), seed: int | None = None
    ) -> Pending:
        """See ``Executor``.

        Raises:
            InputError: workers keep dying before they evaluate anything.
        """
        job = EvaluationJob(genome, gated, tuple(hurdles), seed)
        return partial(self._wait, self._pool.submit(job), job)

    def _wait(self, pending: Callable[[], Evaluation | Failure], job: EvaluationJob) -> Evaluation:
        found = pending()
        if isinstance(found, Evaluation):
            return found
        rejection = Rejection("execution", found.reason, "", found.limit, found.limit, found.detail)
        return Evaluation(job.genome.key, self._seed if job.seed is None else job.seed, rejection=rejection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)  # what still runs was not told and is asked for again on resume


def evaluations(config: SearchConfig) -> Callable[[EvaluationJob], Evaluation]:
    """What does jobs in a worker."""
    evaluator = evaluator_from_config(config)
    return lambda job: job.run(evaluator)


def make_executor(config: SearchConfig) -> Executor:
    """One worker runs in this process, several in a pool.

    Raises:
        InputError: the data or architectures of the search cannot be had; found before any worker starts.
    """
    evaluator = evaluator_from_config(config)
    if config.execution.workers == 1:
        return InProcess(evaluator, config.execution.threads)
    return LocalPool(config)
