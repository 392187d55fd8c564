"""Trains and measures the cells of a matrix, in a folder that keeps them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from evonas import section
from evonas.comparison import Comparison, Contender, compare
from evonas.config import SearchConfig
from evonas.evaluate.costs import network_cost
from evonas.evaluate.evaluator import evaluator_from_config
from evonas.evaluate.tally import Tally
from evonas.evaluate.workers import threads
from evonas.matrix.result import Columns, Place
from evonas.record.archive import Archive
from evonas.record.run import working_folder
from evonas.record.trials import Trials
from evonas.search.trials import run_trials, trial_settings


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
    """Train every cell that is not recorded.

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
    results = run_trials(columns, [c.genome for c in contenders], seeds, trials, watch)
    return compare(contenders, tuple(columns), seeds, results)


def measure_costs(
    columns: Columns, contenders: Sequence[Contender], trials: Trials, watch: Callable[[Tally], None]
) -> tuple[dict[Place, dict[str, float]], dict[Place, str]]:
    """What every layer costs on every task, and why where it cannot be said; what is recorded is not measured again."""
    found: dict[Place, dict[str, float]] = {}
    for column, settings in columns.items():
        for contender in contenders:
            if (cost := trials.find_cost(trial_settings(settings), contender.genome.key)) is not None:
                found[contender.name, column] = cost
    failures: dict[Place, str] = {}
    known, total = len(found), len(columns) * len(contenders)
    watch(Tally(known, total, 0))
    for column, settings in columns.items():
        missing = [contender for contender in contenders if (contender.name, column) not in found]
        task = evaluator_from_config(settings).tasks[0] if missing else None
        for contender in missing:
            assert task is not None
            try:
                with threads(settings.execution.threads):
                    cost = asdict(network_cost(task, contender.genome, settings.layer, settings.seed))
            except RuntimeError as error:  # torch's out-of-memory error is one too
                failures[contender.name, column] = str(error).partition("\n")[0]
            else:
                trials.record_cost(trial_settings(settings), contender.genome.key, cost)
                found[contender.name, column] = cost
            done = len(found) + len(failures)
            watch(Tally(done, total, done - known))
    return found, failures
