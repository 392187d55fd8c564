"""Every catalogue layer in every layout it can have, through everything that a user can do with a layer.

A layer without moments fits images and tokens alike. Oracles: exported modules, run in one process that cannot import
evonas, give bit for bit the outputs, gradients and running values of lowered layers, and so do the modules of a run
that found the layers; a program of ``torch.export`` gives what the eager layer gives; a network after surgery computes
what its parts give one after the other; a layer without moments gives for tokens what it gives for the same numbers as
an image.
"""

import ast
import math
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evonas.compare.costs import network_cost
from evonas.config import LayerConfig, ProtocolsConfig, QualityConfig, SearchConfig, SpaceConfig, TaskConfig
from evonas.config import TrainingConfig as Training
from evonas.graph.catalogue import CATALOGUE, known_layout
from evonas.graph.genome import Genome
from evonas.graph.primitive import LAYOUTS
from evonas.layer.export import export
from evonas.layer.lower import NormActLayer, lower
from evonas.runs.folder import RunFolder
from evonas.search import objectives
from evonas.search.archive import Archive
from evonas.search.best import save_best
from evonas.search.evaluator import Evaluator
from evonas.search.objectives import OBJECTIVES
from evonas.search.outcome import Candidate, Evaluation, Proposal
from evonas.search.start import create_run
from evonas.surgery.sites import replace_norm_act
from evonas.tasks.task import Task

D, GROUPS = 8, 4
SETTINGS = LayerConfig(groups=GROUPS)
SHAPES = {"bchw": (3, D, 4, 2), "btd": (3, 5, D)}
CASES = [(name, layout) for name, genome in CATALOGUE.items() for layout in genome.layouts or LAYOUTS]
each_case = pytest.mark.parametrize(("name", "layout"), CASES)

RUN_WITHOUT_EVONAS = """
import importlib.util, sys, torch

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "evonas":
            raise ImportError("exported files must not need evonas")

sys.meta_path.insert(0, Block())
torch.set_num_threads(1)
source, target = sys.argv[1:]
def passed(name, case):
    spec = importlib.util.spec_from_file_location("module", case["file"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    layer = getattr(module, case["class"])(case["features"])
    layer.load_state_dict(case["state"])
    for mode in ("evaluation", "training"):
        x = case["x"].clone().requires_grad_()
        y = layer.train(mode == "training")(x)
        parameters = dict(layer.named_parameters())
        found = torch.autograd.grad(y.square().sum(), [x, *parameters.values()])
        yield (name, mode), {"y": y.detach(), "x": found[0], **dict(zip(parameters, found[1:]))}
    yield (name, "state"), layer.state_dict()

results = {}
for name, case in torch.load(source, weights_only=True).items():
    try:
        results.update(passed(name, case))
    except Exception as error:
        print(name, error, file=sys.stderr)  # the results that are missing fail the tests of this module alone
torch.save(results, target)
"""


def inputs(layout: str) -> Tensor:
    return 1 + torch.randn(SHAPES[layout], generator=torch.Generator().manual_seed(1))


def lowered(name: str, layout: str) -> NormActLayer:
    """A layer whose parameters and running values are off their initial ones."""
    layer = lower(CATALOGUE[name], D, layout=layout, groups=GROUPS)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in layer.state_dict().values():
            value.add_(0.3 * torch.rand(value.shape, generator=generator))
    return layer


