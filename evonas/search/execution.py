"""Where evaluations run: in this process, or in worker processes that may die without harm.

Both give the same numbers: an evaluation uses a fixed number of threads and depends on nothing but its genome and the
configuration.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from evonas.config import SearchConfig
from evonas.extensions import load_extensions
from evonas.graph.genome import Genome
from evonas.runs.inside import note
from evonas.runs.pool import ERROR, Failure, Pool, Waiting, open_pool, threads
from evonas.search.evaluator import Evaluator, evaluators_from_config
from evonas.search.outcome import EXECUTION, RESOURCE, Evaluation, Rejection
from evonas.search.rungs import Hurdle
from evonas.search.training import OnStep, Step, unobserved
from evonas.training.allocator import keep_memory

Tick = Callable[[], None]


def no_tick() -> None:
    """Nothing is to be done meanwhile."""


class Pending(Protocol):
    """An evaluation that was asked for. Call it to wait for the result."""

    @property
    def ready(self) -> bool:
        """Whether the result is there, so that nobody has to wait for it."""
        ...

    def __call__(self, tick: Tick = no_tick, /) -> Evaluation:
        """The result.

        Args:
            tick: called several times a second meanwhile; what it raises ends the waiting, and the evaluation is lost.
        """
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """The result of an evaluation that nobody has to wait for."""

    evaluation: Evaluation
    ready: bool = True

    def __call__(self, _tick: Tick = no_tick, /) -> Evaluation:
        """See ``Pending``."""
        return self.evaluation


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """One evaluation, as it travels to a worker: the arguments of ``Evaluator``, and a ``label`` for people.

    ``conditions`` are those under which a race measures layers, by number; 0 for those of the search.
    """

    genome: Genome
    gated: bool = True
    hurdles: tuple[Hurdle, ...] = ()
    seed: int | None = None
    label: str = ""
    conditions: int = 0

    def run(self, evaluators: Sequence[Evaluator], on_step: OnStep = unobserved) -> Evaluation:
        """Evaluate the genome with the evaluator of the job's conditions."""
        evaluator = evaluators[self.conditions]
        return evaluator(self.genome, gated=self.gated, hurdles=self.hurdles, seed=self.seed, on_step=on_step)


class Executor(Protocol):
    """Runs evaluations: ``submit`` gives something to wait for the result with.

    Attributes:
        eager: whether an evaluation goes on while nobody waits for it.
    """

    eager: bool

    def submit(self, job: EvaluationJob) -> Pending:
        """Queue an evaluation; call what this returns to get the result."""
        ...

    def doing(self) -> list[str]:
        """What is being evaluated at this moment, one line for each worker that evaluates."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InProcess:
    """Evaluates when a result is waited for. An evaluation that crashes or hangs ends the run: nobody contains it.

    Args:
        evaluator: of the search.
        threads: of torch, for each evaluation.
        rounds: evaluators for the conditions of a race, in their order.
    """

    eager = False

    def __init__(self, evaluator: Evaluator, threads: int, rounds: Sequence[Evaluator] = ()) -> None:
        self._evaluators, self._threads = (evaluator, *rounds), threads
        self._doing = ""

    def submit(self, job: EvaluationJob) -> Pending:
        """See ``Executor``."""
        return _Here(self, job)

    def doing(self) -> list[str]:
        """See ``Executor``."""
        return [self._doing] if self._doing else []

    def _evaluate(self, job: EvaluationJob, tick: Tick) -> Evaluation:
        def on_step(step: Step) -> None:
            self._doing = f"{job.label}: {step}"
            tick()

        self._doing = job.label
        try:
            tick()
            with threads(self._threads):
                return job.run(self._evaluators, on_step)
        finally:
            self._doing = ""

    def __enter__(self) -> Self:
        keep_memory()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


@dataclass(frozen=True, slots=True)
class _Here:
    """An evaluation that is done when it is waited for."""

    executor: InProcess
    job: EvaluationJob
    ready: bool = False

    def __call__(self, tick: Tick = no_tick, /) -> Evaluation:
        return self.executor._evaluate(self.job, tick)


class WorkerPool:
    """Worker processes, here or elsewhere; one that is killed, hangs or runs out of memory costs its candidate only."""

    eager = True

    def __init__(self, config: SearchConfig) -> None:
        load_extensions(config.extensions)  # workers begin with those that are loaded here
        self._seed = config.seed
        self._pool: Pool[EvaluationJob, Evaluation] = open_pool(
            evaluations, config, config.execution, workers_of(config)
        )

    def submit(self, job: EvaluationJob) -> Pending:
        """See ``Executor``.

        Raises:
            InputError: workers keep dying before they evaluate anything.
        """
        return _InWorker(self._pool.submit(job), job, self._seed if job.seed is None else job.seed)

    def doing(self) -> list[str]:
        """See ``Executor``."""
        return self._pool.doing()

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)  # what still runs was not recorded and is asked for again on resume


@dataclass(frozen=True, slots=True)
class _InWorker:
    """An evaluation in a worker process; its failure is a rejection."""

    submitted: Waiting[Evaluation]
    job: EvaluationJob
    seed: int

    @property
    def ready(self) -> bool:
        """See ``Pending``."""
        return self.submitted.ready

    def __call__(self, tick: Tick = no_tick, /) -> Evaluation:
        found = self.submitted(tick)
        if isinstance(found, Failure):
            stage = EXECUTION if found.reason == ERROR else RESOURCE
            rejection = Rejection(stage, found.reason, "", found.limit, found.limit, found.detail)
            return Evaluation(self.job.genome.key, self.seed, rejection=rejection)
        return found


def evaluations(config: SearchConfig) -> Callable[[EvaluationJob], Evaluation]:
    """What does jobs in a worker."""
    evaluators = evaluators_from_config(config)
    return lambda job: job.run(evaluators, lambda step: note(f"{job.label}: {step}", often=True))


def workers_of(config: SearchConfig) -> int:
    """How many workers a search starts: no more than it has candidates open at once, since others would be idle."""
    return min(config.execution.workers, config.evolution.look_ahead)


def make_executor(config: SearchConfig) -> Executor:
    """Where the evaluations of a search are done: in a pool of workers, or, with none, in this process.

    Raises:
        InputError: the data or architectures of the search cannot be had; found before any worker starts.
    """
    evaluator, *rounds = evaluators_from_config(config)
    if config.execution.here:
        return InProcess(evaluator, config.execution.threads, rounds)
    return WorkerPool(config)
