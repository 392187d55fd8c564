"""Trains and measures the cells of a matrix, in a folder that keeps them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

from evonas.compare.comparison import Comparison, Contender, compare
from evonas.compare.costs import network_cost
from evonas.compare.result import Columns, Place
from evonas.compare.trials import run_trials, trial_settings
from evonas.config import SearchConfig, section
from evonas.errors import InputError, first_line
from evonas.graph.genome import Genome
from evonas.runs.folder import working_folder
from evonas.runs.interrupt import Interrupts
from evonas.runs.progress import Tally
from evonas.runs.workers import Failure
from evonas.search.archive import Archive
from evonas.search.evaluator import Evaluator
from evonas.search.execution import LocalPool, Pool, make_pool
from evonas.search.trial_store import Trials


@contextmanager
def matrix_folder(folder: Path, settings: SearchConfig, *, resume: bool) -> Iterator[Trials]:
    """Hold the folder of a matrix and open its record.

    Raises:
        InputError: there is one already and ``resume`` is not set, there is none and it is, or a search is there.
    """
    with (
        working_folder(folder, "trials.sqlite", section.dump(settings), resume=resume) as file,
        Archive.open(file) if file.exists() else Archive.create(file) as archive,
    ):
        yield archive.trials


def train_cells(
    columns: Columns,
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    trials: Trials,
    watch: Callable[[Tally], None],
) -> Comparison:
    """Train every cell that is not recorded, in worker processes: whatever one of them does, the others go on.

    Args:
        columns: by name, one task each.
        contenders: the layers.
        seeds: of weights and batches.
        trials: the record.
        watch: is told how far the trainings are.

    Raises:
        InputError: missing data, or a task that cannot be built.
        RunInterruptedError: by Ctrl-C or SIGTERM.
    """
    execution = next(iter(columns.values())).execution
    with make_pool(execution) as pool:
        executor = partial(LocalPool, pool=pool)
        results = run_trials(columns, [c.genome for c in contenders], seeds, trials, watch, executor=executor)
    return compare(contenders, tuple(columns), seeds, results)


def measure_costs(
    columns: Columns, contenders: Sequence[Contender], trials: Trials, watch: Callable[[Tally], None]
) -> tuple[dict[Place, dict[str, float]], dict[Place, str]]:
    """What every layer costs on every task, and why where it cannot be said; what is recorded is not measured again."""
    found: dict[Place, dict[str, float]] = {}
    for column, settings in columns.items():
        for contender in contenders:
            if (recorded := trials.find_cost(trial_settings(settings), contender.genome.key)) is not None:
                found[contender.name, column] = recorded
    failures: dict[Place, str] = {}
    known, total = len(found), len(columns) * len(contenders)
    watch(Tally(known, total, 0))
    execution = next(iter(columns.values())).execution
    with Interrupts() as interrupts, make_pool(execution, workers=1) as pool:  # one at a time: times are measured
        for (column, settings), contender in product(columns.items(), contenders):
            place = contender.name, column
            if place in found:
                continue
            cost = interrupts.wait(partial(_cost, pool, settings, contender.genome))
            if isinstance(cost, str):
                failures[place] = cost
            else:
                trials.record_cost(trial_settings(settings), contender.genome.key, cost)
                found[place] = cost
            done = len(found) + len(failures)
            watch(Tally(done, total, done - known))
    return found, failures


@dataclass(frozen=True, slots=True)
class CostJob:
    """The measurement of a layer's cost, as it travels to a worker."""

    genome: Genome

    def run(self, evaluator: Evaluator) -> dict[str, float]:
        """Do it."""
        return asdict(network_cost(evaluator.tasks[0], self.genome, evaluator.layer, evaluator.seed))


def _cost(pool: Pool, settings: SearchConfig, genome: Genome) -> dict[str, float] | str:
    """The cost, or why it cannot be said."""
    try:
        found = pool.submit((settings, CostJob(genome)))()
    except InputError:
        raise
    except Exception as error:  # of torch's, or of a task of somebody's own
        return first_line(error)
    return str(found) if isinstance(found, Failure) else found
