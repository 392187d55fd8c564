"""Studies: a grid of sizes x learning rates x interventions x seeds, as a file says, each cell one run."""

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import product
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import Field

from evonas.config import StudyExecutionConfig, TextConfig
from evonas.config.keys import KeysOf
from evonas.config.section import NamedSection, Positive, Section, Seed, StudySection, parse_section
from evonas.errors import InputError
from evonas.report.statistics import finite
from evonas.runs.jobs import Jobs
from evonas.studies.stability.curves import diverges_slowly, spike_steps
from evonas.studies.stability.layers import norm_of
from evonas.studies.stability.probes import Reading
from evonas.studies.stability.settings import Decay, TrainingRunConfig
from evonas.studies.stability.train import train_transformer
from evonas.tasks.language.settings import width_and_depth
from evonas.tasks.language.text import Text, load_text, token_batches, windows
from evonas.tasks.sources import text_digest
from evonas.training.sensitivity import LEARNING_RATES

_CURVE_POINTS = 60  # of a loss curve that is kept
SPIKE_WINDOW = 100  # desk runs are shorter than the 1000 steps of the definition


class StabilityGrid(Section):
    """``[grid]``: sizes are names of the ladder, or ``WIDTHxDEPTH``; learning rates are peaks."""

    sizes: Annotated[tuple[str, ...], Field(min_length=1)] = ("55k", "147k", "332k")
    """Sizes of the transformer: `55k`, `147k`, `332k`, `786k`, `2.2m`, `4.7m`, or WIDTHxDEPTH such as `96x3`."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = LEARNING_RATES
    """Learning rates at their highest."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1, 2, 3)
    """Seeds of weights and batches."""


class InterventionConfig(NamedSection):
    """``[[interventions]]``: what it is called, and which keys of a run it sets."""

    run: Annotated[dict[str, Any], KeysOf(TrainingRunConfig)] = Field(default_factory=dict)
    """The keys of a run that this intervention sets."""


class StabilityStudyConfig(StudySection):
    """A study file. ``run`` holds what all runs share, an intervention what differs; the grid sets the rest."""

    file_kind: ClassVar[str] = "stability"

    text: TextConfig = TextConfig()
    """What the transformers read."""
    grid: StabilityGrid = StabilityGrid()
    """Everything is trained at each of these."""
    run: Annotated[dict[str, Any], KeysOf(TrainingRunConfig)] = Field(default_factory=dict)
    """What all runs share."""
    interventions: Annotated[tuple[InterventionConfig, ...], Field(min_length=1)]
    """What is compared; differences are to the first one."""
    execution: StudyExecutionConfig = StudyExecutionConfig()
    """Where the work is done."""


class StabilityRun(Section):
    """One run and its text: everything its outcome depends on."""

    text: TextConfig
    run: TrainingRunConfig


class StabilityCell(Section):
    """A place in the grid, and how weights decay there, by which the sensitivity is judged."""

    intervention: str
    size: str
    learning_rate: float
    seed: int
    decay: Decay = "independent"


def stability_runs(study: StabilityStudyConfig) -> dict[StabilityCell, StabilityRun]:
    """Every cell of the grid with its run, small sizes first.

    Raises:
        InputError: a wrong size, key or value, two interventions of one name, or a text too short for the context.
    """
    names = [intervention.name for intervention in study.interventions]
    for name in names:
        if names.count(name) > 1:
            raise InputError("interventions", f"two are called {name!r}", remedy="give one of them another name")
    places = product(study.grid.sizes, study.interventions, study.grid.learning_rates, study.grid.seeds)
    found = {}
    for size, intervention, rate, seed in places:
        run = _run(study, intervention, size, rate, seed)
        cell = StabilityCell(
            intervention=intervention.name, size=size, learning_rate=rate, seed=seed, decay=run.optimizer.decay
        )
        found[cell] = StabilityRun(text=study.text, run=run)
    text = _text(study.text)
    for context in {spec.run.model.context for spec in found.values()}:
        token_batches(text.train, context, 1, 0)
        windows(text.validation, context, 1)
    return found


def stability_jobs(runs: Mapping[StabilityCell, StabilityRun]) -> Jobs[StabilityRun]:
    """The runs as jobs."""
    sizes = {run: cell.size for cell, run in runs.items()}
    return Jobs(
        list(sizes),
        do_stability_run,
        ("studies/stability",),
        data=lambda run: {"text": text_digest(run.text)},
        doing=lambda run: f"training {sizes[run]}",
    )


