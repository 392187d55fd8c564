"""A few hundred steps of training of a user's language model at several learning rates, with probes on its blocks."""

import copy
import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from evonas.config import StudyExecutionConfig, TextConfig
from evonas.config.section import Count, Positive, PositiveInt, Section, Seed, StudySection
from evonas.errors import InputError
from evonas.report.statistics import finite
from evonas.runs.jobs import Jobs
from evonas.seeding import derive_seed
from evonas.studies.stability.block_probes import BlockProbes, blocks_of
from evonas.studies.stability.optimizer import GradientClip, make_schedule
from evonas.studies.stability.settings import OptimizerConfig
from evonas.surgery.calls import call, output_of
from evonas.tasks.language.loss import z_loss_cross_entropy
from evonas.tasks.language.pretrained import LanguageModel, load_language_model
from evonas.tasks.language.text import read_text, token_batches, windows
from evonas.tasks.sources import text_digest
from evonas.training.device import find_device
from evonas.training.fit import StopReason, fit
from evonas.training.modes import evaluating, seeded

HUB = "hf:"  # may stand before an id of the hub


class PretrainedStabilityConfig(StudySection):
    """A study file."""

    file_kind: ClassVar[str] = "pretrained"

    pretrained: Annotated[str, Field(min_length=1)]
    """An id of the hub, `hf:` before it or not, a folder or a GGUF file."""
    text: TextConfig = TextConfig()
    """What the model is trained on."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1e-5, 1e-4, 1e-3)
    """Learning rates at their highest."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1,)
    """Seeds of the batches."""
    steps: PositiveInt = 200
    """Training steps."""
    batch_size: PositiveInt = 2
    """Windows of text in a step."""
    context: PositiveInt = 128
    """Tokens of a window."""
    validation: PositiveInt = 16
    """Windows of text that give the validation loss."""
    probe_every: Count = 20
    """Steps between two looks at the model, beside that at the last step. 0: never."""
    spectral: bool = True
    """Whether spectra of weights and blocks are looked at as well."""
    optimizer: OptimizerConfig = OptimizerConfig(warmup=20, decay="coupled")
    """AdamW with its schedule."""
    execution: StudyExecutionConfig = StudyExecutionConfig()
    """Where the work is done."""


class PretrainedRun(Section):
    """One training: everything its outcome depends on, but for the content of files."""

    pretrained: str
    text: TextConfig
    optimizer: OptimizerConfig
    seed: Seed
    steps: int
    batch_size: int
    context: int
    validation: int
    probe_every: int
    spectral: bool
    device: str


def pretrained_runs(study: PretrainedStabilityConfig) -> dict[tuple[float, int], PretrainedRun]:
    """The trainings by learning rate and seed.

    Raises:
        InputError: a model or a text that cannot be read, a model without blocks, or a text shorter than a window.
    """
    source = study.pretrained.removeprefix(HUB)
    shared = {key: getattr(study, key) for key in PretrainedRun.model_fields if hasattr(study, key)}
    if study.optimizer.warmup >= study.steps:
        raise InputError("optimizer.warmup", str(study.optimizer.warmup), accepted=f"less than {study.steps} steps")
    found = {}
    for rate in dict.fromkeys(study.learning_rates):
        lowest = min(rate, study.optimizer.final_learning_rate)
        optimizer = study.optimizer.model_copy(update={"learning_rate": rate, "final_learning_rate": lowest})
        for seed in dict.fromkeys(study.seeds):
            changed = {"pretrained": source, "optimizer": optimizer, "seed": seed, "device": study.execution.device}
            found[rate, seed] = PretrainedRun(**shared | changed)
    first = next(iter(found.values()))
    blocks_of(_model(source, first.device).model)
    _text(first)
    return found


def pretrained_jobs(runs: Mapping[tuple[float, int], PretrainedRun]) -> Jobs[PretrainedRun]:
    """The trainings as jobs."""
    rates = {run: rate for (rate, _), run in runs.items()}
    return Jobs(
        list(rates),
        do_pretrained_run,
        ("studies/stability",),
        data=lambda run: {"text": text_digest(run.text), "model": _model(run.pretrained, run.device).identity},
        doing=lambda run: f"training at {rates[run]:g}",
    )


def do_pretrained_run(
    spec: PretrainedRun, _needed: Mapping[PretrainedRun, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """One training, as the record keeps it: numbers that are not finite are null."""
    with seeded(derive_seed(spec.seed, "dropout")):  # its masks come from torch's generator
        return _train(spec)


def _train(spec: PretrainedRun) -> dict[str, Any]:
    model = copy.deepcopy(_model(spec.pretrained, spec.device).model).requires_grad_(True).train()
    train, validation = _text(spec)
    config = spec.optimizer
    decay = config.decay_rate / (config.learning_rate if config.decay == "independent" else 1)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        weight_decay=decay,
    )
    schedule, clip = make_schedule(optimizer, config, spec.steps), GradientClip(optimizer, config.clip)
    probes = BlockProbes(model, optimizer, every=spec.probe_every, steps=spec.steps, spectral=spec.spectral)
    batches = token_batches(train, spec.context, spec.batch_size, derive_seed(spec.seed, "batches"))

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        with probes.watching():
            return z_loss_cross_entropy(output_of(call(model, batch[0])), batch[1])

    before = _validation_loss(model, validation, spec.batch_size)
    trace = fit(loss, batches, optimizer, steps=spec.steps, schedule=schedule, after_step=probes.after_step)
    finished = trace.stop is StopReason.COMPLETED
    after = _validation_loss(model, validation, spec.batch_size) if finished else math.nan
    norms = torch.stack(clip.norms).tolist()
    return {
        "initial_loss": before,
        "final_loss": finite(after),
        "losses": [[step + 1, finite(value)] for step, value in enumerate(trace.losses)],
        "readings": [
            [step, {"gradient_norm": finite(norms[step]), **{k: finite(v) for k, v in values.items()}}]
            for step, values in probes.readings
        ],
    }


@lru_cache(maxsize=1)
def _model(source: str, device: str) -> LanguageModel:
    return load_language_model(source, device=find_device(device))


def _text(spec: PretrainedRun) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Tokens to train on, and the windows that validate."""
    language, device = _model(spec.pretrained, spec.device), find_device(spec.device)
    train, validation = (language.encode(part).to(device) for part in read_text(spec.text))
    token_batches(train, spec.context, spec.batch_size, 0)
    return train, windows(validation, spec.context, spec.validation)


@torch.no_grad()
def _validation_loss(model: nn.Module, validation: tuple[Tensor, Tensor], batch_size: int) -> float:
    inputs, targets = validation
    total = 0.0
    with evaluating(model):
        for part, wanted in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            total += len(part) * float(z_loss_cross_entropy(output_of(call(model, part)), wanted))
    return total / len(inputs)
