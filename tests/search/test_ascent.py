"""The gradient-norm ascent against a quadratic loss, whose gradient norm and ascent direction are known in closed form;
and the protocol on layers known to be stable (the catalogue) and on ones that only seem so.
"""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from evonas import config
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.search.ascent import ascend_gradient_norm, weight_matrices
from evonas.search.evaluator import Evaluator, evaluator_from_config

DESK = Path(__file__).parents[2] / "search_spaces" / "evonorm_b.toml"


def test_one_step_on_a_quadratic_goes_where_the_closed_form_says() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(6, 6, dtype=torch.float64)
    matrix = matrix + matrix.T
    weight = nn.Parameter(torch.randn(6, dtype=torch.float64))
    start = weight.detach().clone()
    # loss w'Aw/2: gradient Aw, norm |Aw|, direction of ascent AAw / |Aw|
    ascent = ascend_gradient_norm(lambda: weight @ matrix @ weight / 2, [weight], steps=1, step_size=0.1, limit=1e9)
    direction = matrix @ matrix @ start
    expected = start + 0.1 * start.norm() * direction / direction.norm()
    torch.testing.assert_close(weight.detach(), expected)
    torch.testing.assert_close(ascent.norms, ((matrix @ start).norm().item(), (matrix @ expected).norm().item()))
    assert not ascent.exceeded
    assert ascent.norms[1] > ascent.norms[0]


def test_the_ascent_stops_as_soon_as_the_limit_is_passed() -> None:
    weight = nn.Parameter(torch.ones(3))
    ascent = ascend_gradient_norm(lambda: weight.square().sum() / 2, [weight], steps=50, step_size=0.5, limit=4.0)
    assert ascent.exceeded
    assert [round(n / math.sqrt(3), 4) for n in ascent.norms] == [1.0, 1.5, 2.0, 2.5]


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_a_gradient_that_is_not_a_number_is_above_every_limit(scale: float) -> None:
    weight = nn.Parameter(torch.ones(3))
    ascent = ascend_gradient_norm(lambda: (weight * scale).sum(), [weight], steps=5, step_size=0.1, limit=1e30)
    assert ascent.exceeded
    assert ascent.norms == (math.inf,)


def test_a_flat_gradient_norm_is_left_alone() -> None:
    weight = nn.Parameter(torch.ones(3))
    ascent = ascend_gradient_norm(lambda: weight.square().sum() * 0, [weight], steps=3, step_size=0.1, limit=1.0)
    assert ascent.norms == (0.0,) * 4
    assert torch.equal(weight.detach(), torch.ones(3))


def test_the_adversary_moves_kernels_only() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(2, 2))
    assert [tuple(w.shape) for w in weight_matrices(model)] == [(4, 3, 3, 3), (2, 4, 1, 1)]


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    # the shipped protocol, with trainings too short to reject anything
    overrides = ["training.steps=1", "protocols.quality.steps=1", "protocols.quality.min_accuracy=0.0"]
    return evaluator_from_config(config.load_search(DESK, overrides))


@pytest.mark.parametrize("name", ["bn-relu", "evonorm-b0", "evonorm-s0"])
def test_stable_layers_pass(name: str, evaluator: Evaluator) -> None:
    assert evaluator(CATALOGUE[name]).rejection is None


@pytest.mark.parametrize("text", ["max(x, zero)", "a = sqrt(x); max(a, x)"])
def test_layers_an_adversary_can_blow_up_are_rejected(text: str, evaluator: Evaluator) -> None:
    evaluation = evaluator(Genome.from_text(text))
    assert evaluation.rejection is not None
    assert evaluation.rejection.stage == "stability"
    assert evaluation.rejection.measured is not None
    assert evaluation.rejection.measured > evaluation.rejection.limit == 1e8
    assert math.isfinite(evaluation.rejection.measured)  # the archive and JSON have no infinity
    assert evaluation.steps == 3  # the gate on three tasks, nothing after it
