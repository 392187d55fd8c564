"""Calls models of several makes: plain torch ones, and transformers' with their named inputs and outputs."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


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
    output: Tensor = result["logits"] if is_distribution(result) else result[0]
    return output


def is_distribution(result: Any) -> bool:
    """Whether a model says that what it gave are logits."""
    return isinstance(result, Mapping) and "logits" in result


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; the modes of all parts are put back."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Evaluation without gradients; the modes of all parts are put back."""
    with evaluation(model), torch.no_grad():
        yield
