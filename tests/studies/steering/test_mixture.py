"""Oracles: the mean shift, the formula token by token, known clusters, and marginals of a coupling."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.steering import Intervention, fit
from evonas.studies.steering.estimators import mean_shift
from evonas.studies.steering.mixture import MixtureMap, mixture_transport, sinkhorn


def drawn(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def known() -> MixtureMap:
    shares = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    return MixtureMap(drawn(3, 4, 0), drawn(3, 4, 1), shares, torch.tensor([0.8], dtype=torch.float64))


def test_each_token_moves_by_the_shifts_of_the_clusters_that_it_lies_near() -> None:
    affine, z = known(), drawn(10, 4, 2).view(2, 5, 4)
    wanted = torch.empty_like(z)
    for place in [(b, t) for b in range(2) for t in range(5)]:
        weights = [
            float(m) * math.exp(-float((z[place] - a).square().sum()) / (2 * 0.8**2))
            for m, a in zip(affine.masses, affine.centres, strict=True)
        ]
        shift = sum(w * v for w, v in zip(weights, affine.shifts, strict=True)) / sum(weights)
        wanted[place] = z[place] + shift
    torch.testing.assert_close(affine(z), wanted)
    torch.testing.assert_close(affine.at(0.3)(z), z + 0.3 * (wanted - z))
    torch.testing.assert_close(affine(z.movedim(-1, 1), axis=1), wanted.movedim(-1, 1))
    assert affine(z.bfloat16()).dtype is torch.bfloat16


def test_one_cluster_is_the_mean_shift() -> None:
    source, target, elsewhere = drawn(20, 4, 0), drawn(15, 4, 1) + 2, 100 * drawn(5, 4, 2)
    found = mixture_transport(source, target, clusters=1)
    torch.testing.assert_close(found(elsewhere), mean_shift(source, target)(elsewhere))


def test_clusters_that_move_apart_are_told_from_each_other() -> None:
    """A shift of all samples would leave them where they are: their mean does not move."""
    here = torch.tensor([[10.0, 0.0], [-10.0, 0.0]], dtype=torch.float64)
    there = torch.tensor([[10.0, 5.0], [-10.0, -5.0]], dtype=torch.float64)
    source = torch.cat([drawn(30, 2, number) + centre for number, centre in enumerate(here)])
    target = torch.cat([drawn(30, 2, 9 + number) + centre for number, centre in enumerate(there)])
    found = mixture_transport(source, target, clusters=2)
    moved = found(source) - source
    # the centres are one width apart, so the nearer cluster counts 0.62 and the other 0.38
    torch.testing.assert_close(moved[:30, 1].mean(), torch.tensor(5 * 0.245).double(), atol=0.3, rtol=0)
    torch.testing.assert_close(moved[30:, 1].mean(), torch.tensor(-5 * 0.245).double(), atol=0.3, rtol=0)
    assert mean_shift(source, target).bias.abs().max() < 1
    assert found.masses.tolist() == pytest.approx([0.5, 0.5])


def test_mass_is_moved_from_the_mean_of_the_source_to_that_of_the_target() -> None:
    """Whatever the coupling, its marginals are the shares of the clusters."""
    source, target = drawn(40, 3, 0), drawn(50, 3, 1) * 2 + 1
    found = mixture_transport(source, target, clusters=5)
    torch.testing.assert_close(found.masses @ (found.centres + found.shifts), target.mean(0))
    torch.testing.assert_close(found.masses @ found.centres, source.mean(0))


def test_a_coupling_has_its_marginals_and_prefers_what_is_near() -> None:
    cost = torch.tensor([[0.0, 9.0], [9.0, 0.0], [9.0, 1.0]], dtype=torch.float64)
    rows, columns = torch.tensor([0.5, 0.25, 0.25]).double(), torch.tensor([0.5, 0.5]).double()
    found = sinkhorn(cost, rows, columns)
    torch.testing.assert_close(found.sum(0), columns)
    torch.testing.assert_close(found.sum(1), rows)
    assert found[0, 0] > 0.49
    assert sinkhorn(torch.zeros(1, 1).double(), torch.ones(1).double(), torch.ones(1).double()).tolist() == [[1.0]]


def test_fewer_distinct_samples_than_clusters() -> None:
    source = torch.tensor([[0.0, 1.0], [0.0, 1.0], [2.0, 3.0]], dtype=torch.float64)
    found = mixture_transport(source, source + 1, clusters=7)
    assert found.centres.shape == (2, 2)
    torch.testing.assert_close(found(source), source + 1, atol=0.2, rtol=0)


def fitted() -> Intervention:
    torch.manual_seed(0)
    x = torch.randn(12, 3)
    return fit(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), [x], [x * 2 + 1], sites="*", method="chars", clusters=3)


def test_maps_are_saved_and_loaded_bit_for_bit(tmp_path: Path) -> None:
    found, z = fitted(), drawn(6, 4, 3).float()
    found.save(tmp_path)
    loaded = Intervention.load(tmp_path)
    for one, two in zip(found.maps, loaded.maps, strict=True):
        assert torch.equal(one(z), two(z))
    assert (loaded.method, str(loaded)) == ("chars", str(found))
    assert "8 of 8 neurons" in str(found)


def test_what_such_maps_cannot_do_is_said_in_a_line() -> None:
    found, model = fitted(), nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    for call, words in (
        (found.inverse, "0: map: one that depends on its input has no inverse; fit from target to source"),
        (lambda: found.then(found), "0: map: one that depends on its input and another map are no single map"),
        (lambda: found.fold_into(model), "0: the map cannot be folded exactly: the map depends on its input"),
    ):
        with pytest.raises(InputError, match=words):
            call()
