"""A matrix from its columns and layers: trained, measured and compared."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evonas.compare.comparison import Contender, compare
from evonas.compare.result import Matrix
from evonas.compare.trials import Columns, run_cells
from evonas.runs.progress import JobProgress
from evonas.runs.store import Store


def run_matrix(
    title: str,
    columns: Columns,
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    store: Store,
    on_progress: Callable[[JobProgress], None],
    *,
    costs: bool = True,
    keep_changed: bool = False,
) -> Matrix:
    """Do every cell that is not recorded, in worker processes: whatever one of them does, the others go on.

    Costs come in the order of the columns. Arguments and errors: see ``run_cells``.
    """
    layers = [contender.genome for contender in contenders]
    cells = run_cells(columns, layers, seeds, store, on_progress, costs=costs, keep_changed=keep_changed)
    places = {
        (each.name, column): cells.costs[each.genome.key, column]
        for column in (columns if costs else {})
        for each in contenders
    }
    return Matrix(
        title=title,
        columns=columns,
        comparison=compare(contenders, tuple(columns), seeds, cells.trials),
        baseline=next((contender.name for contender in contenders if contender.baseline), None),
        costs={place: _numbers(outcome.value) for place, outcome in places.items() if outcome.value is not None},
        unmeasured={place: outcome.failure for place, outcome in places.items() if outcome.failure},
    )


def _numbers(value: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a recorded measurement; the file of results may be anybody's."""
    return {name: number for name, number in value.items() if isinstance(number, int | float)}
