"""Every objective on every kind of task, with a layer that depends on the batch and one that does not.

Oracle: what the task has says which objectives it must be refused; all others must be finite.
"""

import math
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from evonas import config
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search import objectives, small_batch
from evonas.search.evaluator import evaluator_from_config
from evonas.search.objectives import OBJECTIVES
from evonas.search.training import Training

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

MODULE = """
import torch
from torch import nn
from evonas import Task


def build(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2))


def own(device, batch_size):
    def batches(seed):
        draw = torch.Generator().manual_seed(seed)
        while True:
            yield torch.randn(batch_size, 3, 6, 6, generator=draw).to(device)

    return Task("own", build, batches, lambda model, x: model(x).square().mean(), lambda model: 0.5)


def of_one_size(device, batch_size):
    if batch_size != 16:
        raise ValueError("batches of 16 are all there is")
    return own(device, batch_size)
"""
TASKS = {
    "images": "[[tasks]]\narchitecture = 'preact_resnet'\nwidth = 0.03125\ndepth = [1, 1]\nunstrided = 1",
    "tokens": "[[tasks]]\ntransformer = '16x1'\ncontext = 8",
    "own": "[[tasks]]\ntask = '{module}:own'",
}
REFUSED = {
    "images": set[str](),
    "tokens": {"shift"},
    "own": {"activation_sparsity", "shift"},  # a head alone has no input to drop
}
LAYERS = {
    "maps over the batch": CATALOGUE["bn-relu"],
    "maps": CATALOGUE["gn-relu"],
    "tokens over the batch": Genome.from_formula("x / std[bt](x) * v1"),
    "tokens": CATALOGUE["layernorm"],
}
SETTINGS = """
name = "crossing"
training = {{steps = 4, batch_size = 16, learning_rate = 0.01}}
protocols.quality = {{steps = 2, min_accuracy = 0.0}}
data = {{train = 64, validation = 32}}
{space}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("crossing")
    (folder / "tasks_of_the_crossing.py").write_text(MODULE)
    sys.path.insert(0, str(folder))
    yield "tasks_of_the_crossing"
    sys.path.remove(str(folder))
    sys.modules.pop("tasks_of_the_crossing", None)


def search(kind: str, module: str, names: list[str]) -> config.SearchConfig:
    space = "space.layout = 'btd'" if kind == "tokens" else ""
    text = SETTINGS.format(space=space) + TASKS[kind].format(module=module)
    optimizer = ["training.optimizer='adamw'"] if kind == "tokens" else []
    return config.loads(text, [*(f"objectives.{name}=true" for name in names), *optimizer])


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", OBJECTIVES.builtin)
def test_an_objective_is_refused_at_the_start_or_can_be_measured(kind: str, name: str, module: str) -> None:
    if name in REFUSED[kind]:
        with pytest.raises(InputError, match=rf"\bobjectives\.{name}: .*; accepted: .* as the first task"):
            evaluator_from_config(search(kind, module, [name]))
    else:
        assert evaluator_from_config(search(kind, module, [name])).objectives == (name,)


@pytest.mark.parametrize(
    ("kind", "layer"),
    [(kind, layer) for kind in TASKS for layer in LAYERS if (kind == "tokens") == layer.startswith("tokens")],
)
def test_what_is_not_refused_is_finite_for_layers_with_and_without_the_batch(
    kind: str, layer: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "SHAPES", {"bchw": (2, 8, 4, 4), "btd": (2, 4, 8)})  # small, to be fast
    names = [name for name in OBJECTIVES.builtin if name not in REFUSED[kind]]
    found = evaluator_from_config(search(kind, module, names))(LAYERS[layer])
    assert found.rejection is None, found.rejection
    assert list(found.extras) == names
    assert all(math.isfinite(value) for value in found.extras.values())
    assert 0 < found.extras["small_batch"] <= 1


def test_a_task_that_cannot_be_made_at_batch_size_4_is_refused_at_the_start(module: str) -> None:
    settings = search("own", module, ["small_batch"])
    task = settings.tasks[0].model_copy(update={"task": f"{module}:of_one_size"})
    with pytest.raises(InputError, match=r"^objectives\.small_batch: of_one_size .* batches of 16 are all there is"):
        evaluator_from_config(settings.model_copy(update={"tasks": (task,)}))


def test_of_several_learning_rates_small_batches_follow_the_best(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Training] = []

    def noted(*arguments: Any) -> Training:
        made.append(Training(*arguments))
        return made[-1]

    monkeypatch.setattr(small_batch, "Training", noted)
    text = SETTINGS.format(space="").replace("learning_rate = 0.01", "learning_rates = [0.003, 0.03]")
    settings = config.loads(text + TASKS["own"].format(module=module), ["objectives.small_batch=true"])
    found = evaluator_from_config(settings)(CATALOGUE["gn-relu"])
    (own,) = made
    assert own.settings.rates == (pytest.approx(found.rates["own"] * 4 / 16),)
