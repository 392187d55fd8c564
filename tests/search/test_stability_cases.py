"""Layers that train well where they were found and blow up in a deeper network. Oracle: the trainings themselves."""

import pytest

from evonas import config
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search.evaluator import Evaluator, evaluator_from_config

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")

SEARCH = """
name = "cases"
[layer]
groups = 4
[training]
steps = 40
learning_rate = 0.03
schedule = "constant"
[protocols.stability]
steps = 100
[[tasks]]
architecture = "preact_resnet"
width = 0.125
depth = [1, 1]
unstrided = 1
"""
FOUND = Genome.from_text("a = sqrt(x); max(a, x)")  # the best layer of runs/kept/first-cifar10


def evaluator(seed: int, *changes: str) -> Evaluator:
    return evaluator_from_config(config.loads(SEARCH, [f"seed={seed}", *changes]))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_layer_that_the_protocol_rejects_trains_and_blows_up_with_depth(seed: int) -> None:
    shallow, deep = evaluator(seed), evaluator(seed, "tasks.0.depth=[4, 4]")
    trained = shallow(FOUND, gated=False)
    assert trained.mean is not None
    assert trained.mean > 0.6  # chance is 0.1
    rejection = shallow.stability(FOUND)
    assert rejection is not None
    assert (rejection.stage, rejection.limit) == ("stability", 1e8)
    later = deep(FOUND, gated=False).rejection
    assert later is not None
    assert later.reason == "diverged"


@pytest.mark.parametrize("name", ["bn-relu", "evonorm-b0", "evonorm-s0"])
def test_layers_that_the_protocol_passes_do_not_blow_up(name: str) -> None:
    assert evaluator(1).stability(CATALOGUE[name]) is None
    assert evaluator(1, "tasks.0.depth=[4, 4]")(CATALOGUE[name], gated=False).rejection is None
