"""Calls models of several makes: plain torch ones, and transformers' with their named inputs and outputs."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from evonas.training.modes import evaluating


def call(model: nn.Module, batch: Any) -> Any:
    """Run a model on a batch: its input, its inputs by name, or a tuple whose first element is the input.

    Models that keep keys and values for decoding do not.
    """
    options = {"use_cache": False} if accepts(model, "use_cache") else {}
    if isinstance(batch, Mapping):
        return model(**{**batch, **options})
    return model(batch if isinstance(batch, Tensor) else batch[0], **options)


def accepts(model: nn.Module, argument: str) -> bool:
    """Whether ``forward`` names this argument."""
    return argument in inspect.signature(model.forward).parameters


def output_of(result: Any) -> Tensor:
    """The tensor that matters in what a module gave: itself, its logits, or the first of several."""
    if isinstance(result, Tensor):
        return result
    logits = logits_of(result)
    output: Tensor = result[0] if logits is None else logits
    return output


def is_distribution(result: Any) -> bool:
    """Whether a model says that what it gave are logits."""
    return logits_of(result) is not None


def logits_of(result: Any) -> Tensor | None:
    """What a model calls its logits, as an attribute or by name; None if it names none."""
    found: Any = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
    return found if isinstance(found, Tensor) else None


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Evaluation without gradients; the modes of all parts are put back."""
    with evaluating(model), torch.no_grad():
        yield
