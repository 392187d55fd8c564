"""The language model as a task.

Oracles: the model trained with LayerNorm's genome in place of LayerNorm, whose losses must be the same; exp(-loss)
computed window by window.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from evonas import config
from evonas.compare.trials import TrialSpec
from evonas.config import LayerConfig, SearchConfig, TaskConfig, TextConfig, section
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.layer.lower import NormActLayer
from evonas.runs.jobs import spec_text
from evonas.search.evaluator import evaluator_from_config
from evonas.sparsity import sparsify
from evonas.surgery.install import with_layer
from evonas.tasks.language.loss import z_loss_cross_entropy
from evonas.tasks.language.task import language_task
from evonas.tasks.language.text import load_text, windows
from evonas.tasks.task import Task
from evonas.training.topk import inner_linear_layers

SEARCH = Path(__file__).parents[3] / "search_spaces" / "transformer.toml"
SHORT = ["training.steps=6", "training.warmup=2", "protocols.quality.steps=3", "protocols.quality.min_accuracy=0.001"]
SMALL = ["tasks.0.transformer='16x1'", "tasks.1.transformer='32x1'", "tasks.0.context=16", "tasks.1.context=16"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def settings() -> SearchConfig:
    rungs = ["rungs.steps=[2]", "rungs.reductions=[2.0]", "protocols.stability.steps=2", "training.batch_size=4"]
    return config.load_search(SEARCH, [*SHORT, *SMALL, *rungs])


@pytest.fixture(scope="module")
def task() -> Task:
    return language_task(TaskConfig(transformer="16x2", context=16), load_text(TextConfig()), 4, CPU)


def test_layers_take_the_place_of_the_norms_of_the_residual_stream(task: Task) -> None:
    model = with_layer(task.build(1), CATALOGUE["dyt"], LayerConfig(), task.norms)
    layers = {name for name, module in model.named_modules() if isinstance(module, NormActLayer)}
    assert layers == {*(f"blocks.{i}.{part}_norm" for i in (0, 1) for part in ("attention", "mlp")), "norm"}
    assert isinstance(model.get_submodule("blocks.0.attention.query_norm"), nn.LayerNorm)
    assert all(layer.layout == "btd" for layer in model.modules() if isinstance(layer, NormActLayer))


def test_the_genome_of_layer_norm_trains_as_layer_norm_does(task: Task) -> None:
    layer = LayerConfig(eps=1e-6)
    plain, evolved = task.build(1), with_layer(task.build(1), CATALOGUE["layernorm"], layer, task.norms)
    for module in evolved.modules():
        if isinstance(module, NormActLayer):
            module.bias.requires_grad_(False)  # the model's own norms have no shift
    losses: list[list[float]] = []
    for model in (plain, evolved):
        batches, found = task.batches(3), list[float]()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.3)
        for _ in range(20):
            loss = task.loss(model, next(batches))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(float(loss.detach()))
        losses.append(found)
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)
    assert losses[0][-1] < losses[0][0] - 0.5


def test_the_metric_is_the_likelihood_of_the_validation_text(task: Task) -> None:
    model, text = task.build(1), load_text(TextConfig())
    inputs, targets = windows(text.validation, 16, 64)
    with torch.no_grad():
        total = [float(z_loss_cross_entropy(model(i[None]), t[None])) for i, t in zip(inputs, targets, strict=True)]
    assert task.metric(model.train()) == pytest.approx(math.exp(-sum(total) / len(total)), rel=1e-4)
    assert model.training


def test_layers_are_judged_on_language_models(settings: SearchConfig) -> None:
    evaluator = evaluator_from_config(settings)
    found = evaluator(CATALOGUE["rmsnorm"])
    assert found.rejection is None
    assert set(found.objectives) == {"transformer-16x1", "transformer-32x1"}
    assert all(1 / 256 < value < 0.1 for value in found.objectives.values())
    assert found.extras["lr_sensitivity"] >= 0
    assert evaluator(Genome.from_text("a = exp(x); b = exp(a); exp(b)")).rejection is not None


def test_the_tolerated_sparsity_is_that_of_the_trained_network(
    settings: SearchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained longer, so that dropping inputs costs something; the library's WINA layers say how much."""
    changes = ["training.steps=60", "objectives.lr_sensitivity=false", "objectives.activation_sparsity=true"]
    evaluator = evaluator_from_config(
        config.loads(section.dump(settings), [*changes, "rungs.steps=[]", "rungs.reductions=[]"])
    )
    trained: list[nn.Module] = []
    monkeypatch.setattr(
        "evonas.search.evaluator.inner_linear_layers",
        lambda network: trained.append(network) or inner_linear_layers(network),
    )
    found = evaluator(CATALOGUE["rmsnorm"])
    network, task = trained[0], evaluator.tasks[0]
    dense = task.metric(network)
    assert found.objectives[task.name] == dense
    rises = {}
    for step in range(1, 20):
        with sparsify(network, method="wina", sparsity=step / 20, exclude="head"):
            rises[step / 20] = math.log(dense / task.metric(network))
    expected = 0.0
    for sparsity, rise in rises.items():
        if rise > 0.05:
            break
        expected = sparsity
    assert 0 < expected < 0.95, rises
    assert found.extras == {"activation_sparsity": expected}


def test_a_search_shows_what_its_layers_tolerate(
    evonas: Callable[..., tuple[int, str, str]], settings: SearchConfig, tmp_path: Path
) -> None:
    file = tmp_path / "search.toml"
    file.write_text(section.dump(settings.model_copy(update={"baselines": ("rmsnorm",)})))
    changes = ("objectives.activation_sparsity=true", "objectives.lr_sensitivity=false", "protocols.stability.steps=0")
    options = [part for change in changes for part in ("--set", change)]
    status, _, err = evonas("search", file, "--run", tmp_path / "run", "--budget", "3", *options)
    assert status == 0, err
    shown = json.loads(evonas("top", tmp_path / "run", "--json")[1])
    assert [entry["name"] for entry in shown if "activation_sparsity" in entry["extras"]]
    assert all(0 <= entry["extras"]["activation_sparsity"] <= 0.95 for entry in shown if entry["extras"])
    out = " ".join(evonas("top", tmp_path / "run", "--pareto")[1].split())
    assert "activation_sparsity: share of linear layers' inputs that may be dropped, higher is better" in out


def test_trials_on_language_models_are_known_by_their_text(settings: SearchConfig) -> None:
    one = settings.model_copy(update={"tasks": settings.tasks[:1]})
    other = one.model_copy(update={"text": TextConfig(validation=0.2)})
    images = one.model_copy(update={"data": one.data.model_copy(update={"size": 4})})
    specs = [spec_text(TrialSpec.of(column, CATALOGUE["layernorm"], 1)) for column in (one, other, images)]
    assert specs[0] != specs[1]
    assert specs[0] == specs[2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["tasks.0.transformer='big'"], ["size", "'big'", "55k"]),
        (["tasks.0.transformer='20x1'"], ["multiple of head_size"]),
        (["tasks.0.context=1000000"], ["model.context", "less than the text"]),
        (["tasks.0.architecture='densenet'"], ["an architecture, a transformer or a task"]),
    ],
)
def test_wrong_input_is_one_line(changes: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        evaluator_from_config(config.load_search(SEARCH, changes))
    assert len(str(error.value).splitlines()) == 1
    assert all(word in str(error.value) for word in words)
