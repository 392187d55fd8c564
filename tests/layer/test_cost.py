"""What layers cost. Oracle: operations and numbers counted by hand."""

import pytest

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.layer.cost import cost_of, time_beside_torch


def test_an_elementwise_layer_costs_what_its_operations_do() -> None:
    """tanh reads and writes a map once; one more tanh costs the same, forward and backward."""
    one, two = cost_of(Genome.from_text("tanh(x)")), cost_of(Genome.from_text("a = tanh(x); tanh(a)"))
    # forward: tanh (1 read, 1 written); backward: tanh_backward (2 read, 1 written)
    assert two.traffic - one.traffic == pytest.approx(5.0, abs=0.05)
    assert two.flops - one.flops == pytest.approx(2.0, abs=0.05)
    assert one.parameters == two.parameters == 2.0


def test_parameters_are_those_of_each_feature() -> None:
    assert cost_of(CATALOGUE["bn-relu"]).parameters == 4.0
    assert cost_of(CATALOGUE["evonorm-s0"]).parameters == 3.0


def test_moments_cost_more_than_none() -> None:
    found = [cost_of(CATALOGUE[name]).traffic for name in ("dyt", "rmsnorm")]
    assert all(3.0 < traffic < 60.0 for traffic in found)
    assert cost_of(Genome.from_text("a = std[hw](x); div(x, a)")).traffic > cost_of(Genome.from_text("neg(x)")).traffic


@pytest.mark.parametrize("name", ["bn-relu", "dyt"])
def test_time_is_relative_to_what_torch_has(name: str) -> None:
    assert 0.05 < time_beside_torch(CATALOGUE[name]) < 50.0