def passed(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Output and gradients of a forward and backward pass."""
    x = x.clone().requires_grad_()
    y, parameters = layer(x), dict(layer.named_parameters())
    found = torch.autograd.grad(y.square().sum(), [x, *parameters.values()])
    return {"y": y.detach(), "x": found[0], **dict(zip(parameters, found[1:], strict=True))}


def same_bits(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


def run_that_found(layout: str, folder: Path) -> RunFolder:
    """A run in the space of a layout whose candidates are all catalogue layers that fit it, best first."""
    settings = SearchConfig(
        name="made",
        space=SpaceConfig(layout=layout, causal=False),
        layer=SETTINGS,
        tasks=(TaskConfig(architecture="preact_resnet"),),
    )
    run = create_run(folder / layout, settings)
    with Archive.open(run.archive_file) as archive:
        for index, name in enumerate(of_layout(layout)):
            genome = CATALOGUE[name]
            evaluation = Evaluation(genome.key, 1, steps=1, objectives={"preact_resnet": 0.9 - index / 100})
            archive.record(Candidate(index, Proposal(genome, None, "initial"), genome.key), evaluation)
    return run


def of_layout(layout: str) -> list[str]:
    return [name for name, its in CASES if its == layout]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, dict[str, Tensor]]:
    """What all exported modules, and all modules of runs that found the layers, compute in one other process."""
    folder = tmp_path_factory.mktemp("modules")
    files = {
        (name, layout, "export"): export(
            CATALOGUE[name], folder / f"{name}-{layout}.py", name="layer", layout=layout, groups=GROUPS
        )
        for name, layout in CASES
    }
    for layout in LAYOUTS:
        names = of_layout(layout)
        modules = save_best(run_that_found(layout, folder), len(names))
        files |= {(name, layout, "best"): file for name, file in zip(names, modules, strict=True)}
    cases = {
        (name, layout, door): {
            "file": str(file),
            "class": [part.name for part in ast.parse(file.read_text()).body if isinstance(part, ast.ClassDef)][-1],
            "features": D,
            "state": {key.removeprefix("body."): v for key, v in lowered(name, layout).state_dict().items()},
            "x": inputs(layout),
        }
        for (name, layout, door), file in files.items()
    }
    torch.save(cases, folder / "cases.pt")
    command = [sys.executable, "-I", "-c", RUN_WITHOUT_EVONAS, str(folder / "cases.pt"), str(folder / "results.pt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[Any, dict[str, Tensor]] = torch.load(folder / "results.pt", weights_only=True)
    return found


def test_every_layer_of_the_catalogue_has_a_layout_of_its_own_and_those_without_moments_fit_both() -> None:
    assert all(known_layout(genome) in LAYOUTS for genome in CATALOGUE.values())
    assert {name for name, _ in CASES} == set(CATALOGUE)
    assert {name for name, genome in CATALOGUE.items() if not genome.layouts} == {"dyt", "derf"}
    assert len(CASES) == len(CATALOGUE) + 2


@each_case
@pytest.mark.parametrize("door", ["export", "best"])
def test_a_written_module_computes_what_the_lowered_layer_does(
    door: str, name: str, layout: str, clean: dict[Any, dict[str, Tensor]]
) -> None:
    layer, x = lowered(name, layout), inputs(layout)
    for mode in ("evaluation", "training"):
        expected = passed(layer.train(mode == "training"), x)
        assert expected["y"].shape == x.shape
        assert all(value.isfinite().all() for value in expected.values())
        assert same_bits(clean[(name, layout, door), mode], expected)
    state = {key.removeprefix("body."): value for key, value in layer.state_dict().items()}
    assert same_bits(clean[(name, layout, door), "state"], state)


@pytest.mark.parametrize("name", [name for name, genome in CATALOGUE.items() if not genome.layouts])
def test_a_layer_without_moments_does_to_tokens_what_it_does_to_the_same_numbers_as_an_image(name: str) -> None:
    x = inputs("bchw")
    maps = lowered(name, "bchw")(x)
    tokens = lowered(name, "btd")(x.flatten(2).transpose(1, 2))
    torch.testing.assert_close(tokens, maps.flatten(2).transpose(1, 2))


@each_case
def test_a_program_of_torch_export_computes_what_the_layer_does(name: str, layout: str) -> None:
    layer, x = lowered(name, layout).eval(), inputs(layout)
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), layer(x))


class Images(nn.Module):
    """A network with one normalization-activation site for images."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.act = nn.Conv2d(3, D, 3), nn.BatchNorm2d(D), nn.ReLU()
        self.inner, self.head = nn.Linear(D, D), nn.Linear(D, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(self.act(self.norm(self.enter(x))).mean((2, 3)))))


