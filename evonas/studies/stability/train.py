"""One run: a proxy model trained on a text at one learning rate."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from evonas.errors import InputError
from evonas.seeding import derive_seed
from evonas.studies.stability.layers import norm_of
from evonas.studies.stability.optimizer import GradientClip, make_schedule, transformer_optimizer
from evonas.studies.stability.probes import Probes, Reading
from evonas.studies.stability.qk_clip import QkClip
from evonas.studies.stability.settings import TrainingRunConfig
from evonas.tasks.language.loss import z_loss_cross_entropy
from evonas.tasks.language.model import NormFactory, Transformer, build_transformer
from evonas.tasks.language.text import Text, token_batches, windows
from evonas.training.device import find_device
from evonas.training.fit import StopReason, fit
from evonas.training.modes import evaluating
from evonas.training.sensitivity import diverged

CHECK_EVERY = 10  # steps between looks at the loss on a GPU, which wait for it

TokenBatch = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class RunResult:
    """The results of one run.

    Attributes:
        config: what was run.
        size: N, the number of parameters without embedding and head.
        initial_loss: cross entropy on the validation windows at initialization, in nats a token.
        final_loss: the same after training; NaN where the training loss left the finite numbers.
        losses: of each step taken, z-loss included.
        gradient_norms: global norm of the gradient at each step taken, before clipping.
        readings: of the probes.
        stop: why it ended.
    """

    config: TrainingRunConfig
    size: int
    initial_loss: float
    final_loss: float
    losses: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    readings: tuple[Reading, ...]
    stop: StopReason

    @property
    def diverged(self) -> bool:
        """Whether it ended worse than it began; see ``evonas.training.sensitivity.diverged``."""
        return diverged(self.final_loss, self.initial_loss)


def train_transformer(
    config: TrainingRunConfig,
    text: Text,
    *,
    make_norm: NormFactory | None = None,
    on_probe: Callable[[Reading], None] | None = None,
) -> RunResult:
    """Train a model; a loss that is not finite ends the run early.

    Initial weights, batches and validation windows depend on the seed, the sizes and the text alone: runs that differ
    in a switch are comparable step by step.

    Args:
        config: everything but the text.
        text: where tokens come from.
        make_norm: makes the layers in place of the norms, from their width; ``config.model.norm`` is then their name.
            Without one they are ``config.layer`` or ``config.model.norm``.
        on_probe: called with each reading of the probes.

    Raises:
        InputError: more tokens than the model's vocabulary, a text shorter than the context, no such device, norm, or
            parameter to exempt from decay.
    """
    if text.vocabulary > config.model.vocabulary:
        found = f"{config.model.vocabulary}, and a text of {text.vocabulary} different tokens"
        raise InputError("model.vocabulary", found, accepted=f"{text.vocabulary} or more")
    device = find_device(config.device, "device")
    context = config.model.context
    seed = derive_seed(config.seed, "batches")
    stream = token_batches(text.train.to(device), context, config.batch_size, seed)
    validation = windows(text.validation.to(device), context, config.validation)
    settings = config.model
    if config.layer and make_norm is None:
        make_norm = norm_of(config.layer, config.groups, settings.norm_eps)
        settings = settings.model_copy(update={"norm": f"layer {config.layer}"})
    model = build_transformer(settings, config.seed, make_norm).to(device)
    optimizer = transformer_optimizer(model, config.optimizer)
    schedule = make_schedule(optimizer, config.optimizer, config.steps)
    gradient_clip = GradientClip(optimizer, config.optimizer.clip)
    probes = Probes(
        model, optimizer, steps=config.steps, every=config.probe_every, spectral=config.spectral, on_reading=on_probe
    )
    qk_clip = QkClip(model, config.qk_clip) if config.qk_clip else None

    def loss(batch: TokenBatch) -> Tensor:
        return z_loss_cross_entropy(_logits(model, batch[0], config), batch[1], config.z_loss)

    def after_step(step: int, value: Tensor) -> None:
        probes.after_step(step, value)  # first: the update it reads is the optimizer's
        if qk_clip is not None:
            qk_clip.after_step()

    initial = _validation_loss(model, validation, config)
    with probes, qk_clip or nullcontext():
        check_every = 1 if device.type == "cpu" else CHECK_EVERY
        trace = fit(
            loss,
            stream,
            optimizer,
            steps=config.steps,
            schedule=schedule,
            after_step=after_step,
            check_every=check_every,
        )
    finished = trace.stop is StopReason.COMPLETED
    return RunResult(
        config=config,
        size=model.size,
        initial_loss=initial,
        final_loss=_validation_loss(model, validation, config) if finished else float("nan"),
        losses=trace.losses,
        gradient_norms=tuple(torch.stack(gradient_clip.norms).tolist()),
        readings=tuple(probes.readings),
        stop=trace.stop,
    )


def _logits(model: Transformer, tokens: Tensor, config: TrainingRunConfig) -> Tensor:
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=config.dtype == "bfloat16"):
        logits: Tensor = model(tokens)
    return logits


@torch.no_grad()
def _validation_loss(model: Transformer, validation: TokenBatch, config: TrainingRunConfig) -> float:
    """Mean cross entropy, without z-loss, in evaluation mode."""
    inputs, targets = validation
    total = 0.0
    with evaluating(model):
        for part, wanted in zip(inputs.split(config.batch_size), targets.split(config.batch_size), strict=True):
            total += len(part) * float(z_loss_cross_entropy(_logits(model, part, config), wanted))
    return total / len(inputs)
