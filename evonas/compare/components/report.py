"""What a study of components reports: components x networks, each cell an effect with its interval or a reason."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from evonas.compare.components.grid import Cell, Effect, Sweep, sweep_of
from evonas.compare.components.jobs import Job
from evonas.compare.components.networks import Subject
from evonas.compare.components.settings import ComponentsConfig
from evonas.report.save import Report
from evonas.report.statistics import Interval, finite, summary, t_interval
from evonas.report.table import Datum, Table, written
from evonas.runs.store import Outcome

FORMS = {"sensitivity": "{:+.3f}", "loss": "{:+.3f}", "points": "{:+.1f}", "percent": "{:+.0f} %", "ratio": "{:.2f}x"}


@dataclass(frozen=True, slots=True)
class Column:
    """A network with a layer; a pretrained one has none of ours."""

    network: str
    layer: str
    subject: Subject

    @property
    def label(self) -> str:
        """Its name in the table."""
        return f"{self.network}, {self.layer}" if self.layer else self.network


@dataclass(frozen=True, slots=True)
class Found:
    """A cell with what came of it: effects by seed, or why there are none."""

    column: Column
    cell: Cell
    effects: Mapping[int, Effect]
    failures: Sequence[str]

    @property
    def unit(self) -> str:
        """How its effect is written, a key of ``FORMS``."""
        match self.cell.component:
            case "lineas":
                return "percent"
            case "mip":
                return "ratio"
            case "qk-layernorm" | "z-loss":
                return "sensitivity"
        return "loss" if self.column.subject.reads_text else "points"

    @property
    def interval(self) -> Interval | None:
        """Mean effect over seeds with its 95 % interval, in the unit."""
        if not self.effects:
            return None
        factor = 100.0 if self.unit in ("percent", "points") else 1.0
        return t_interval([effect.effect for effect in self.effects.values()]).times(factor)

    @property
    def text(self) -> str:
        """The cell of the table."""
        if self.cell.reason:
            return self.cell.reason
        if self.interval is None:
            return f"none: {self.failures[0]}" if self.failures else "none: the figure does not exist there"
        return written(self.interval, FORMS[self.unit])


def components_report(
    settings: ComponentsConfig, cells: Mapping[Column, Sequence[Cell]], outcomes: Mapping[Job, Outcome]
) -> Report:
    """The report from the outcomes of all jobs."""
    found = [_found(column, each, outcomes) for column, own in cells.items() for each in own]
    by_place = {(one.column, one.cell.component): one for one in found}
    rows = [
        {"component": name} | {column.label: by_place[column, name].text for column in cells}
        for name in dict.fromkeys(one.cell.component for one in found)
    ]
    sweeps = {column: sweep for column in cells if (sweep := sweep_of(settings, column.subject, outcomes))}
    failures = [f"{one.cell.component} in {one.column.label}: {why}" for one in found for why in one.failures]
    return Report(
        title=settings.name,
        tables=[Table.of(rows, title="Effect of each component; mean over seeds and its 95 % interval.")],
        notes=_notes(settings),
        data={
            "cells": [_json(one) for one in found],
            "sweeps": [_sweep_json(column, sweep) for column, sweep in sweeps.items()],
        },
        details=[_details(found), _sweeps(sweeps)],
        runs=_runs(found),
        failures=list(dict.fromkeys(failures)),
    )


def _found(column: Column, cell: Cell, outcomes: Mapping[Job, Outcome]) -> Found:
    effects, failures = {}, []
    for seed, jobs in (cell.jobs or {}).items():
        failures += [outcomes[job].failure for job in jobs if outcomes[job].failure]
        effect = cell.read(seed, outcomes) if cell.read else None
        if effect is not None:
            effects[seed] = effect
    return Found(column, cell, effects, failures)


def _notes(settings: ComponentsConfig) -> list[str]:
    rates = ", ".join(f"{factor:g}" for factor in settings.rates.factors)
    share, concept = settings.masks.sparsity, settings.concept
    return [
        "qk-layernorm, z-loss: change of the sensitivity to the learning rate, at "
        f"{rates} times the network's own: the mean final loss, counted up to that before training, minus the least. "
        "Losses are nats a token of texts, and the share of images classified wrongly. Negative is steadier.",
        f"teal, wina: rise of the loss where {share:.0%} of the inputs of linear layers and 1x1 convolutions are "
        "dropped, in nats a token of texts and in percentage points of the error of images.",
        f"lineas: change of the probability that the network gives the concept, on samples that have it, where the "
        f"cross entropy on samples that have it not has risen by {concept.rise:.0%}; the concept is image class "
        f"{concept.image_class}, or the character {concept.character!r}.",
        "mip: steps that a hypernetwork with the default parametrization needs to its last loss, over those that "
        "magnitude-invariant parametrization needs to the same loss, each at its best learning rate of Adam. "
        "Above 1 is faster.",
    ]


def _details(found: Sequence[Found]) -> Table:
    return Table.of(
        [
            {
                "component": one.cell.component,
                "network": one.column.network,
                "layer": one.column.layer or "its own",
                "without": fmean(values) if (values := _values(one, "without")) else None,
                "with": fmean(values) if (values := _values(one, "with_it")) else None,
                "effect": one.text,
                "seeds": len(one.effects),
            }
            for one in found
            if not one.cell.reason
        ],
        title="All cells.",
        meanings={
            "without": "the figure without the component: a sensitivity, a loss, a probability, or steps.",
            "with": "the same figure with it.",
        },
    )


def _values(found: Found, name: str) -> list[float]:
    return [value for effect in found.effects.values() if (value := getattr(effect, name)) is not None]


def _sweeps(sweeps: Mapping[Column, Sweep]) -> Table:
    return Table.of(
        [
            {
                "network": column.network,
                "layer": column.layer,
                **{f"{factor:g}x": _over(by_seed.values()) for factor, by_seed in sweep.losses.items()},
                "sensitivity": _over(sweep.sensitivities()),
                "stability margin": _over(sweep.margins()),
            }
            for column, sweep in sweeps.items()
        ],
        title="Final losses of the networks as they are, by multiples of their learning rate.",
        meanings={
            "sensitivity": "the mean over the learning rates, counted up to the loss before training, minus the least.",
            "stability margin": "the lowest learning rate above the best one that diverges, over the best one; inf "
            "where none of those tried does.",
        },
    )


def _over(values: Iterable[float]) -> Datum:
    """Mean and deviation over seeds; what they have in common if they are not all finite."""
    found = list(values)
    if all(map(math.isfinite, found)):
        return summary(found)
    diverged = sum(map(math.isnan, found))
    return f"{diverged} of {len(found)} diverged" if diverged else "inf"


def _sweep_json(column: Column, sweep: Sweep) -> dict[str, Any]:
    return {
        "network": column.network,
        "layer": column.layer,
        "genome": column.subject.genome,
        "rates": [
            {"factor": factor, "losses": [finite(loss) for loss in found.values()]}
            for factor, found in sweep.losses.items()
        ],
        "sensitivity": [finite(value) for value in sweep.sensitivities()],
        "margin": [finite(value) for value in sweep.margins()],
    }


def _runs(found: Sequence[Found]) -> Table:
    return Table.of(
        {
            "component": one.cell.component,
            "network": one.column.network,
            "layer": one.column.layer,
            "seed": seed,
            "without": effect.without,
            "with": effect.with_it,
            "effect": effect.effect,
        }
        for one in found
        for seed, effect in one.effects.items()
    )


def _json(one: Found) -> dict[str, Any]:
    interval = one.interval
    return {
        "component": one.cell.component,
        "network": one.column.network,
        "layer": one.column.layer,
        "genome": one.column.subject.genome,
        "unit": one.unit,
        "reason": one.cell.reason,
        "effect": None if interval is None else asdict(interval),
        "seeds": {seed: asdict(effect) for seed, effect in one.effects.items()},
        "failures": list(one.failures),
    }
