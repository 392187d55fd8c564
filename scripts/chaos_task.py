"""The task of ``scripts/chaos.py``: a small network on digits that some layers break, and that says who works on what.

One layer in twenty, chosen by its content, raises an error, one calls ``sys.exit``, one runs out of memory, one has a
score that is no number, one raises what cannot be read back from a pickle, and one leaves a process behind. These
layers are rejected, or not, in every run alike.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import evonas

FOLDER = "EVONAS_CHAOS"  # the variable of the environment that names the folder for notes
PAUSE = 0.5  # seconds of sleep in every evaluation, in which something may happen to it
_DIGITS = load_digits()
_IMAGES = torch.tensor(_DIGITS.images[:, None] / 16, dtype=torch.float32)
_LABELS = torch.tensor(_DIGITS.target)


class TwoWordsError(Exception):
    """Cannot be read back from a pickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def make(device: torch.device, batch_size: int) -> evonas.Task:
    """The task."""
    images, labels = _IMAGES.to(device), _LABELS.to(device)

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        layers = (nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
        return nn.Sequential(*layers).to(device)

    def batches(seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            chosen = torch.randint(1400, (batch_size,), generator=generator)
            yield images[chosen], labels[chosen]

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        if not hasattr(model, "chaos"):
            model.chaos = True  # type: ignore[assignment]
            _misbehave(_key(model))
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    @torch.no_grad()
    def metric(model: nn.Module) -> float:
        if _kind(_key(model)) == 3:
            return float("nan")
        return (model.eval()(images[1400:]).argmax(1) == labels[1400:]).float().mean().item()

    return evonas.Task("chaos", build, batches, loss, metric)


def _key(model: nn.Module) -> str:
    layer = next(module for module in model.modules() if hasattr(module, "genome"))
    return str(layer.genome.key)


def _kind(key: str) -> int:
    return int(key[:6], 16) % 20


def _misbehave(key: str) -> None:
    note = Path(os.environ[FOLDER]) / "working" / str(os.getpid())
    draft = note.with_suffix(".new")
    draft.write_text(json.dumps(key))
    draft.replace(note)
    time.sleep(PAUSE)
    kind = _kind(key)
    if kind == 0:
        raise ValueError("a layer that the task does not like")
    if kind == 1:
        sys.exit(0)
    if kind == 2:
        raise MemoryError
    if kind == 4:
        raise TwoWordsError("two", "words")
    if kind == 5:
        subprocess.Popen(["sleep", "3600"])
