"""The language model as a task: layers stand in the place of its norms."""

import math
from collections.abc import Iterator
from functools import cache, partial

import torch
from torch import Tensor, nn

from evonas.config import TaskConfig
from evonas.seeding import derive_seed
from evonas.tasks.language.loss import z_loss_cross_entropy
from evonas.tasks.language.model import build_transformer
from evonas.tasks.language.settings import sized
from evonas.tasks.language.text import Text, token_batches, windows
from evonas.tasks.task import Task
from evonas.training.modes import evaluating

_NORMS = ("blocks.*.attention_norm", "blocks.*.mlp_norm", "norm")  # all but those of queries and keys
VALIDATION = 64  # windows that give the metric

TextBatch = tuple[Tensor, Tensor]


def language_task(task: TaskConfig, text: Text, batch_size: int, device: torch.device) -> Task:
    """A transformer that predicts the next token; the metric is the likelihood of the validation text.

    The metric is exp(-l), l the mean cross entropy in nats: the geometric mean of the probabilities that the model
    gives the tokens that come.

    Raises:
        InputError: no such size, a width that heads do not divide, or a text shorter than the context.
    """
    config = sized(task.transformer, vocabulary=text.vocabulary, context=task.context)
    validation = windows(text.validation.to(device), config.context, VALIDATION)
    train = text.train.to(device)
    token_batches(train, config.context, batch_size, 0)  # so that a text that is too short is refused now
    return Task(
        name=task.label,
        build=lambda seed: build_transformer(config, derive_seed(seed, "weights")).to(device),
        batches=partial(_batches, train, config.context, batch_size),
        loss=_loss,
        metric=partial(token_likelihood, validation, batch_size),
        norms=_NORMS,
        resized=cache(lambda size: language_task(task, text, size, device)),
    )


def _batches(tokens: Tensor, context: int, batch_size: int, seed: int) -> Iterator[TextBatch]:
    return token_batches(tokens, context, batch_size, derive_seed(seed, "batches"))


def _loss(model: nn.Module, batch: TextBatch) -> Tensor:
    return z_loss_cross_entropy(model(batch[0]), batch[1])


@torch.no_grad()
def token_likelihood(validation: TextBatch, batch_size: int, model: nn.Module) -> float:
    """exp(-mean cross entropy) of the windows, in evaluation mode; the modes of its modules are left as they were."""
    inputs, targets = validation
    total = 0.0
    with evaluating(model):
        for part, wanted in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            total += len(part) * float(z_loss_cross_entropy(model(part), wanted))
    return math.exp(-total / len(inputs))
