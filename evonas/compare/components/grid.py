"""The cells of the table: which jobs each needs, what its effect is, or why it makes no sense."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from evonas.compare.components.jobs import Job, Masked, Predicted, Steered
from evonas.compare.components.networks import Subject, Trained
from evonas.compare.components.settings import ComponentName, ComponentsConfig
from evonas.report.statistics import finite
from evonas.runs.store import Outcome
from evonas.studies.steering.results import StrengthPoint, at_rise
from evonas.training.sensitivity import lr_sensitivity, stability_margin

Outcomes = Mapping[Job, Outcome]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a component does to a network under one seed: a figure without it, the figure with it, and the effect."""

    without: float | None
    with_it: float | None
    effect: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A component in a network with a layer.

    Attributes:
        component: its name.
        subject: the network with its layer.
        reason: why the cell makes no sense; empty if it does.
        jobs: by seed, what has to be done.
        read: from the seed and the outcomes to the effect; None where the figure does not exist.
    """

    component: ComponentName
    subject: Subject
    reason: str = ""
    jobs: Mapping[int, Sequence[Job]] | None = None
    read: Callable[[int, Outcomes], Effect | None] | None = None


def cell(study: ComponentsConfig, component: ComponentName, subject: Subject) -> Cell:
    """The cell of a component and a network."""
    if reason := _senseless(component, subject):
        return Cell(component, subject, reason)
    if component in ("qk-layernorm", "z-loss"):
        return _over_rates(study, component, subject)
    if component == "lineas":
        return _steered(study, subject)
    if component == "mip":
        return _predicted(study, subject)
    return _masked(study, component, subject)


def _senseless(component: ComponentName, subject: Subject) -> str:
    if subject.network.task is None and component in ("qk-layernorm", "z-loss", "mip"):
        return "it would have to be trained from scratch"
    if component == "qk-layernorm" and not subject.reads_text:
        return "it has no attention"
    return ""


def _over_rates(study: ComponentsConfig, component: ComponentName, subject: Subject) -> Cell:
    """Sensitivity to the learning rate: loss over the rates, clipped at the initial one, minus that of the best."""
    factors = dict.fromkeys(study.rates.factors)
    without = {"qk_layernorm": False} if component == "qk-layernorm" else {}
    having = {"z_loss": study.rates.z_loss} if component == "z-loss" else {}

    def sweep(seed: int, switches: Mapping[str, float | bool]) -> dict[float, Trained]:
        return {f: Trained(subject=subject, seed=seed, factor=f, **switches) for f in factors}  # type: ignore[arg-type]

    def sensitivity(runs: Mapping[float, Trained], outcomes: Outcomes) -> float | None:
        values = {factor: outcomes[run].value for factor, run in runs.items()}
        if any(value is None for value in values.values()):
            return None
        losses = {f: math.nan if v["after"] is None else v["after"] for f, v in values.items() if v}
        found = lr_sensitivity(losses, next(v["before"] for v in values.values() if v))
        return finite(found)

    def read(seed: int, outcomes: Outcomes) -> Effect | None:
        plain, changed = (sensitivity(sweep(seed, switches), outcomes) for switches in (without, having))
        return None if plain is None or changed is None else Effect(plain, changed, changed - plain)

    jobs = {seed: [*sweep(seed, without).values(), *sweep(seed, having).values()] for seed in study.seeds}
    return Cell(component, subject, jobs=jobs, read=read)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A network as it is, trained at several learning rates.

    Attributes:
        losses: by factor of the network's own learning rate, the final loss of each seed; nan where it diverged.
        initial: the loss before training, by seed.
    """

    losses: Mapping[float, Mapping[int, float]]
    initial: Mapping[int, float]

    def sensitivities(self) -> list[float]:
        """By seed; see ``lr_sensitivity``."""
        return [lr_sensitivity(self._of(seed), first) for seed, first in self.initial.items()]

    def margins(self) -> list[float]:
        """By seed; see ``stability_margin``."""
        return [stability_margin(self._of(seed), first) for seed, first in self.initial.items()]

    def _of(self, seed: int) -> dict[float, float]:
        return {factor: by_seed[seed] for factor, by_seed in self.losses.items()}