class Tokens(nn.Module):
    """A network with one normalization site for tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm = nn.Linear(3, D), nn.LayerNorm(D)
        self.inner, self.head = nn.Linear(D, D), nn.Linear(D, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(self.norm(self.enter(x)).mean(1))))


NETWORKS = {"bchw": Images, "btd": Tokens}
SAMPLES = {"bchw": (4, 3, 6, 6), "btd": (4, 5, 3)}


def task(layout: str, norms: tuple[str, ...] = ()) -> Task:
    """The network of a layout on noise of two classes."""

    def build(seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return NETWORKS[layout]()

    def batches(seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        while True:
            yield torch.randn(SAMPLES[layout], generator=generator), torch.arange(4) % 2

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    @torch.no_grad()
    def metric(model: nn.Module) -> float:
        return math.exp(-float(loss(model.eval(), next(batches(9)))))

    return Task(layout, build, batches, loss, metric, norms, resized=lambda _: task(layout, norms), shifted=metric)


@each_case
def test_a_network_after_surgery_is_its_parts_one_after_the_other(name: str, layout: str) -> None:
    network, layer = NETWORKS[layout](), lowered(name, layout)
    replaced = replace_norm_act(network, lambda site: lowered(name, site.layout))
    x = torch.randn(SAMPLES[layout], generator=torch.Generator().manual_seed(3))
    y = layer(network.enter(x)).mean((2, 3) if layout == "bchw" else 1)
    expected = network.head(torch.tanh(network.inner(y)))
    assert torch.equal(replaced(x), expected)
    replaced(x).sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in replaced.parameters())


ROADS = [("bchw", ()), ("btd", ()), ("btd", ("norm",))]  # by call site, and by name as language models go
each_road = pytest.mark.parametrize(
    ("name", "layout", "norms"), [(n, at, norms) for (n, its), (at, norms) in product(CASES, ROADS) if its == at]
)


@each_road
def test_a_search_with_all_objectives_scores_every_layer(
    name: str, layout: str, norms: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "SHAPES", SHAPES)  # small, to be fast
    genome = CATALOGUE[name]
    training = Training(steps=3, learning_rate=0.01, schedule="constant")
    protocols = ProtocolsConfig(quality=QualityConfig(steps=2, min_accuracy=0.0))
    evaluator = Evaluator((task(layout, norms),), training, protocols, SETTINGS, 1, objectives=tuple(OBJECTIVES))
    found = evaluator(genome)
    assert found.rejection is None, found.rejection
    assert found.extras.keys() == OBJECTIVES.keys()
    assert all(math.isfinite(value) for value in found.extras.values())
    assert found.extras["latency"] > 0
    assert found.extras["parameters"] == 2 + sum(v in genome.active().to_text() for v in ("v0", "v1"))


@each_road
def test_every_layer_has_costs(name: str, layout: str, norms: tuple[str, ...]) -> None:
    genome = CATALOGUE[name]
    cost = network_cost(task(layout, norms), genome, SETTINGS, 1)
    own = sum(v.numel() for v in NETWORKS[layout]().parameters()) - 2 * D  # all but those of the norm
    assert cost.parameters == own + sum(v.numel() for v in lowered(name, layout).parameters())
    for value in (cost.training, cost.inference, cost.memory, cost.relative_memory):
        assert value > 0
        assert math.isfinite(value)


def test_costs_of_a_networks_own_norm_are_those_of_the_network_itself() -> None:
    """The memory for the backward pass is exact: a network held against itself keeps as many bytes."""
    layernorm = CATALOGUE["layernorm"]
    costs = [network_cost(task("btd", norms), layernorm, SETTINGS, 1) for norms in ((), ("norm",))]
    assert costs[0].relative_memory == costs[1].relative_memory
    assert costs[0].memory == costs[1].memory


@pytest.mark.parametrize("layout", LAYOUTS)
def test_objectives_are_measured_on_noise_of_the_layouts_real_size(layout: str) -> None:
    layer = lower(Genome.from_text("tanh(x)"), objectives.SHAPES[layout][1 if layout == "bchw" else -1], layout=layout)
    x = torch.zeros(objectives.SHAPES[layout])
    assert layer(x).shape == objectives.reference_layer(layout)(x).shape == x.shape
