"""The cells of a matrix: layers trained on every task and measured in every network, as names and numbers."""

from collections.abc import Callable, Sequence

from evonas.compare.comparison import Comparison, Contender, compare
from evonas.compare.result import LayerTask
from evonas.compare.trials import Columns, run_costs, run_trials
from evonas.runs.progress import JobProgress
from evonas.runs.store import Store

RelativeCosts = dict[LayerTask, dict[str, float]]


def train_cells(
    columns: Columns,
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    store: Store,
    on_progress: Callable[[JobProgress], None],
    *,
    keep_changed: bool = False,
) -> Comparison:
    """Train every cell that is not recorded, in worker processes: whatever one of them does, the others go on.

    Arguments and errors: see ``run_trials``.
    """
    layers = [contender.genome for contender in contenders]
    results = run_trials(columns, layers, seeds, store, on_progress, isolated=True, keep_changed=keep_changed)
    return compare(contenders, tuple(columns), seeds, results)


def measure_costs(
    columns: Columns,
    contenders: Sequence[Contender],
    store: Store,
    on_progress: Callable[[JobProgress], None],
    *,
    keep_changed: bool = False,
) -> tuple[RelativeCosts, dict[LayerTask, str]]:
    """What every layer costs on every task, and why where it cannot be said; both in the order of the columns.

    Arguments and errors: see ``run_trials``.
    """
    layers = [contender.genome for contender in contenders]
    outcomes = run_costs(columns, layers, store, on_progress, keep_changed=keep_changed)
    places = {(each.name, column): outcomes[each.genome.key, column] for column in columns for each in contenders}
    costs = {place: dict(outcome.value) for place, outcome in places.items() if outcome.value is not None}
    return costs, {place: outcome.failure for place, outcome in places.items() if outcome.failure}