def sweep_of(study: ComponentsConfig, subject: Subject, outcomes: Outcomes) -> Sweep | None:
    """The trainings of a network as it is; None where the study has none, or one of them failed."""
    factors = dict.fromkeys(study.rates.factors)
    jobs = {(f, seed): Trained(subject=subject, seed=seed, factor=f) for f in factors for seed in study.seeds}
    if not all(job in outcomes and outcomes[job].value for job in jobs.values()):
        return None
    values = {place: outcomes[job].value or {} for place, job in jobs.items()}
    after = {place: math.nan if value["after"] is None else value["after"] for place, value in values.items()}
    losses = {factor: {seed: after[factor, seed] for seed in study.seeds} for factor in factors}
    return Sweep(losses, {seed: values[next(iter(factors)), seed]["before"] for seed in study.seeds})


def _base(subject: Subject, seed: int) -> Trained | None:
    return None if subject.network.task is None else Trained(subject=subject, seed=seed)


def _masked(study: ComponentsConfig, component: ComponentName, subject: Subject) -> Cell:
    def job(seed: int) -> Masked:
        return Masked(
            subject=subject,
            trained=_base(subject, seed),
            component=component,
            masks=study.masks,
            concept=study.concept,
            seed=seed,
        )

    def read(seed: int, outcomes: Outcomes) -> Effect | None:
        value = outcomes[job(seed)].value
        return None if value is None else Effect(value["plain"], value["with"], value["with"] - value["plain"])

    return Cell(component, subject, jobs={seed: [job(seed)] for seed in study.seeds}, read=read)


def _steered(study: ComponentsConfig, subject: Subject) -> Cell:
    def job(seed: int) -> Steered:
        return Steered(subject=subject, trained=_base(subject, seed), concept=study.concept, seed=seed)

    def read(seed: int, outcomes: Outcomes) -> Effect | None:
        value = outcomes[job(seed)].value
        if value is None:
            return None
        points = [StrengthPoint(s, p or 0.0, math.inf if cost is None else cost) for s, p, cost in value["curve"]]
        plain, found = points[0].score, at_rise(points, study.concept.rise).score
        return Effect(plain, found, found / plain - 1) if plain else None

    return Cell("lineas", subject, jobs={seed: [job(seed)] for seed in study.seeds}, read=read)


def _predicted(study: ComponentsConfig, subject: Subject) -> Cell:
    settings, forms = study.hypernetwork, ("default", "mip")
    jobs = {
        (form, rate, seed): Predicted(
            subject=subject, hypernetwork=settings, parametrization=form, learning_rate=rate, seed=seed
        )
        for form, rate, seed in product(forms, dict.fromkeys(settings.learning_rates), study.seeds)
    }

    def final(form: str, rate: float, outcomes: Outcomes) -> float:
        """Mean over seeds of the last loss; infinite where one of them has none."""
        values = [outcomes[jobs[form, rate, seed]].value for seed in study.seeds]
        ends = [value["curve"][-1][1] if value else None for value in values]
        return math.inf if None in ends else sum(filter(None, ends)) / len(ends)

    def read(seed: int, outcomes: Outcomes) -> Effect | None:
        """Steps of the default over those of MIP until the default's last loss is reached."""
        best = {form: min(settings.learning_rates, key=lambda rate: final(form, rate, outcomes)) for form in forms}
        if math.isinf(final("default", best["default"], outcomes)):
            return None
        curves = {form: outcomes[jobs[form, best[form], seed]].value for form in forms}
        if curves["default"] is None or curves["mip"] is None:
            return None
        wanted = curves["default"]["curve"][-1][1]
        steps = {form: _steps_to(wanted, curve["curve"]) for form, curve in curves.items() if curve}
        if steps["default"] is None or steps["mip"] is None:
            return None
        return Effect(steps["default"], steps["mip"], steps["default"] / steps["mip"])

    by_seed = {seed: [job for (_, _, of), job in jobs.items() if of == seed] for seed in study.seeds}
    return Cell("mip", subject, jobs=by_seed, read=read)


def _steps_to(wanted: float, curve: Sequence[Sequence[float | None]]) -> float | None:
    return next((step for step, value in curve if step and value is not None and value <= wanted), None)