def do_stability_run(spec: StabilityRun, _needed: Mapping[StabilityRun, Any] = MappingProxyType({})) -> dict[str, Any]:
    """One run, as the record keeps it: numbers that are not finite are null."""
    result = train_transformer(spec.run, _text(spec.text))
    every = max(1, spec.run.steps // _CURVE_POINTS)
    return {
        "size": result.size,
        "initial_loss": result.initial_loss,
        "final_loss": finite(result.final_loss),
        "steps": len(result.losses),
        "slow": diverges_slowly(result.losses),
        "spikes": len(spike_steps(result.losses, window=SPIKE_WINDOW)),
        "losses": [[step + 1, finite(loss)] for step, loss in enumerate(result.losses) if (step + 1) % every == 0],
        "readings": [[reading.step, condensed(reading)] for reading in result.readings],
    }


def condensed(reading: Reading) -> dict[str, float | None]:
    """What is kept of a reading: the largest logit and mean entropy of each block, and single numbers.

    Of gradients, updates and parameters those of the first MLP layer, which the paper follows, and of the head; of all
    gradients the one nearest to Adam's epsilon, and of all stable ranks the least.
    """
    values = reading.values
    kept: dict[str, float] = {}
    for block in {name.split(".")[1] for name in values if name.startswith("blocks.")}:
        heads = [name for name in values if name.startswith(f"blocks.{block}.heads.")]
        kept[f"blocks.{block}.max_logit"] = max(values[name] for name in heads if name.endswith("max_logit"))
        entropies = [values[name] for name in heads if name.endswith("entropy")]
        kept[f"blocks.{block}.entropy"] = sum(entropies) / len(entropies)
        for part in ("rms", "attention_rms", "mlp_rms", "query_rms", "key_rms"):
            kept[f"blocks.{block}.{part}"] = values[f"blocks.{block}.{part}"]
        for part in ("qk_spectral_entropy", "jacobian", "alignment"):
            if (name := f"blocks.{block}.{part}") in values:
                kept[name] = values[name]
    kept["log_z"], kept["learning_rate"] = values["log_z"], values["learning_rate"]
    for parameter in ("blocks.0.mlp.up.weight", "head.weight"):
        for what in ("gradient_rms", "parameter_rms", "update_rms"):
            if (name := f"{what}.{parameter}") in values:
                kept[name] = values[name]
    if ranks := [value for name, value in values.items() if name.startswith("stable_rank.")]:
        kept["least stable_rank"] = min(ranks)
    ratios = [value for name, value in values.items() if name.startswith("gradient_over_epsilon.")]
    kept["least gradient_over_epsilon"] = min(ratios, default=math.nan)
    return {name: finite(value) for name, value in sorted(kept.items())}


def _run(
    study: StabilityStudyConfig, intervention: InterventionConfig, size: str, rate: float, seed: int
) -> TrainingRunConfig:
    try:
        width, depth = width_and_depth(size)
    except InputError as error:
        raise error.at("grid.sizes") from None
    data = _merged(study.run, intervention.run)
    vocabulary = {"vocabulary": study.text.vocabulary} if study.text.tokens == "bpe" else {}
    cell = {
        "model": {"width": width, "depth": depth, **vocabulary},
        "optimizer": {"learning_rate": rate},
        "seed": seed,
        "device": study.execution.device,
    }
    for key in _leaves(cell) & _leaves(data):
        raise InputError(f"run.{key}", "is set by hand", remedy="the grid, the text and [execution] set it")
    run = parse_section(TrainingRunConfig, _merged(data, cell), f"interventions: {intervention.name}, size {size}")
    if run.layer:
        try:
            norm_of(run.layer, run.groups, run.model.norm_eps)
        except InputError as error:
            raise error.at(f"interventions: {intervention.name}") from None
    return run


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Tables joined, deep; what both have is the second's."""
    result = dict(first)
    for key, value in second.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _leaves(data: Mapping[str, Any], prefix: str = "") -> set[str]:
    """Dotted names of all values."""
    found: set[str] = set()
    for key, value in data.items():
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key}
    return found


@lru_cache(maxsize=2)
def _text(config: TextConfig) -> Text:
    return load_text(config)
