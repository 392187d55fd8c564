"""Studies: parametrizations x optimizers x learning rates x activations x norms x inputs x seeds on one task."""

from functools import partial
from itertools import product

from evonas.errors import InputError
from evonas.graph.catalogue import parse_layer
from evonas.runs.jobs import Jobs
from evonas.studies.hypernet.body import ACTIVATIONS, BODY_NORMS
from evonas.studies.hypernet.settings import NO_NORM, SEPARATE, HypernetGrid, HypernetRun, OptimizerName
from evonas.studies.hypernet.settings import HypernetStudyConfig as HypernetStudyConfig
from evonas.studies.hypernet.tasks import GRID
from evonas.studies.hypernet.train import build_run, do_hypernet_run
from evonas.tasks.sources import images_digest

HypernetSetting = tuple[OptimizerName, str, str, int]  # optimizer, activation, norm, noise


def hypernet_runs(study: HypernetStudyConfig) -> list[HypernetRun]:
    """Every run of the grid.

    Raises:
        InputError: an unknown layer, activation or norm, missing data, or patterns that match no parameter.
    """
    grid = study.grid
    known = {"activations": tuple(ACTIVATIONS), "norms": (NO_NORM, *BODY_NORMS)}
    for key, accepted in known.items():
        for name in getattr(grid, key):
            if name not in accepted:
                raise InputError(f"grid.{key}", repr(name), accepted=", ".join(accepted))
    parse_layer(study.task.layer, "task.layer")
    run = partial(HypernetRun, task=study.task, data=study.data, run=study.run, device=study.execution.device)
    found = [
        run(
            parametrization=form,
            optimizer=optimizer,
            learning_rate=rate,
            activation=activation,
            norm=norm,
            noise=noise,
            correction=correction,
            seed=seed,
        )
        for (optimizer, activation, norm, noise), form, rate, correction, seed in product(
            hypernet_settings(grid), grid.parametrizations, grid.learning_rates, grid.corrections, grid.seeds
        )
    ]
    build_run(found[0])
    places = range(GRID if grid.separate else 0)
    return found + [
        run(parametrization=SEPARATE, optimizer=optimizer, learning_rate=rate, place=place, seed=seed)
        for optimizer, rate, place, seed in product(grid.optimizers, grid.learning_rates, places, grid.seeds)
    ]


def hypernet_settings(grid: HypernetGrid) -> list[HypernetSetting]:
    """Optimizers, activations, norms and noise: all combinations, or those that differ from the first in one at most.

    One of each is what is compared between parametrizations.
    """
    every = product(grid.optimizers, grid.activations, grid.norms, grid.noise)
    first = (grid.optimizers[0], grid.activations[0], grid.norms[0], grid.noise[0])
    return [
        setting
        for setting in every
        if not grid.one_at_a_time or sum(a != b for a, b in zip(setting, first, strict=True)) <= 1
    ]


def hypernet_jobs(runs: list[HypernetRun]) -> Jobs[HypernetRun]:
    """The runs as jobs."""
    return Jobs(
        runs,
        do_hypernet_run,
        ("studies/hypernet",),
        data=lambda run: {"images": images_digest(run.data)},
        doing=_doing,
    )


def _doing(run: HypernetRun) -> str:
    return f"training {run.parametrization}" if run.place is None else "training a network for one gamma"
