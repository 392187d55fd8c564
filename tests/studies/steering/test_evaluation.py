"""Oracle: distances by hand."""

import pytest
import torch
from torch import nn

from evonas.steering import fit
from evonas.studies.steering.evaluation import distances
from evonas.studies.steering.wasserstein import squared_wasserstein


def test_distances_are_those_between_pooled_activations() -> None:
    model = nn.Sequential(nn.Tanh(), nn.Linear(3, 2)).train()
    generator = torch.Generator().manual_seed(0)
    source, target = (torch.randn(n, 3, generator=generator) + k for k, n in enumerate((8, 12)))
    intervention = fit(model, [source], [target], sites="0", method="linear-act", bounded=False)
    found = distances(intervention, model, [source[:5], source[5:]], [target], strength=0.5)
    moved = 0.5 * intervention.maps[0](source.tanh()) + 0.5 * source.tanh()
    assert found == {"0": pytest.approx(squared_wasserstein(moved, target.tanh()).mean().item(), rel=1e-5)}
    plain, full = (distances(intervention, model, [source], [target], strength=s)["0"] for s in (0.0, 1.0))
    assert full < found["0"] < plain
    assert model.training
