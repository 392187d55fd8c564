"""The score after a training at small batches.

Oracles: what a task noted of its batches; the learning rates that published rules give; a training by hand.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_tasks import made_task
from torch import Tensor, nn

from evonas.config import LayerConfig, TrainingConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.search import small_batch
from evonas.search.small_batch import small_batch_score
from evonas.search.training import Training
from evonas.tasks.task import Task

S0 = CATALOGUE["evonorm-s0"]


def sized(size: int, seen: list[int], metric: float = 0.75) -> Task:
    """A task that notes how large the batches are that it trains on, and that has its size as its score."""

    def batches(seed: int) -> Iterator[Tensor]:
        draw = torch.Generator().manual_seed(seed)
        while True:
            yield torch.randn((size, 3, 4, 4), generator=draw)

    def loss(model: nn.Module, batch: Any) -> Tensor:
        seen.append(len(batch))
        return model(batch).square().mean()

    made = made_task("sized", loss, metric)
    return replace(made, batches=batches, resized=lambda other: sized(other, seen, other / 16))


def trained(task: Task, **settings: Any) -> Training:
    return Training(task, S0, TrainingConfig(**{"steps": 5, **settings}), LayerConfig(), 1)


def test_it_trains_as_many_steps_on_batches_of_four_and_takes_that_score() -> None:
    seen: list[int] = []
    assert small_batch_score(trained(sized(32, seen), batch_size=32)) == 4 / 16
    assert seen == [4] * 5


@pytest.mark.parametrize(
    ("optimizer", "batch_size", "expected"),
    [("sgd", 64, 0.1 / 16), ("sgd", 4, 0.1), ("sgd", 2, 0.2), ("adamw", 64, 0.1 / 4), ("adamw", 16, 0.1 / 2)],
)
def test_the_rate_is_linear_in_the_batch_size_for_sgd_and_its_root_for_adamw(
    optimizer: str, batch_size: int, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Training] = []

    def noted(*arguments: Any) -> Training:
        made.append(Training(*arguments))
        return made[-1]

    monkeypatch.setattr(small_batch, "Training", noted)
    task = sized(batch_size, [])
    given = trained(task, batch_size=batch_size, learning_rate=0.1, optimizer=optimizer, warmup=2)
    small_batch_score(given)
    (own,) = made
    assert own.settings.learning_rate == pytest.approx(expected)
    changed = {"learning_rate": own.settings.learning_rate, "batch_size": 4}
    assert own.settings == given.settings.model_copy(update=changed)
    assert (own.genome, own.layer, own.seed) == (given.genome, given.layer, given.seed)


def test_a_training_that_diverges_scores_nothing_and_rejects_nothing() -> None:
    task = sized(8, [])
    lost = replace(task, resized=lambda _: made_task("lost", lambda model, x: model(x).sum() * math.inf))
    assert small_batch_score(trained(lost)) == 0
    unscored = replace(task, resized=lambda _: made_task("unscored", metric=math.nan))
    assert small_batch_score(trained(unscored)) == 0


def test_a_task_of_one_batch_size_has_no_such_score() -> None:
    assert math.isnan(small_batch_score(trained(made_task())))
