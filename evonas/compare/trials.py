"""Train chosen layers on every task under several seeds, outside any search, and record each trial.

A trial is an ungated evaluation of one layer on one task under one seed. So a layer that fails somewhere fails in that
cell alone, and a stopped run loses no more than the trials that were under way.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from evonas.config import SearchConfig
from evonas.errors import InputError, first_line
from evonas.graph.genome import Genome
from evonas.report.statistics import Cell
from evonas.runs.interrupt import Interrupts
from evonas.runs.progress import Tally
from evonas.search.evaluator import evaluator_from_config
from evonas.search.execution import Executor, make_executor
from evonas.search.outcome import Evaluation, Rejection
from evonas.search.trial_store import Trials
from evonas.tasks.from_config import task_names

Results = Mapping[str, Mapping[Cell, Evaluation]]  # by layer key


def fresh_seeds(config: SearchConfig, count: int) -> tuple[int, ...]:
    """The seeds after the search's own, under which its layers were selected: scores there are the luckier ones."""
    return tuple(range(config.seed + 1, config.seed + 1 + count))


def by_task(config: SearchConfig) -> dict[str, SearchConfig]:
    """The configuration of each task alone, by the task's name.

    Raises:
        InputError: two tasks have one name.
    """
    names = task_names(config.tasks)
    return {n: config.model_copy(update={"tasks": (task,)}) for n, task in zip(names, config.tasks, strict=True)}


def run_trials(
    columns: Mapping[str, SearchConfig],
    layers: Sequence[Genome],
    seeds: Sequence[int],
    trials: Trials,
    watch: Callable[[Tally], None],
    *,
    executor: Callable[[SearchConfig], Executor] = make_executor,
) -> Results:
    """Every layer on every task under every seed; what is recorded is not trained again.

    A trial that ended for a reason outside training (too slow, a dead worker, no memory, an error in torch or in a task
    of somebody's own) is tried again: with a longer timeout, fewer workers or more memory it may go well.

    Args:
        columns: by name, one task each with its data, training and lowering; protocols and rungs do not matter.
        layers: what to train; equal layers are trained once.
        seeds: of initial weights and batches.
        trials: the record.
        watch: is told how far the run is, before the first trial and after each.
        executor: makes what runs the trials of one task.

    Raises:
        InputError: missing data, or a task that cannot be built; found before anything is trained.
        RunInterruptedError: by Ctrl-C or SIGTERM; what was under way is dropped.
    """
    by_key = {layer.key: layer for layer in layers}
    cells = [(name, seed, key) for name in columns for seed in seeds for key in by_key]
    settings = {name: trial_settings(config) for name, config in columns.items()}
    recorded = {cell: trials.find(settings[cell[0]], cell[1], cell[2]) for cell in cells}
    results = {cell: result for cell, result in recorded.items() if result is not None and not _again(result)}
    known = len(results)
    open_ = {name: [cell for cell in cells if cell[0] == name and cell not in results] for name in columns}
    for name, missing in open_.items():
        if missing:
            require_buildable(columns[name])
    watch(Tally(known, len(cells), 0))
    with Interrupts() as interrupts:
        for name, missing in open_.items():
            if not missing:
                continue
            with executor(columns[name]) as running:
                pending = [running.submit(by_key[key], gated=False, seed=seed) for _, seed, key in missing]
                for cell, result in zip(missing, pending, strict=True):
                    results[cell] = interrupts.wait(partial(_contained, result, cell))
                    trials.record(settings[name], results[cell])
                    watch(Tally(len(results), len(cells), len(results) - known))
    return {key: {(name, seed): results[name, seed, key] for name in columns for seed in seeds} for key in by_key}


def _contained(result: Callable[[], Evaluation], cell: tuple[str, int, str]) -> Evaluation:
    """The result, or that a task raised an error: it ends its own trials, and no others."""
    try:
        return result()
    except InputError:  # of the settings
        raise
    except Exception as error:
        task, seed, key = cell
        detail = f"{type(error).__name__}: {first_line(error)}"
        return Evaluation(key, seed, rejection=Rejection("execution", "error", task, detail=detail))


def _again(result: Evaluation) -> bool:
    """Whether a recorded trial says nothing about the layer."""
    return result.rejection is not None and result.rejection.stage == "execution"


def trial_settings(config: SearchConfig) -> str:
    """All that the result of a trial on a configuration's one task depends on but layer and seed, as JSON."""
    (task,) = config.tasks
    read = {"text": config.text} if task.transformer else {"data": config.data}
    sections = {**read, "training": config.training, "layer": config.layer, "task": task}
    return json.dumps({name: section.identity() for name, section in sections.items()}, sort_keys=True)


def require_buildable(config: SearchConfig) -> None:
    """Make sure that every task can be trained.

    Raises:
        InputError: missing data, a wrong architecture or an unknown device.
    """
    for task in evaluator_from_config(config).tasks:
        task.build(config.seed)
