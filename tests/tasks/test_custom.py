"""Tasks of users. Oracle: the objects that a module written here gives."""

import sys
from pathlib import Path

import pytest
import torch

from evonas import config
from evonas.config import TaskConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.search.cached import context_of
from evonas.search.evaluator import evaluator_from_config
from evonas.tasks.custom import custom_task

MODULE = '''
import torch
from torch import nn
from evonas import Task

NUMBER = 3


class Network(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.LazyLinear(1))
        self(torch.zeros(2, 3, 6, 6))


def build(seed):
    torch.manual_seed(seed)
    return Network()


def parity(device, batch_size):
    """Regression on the mean of noise."""

    def batches(seed):
        draw = torch.Generator().manual_seed(seed)
        while True:
            yield torch.randn(batch_size, 3, 6, 6, generator=draw).to(device)

    def loss(model, x):
        return ((model(x).flatten() - x.mean((1, 2, 3))) ** 2).mean()

    return Task("anything", build, batches, loss, lambda model: 0.5)


def nothing(device, batch_size):
    return None
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_tasks_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def search(module: str) -> config.SearchConfig:
    return config.loads(f'name = "own"\n[[tasks]]\ntask = "{module}:parity"\n', ["training.steps=2"])


def test_a_layer_is_trained_on_a_task_of_a_user(module: str) -> None:
    found = evaluator_from_config(search(module))(CATALOGUE["evonorm-s0"], gated=False)
    assert found.objectives == {"parity": 0.5}
    assert found.steps == 2


def test_a_named_task_has_that_name_and_the_batch_size(module: str) -> None:
    task = custom_task(TaskConfig(task=f"{module}:parity", name="mine"), 5, torch.device("cpu"))
    assert task.name == "mine"
    assert next(task.batches(1)).shape == (5, 3, 6, 6)


def test_what_a_run_may_share_depends_on_the_code_of_the_task(module: str, tmp_path: Path) -> None:
    before = context_of(search(module))
    (tmp_path / f"{module}.py").write_text(MODULE + "# a comment\n")
    assert context_of(search(module)) == before
    (tmp_path / f"{module}.py").write_text(MODULE + "CHANGED = 1\n")
    assert context_of(search(module)) != before


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("other", ["has no function 'other'", "parity", "nothing"]),
        ("NUMBER", ["has no function 'NUMBER'"]),
        ("nothing", ["gives a NoneType", "evonas.Task"]),
    ],
)
def test_what_is_no_task_is_refused(module: str, function: str, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        custom_task(TaskConfig(task=f"{module}:{function}"), 1, torch.device("cpu"))
    assert all(word in str(error.value) for word in ["tasks.task", *words]), error.value


def test_a_missing_package_is_named() -> None:
    with pytest.raises(InputError, match=r"tasks\.task: nowhere\.at:all: cannot be imported .*PYTHONPATH"):
        custom_task(TaskConfig(task="nowhere.at:all"), 1, torch.device("cpu"))
