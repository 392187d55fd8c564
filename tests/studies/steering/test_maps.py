"""Oracles: w * z + b written out, spatial means as Linear-AcT moves them, what a map gives back after its inverse."""

from dataclasses import replace

import pytest
import torch

from evonas.errors import InputError
from evonas.studies.steering.maps import AffineMap

MAP = AffineMap(torch.tensor([2.0, 1.0, -0.5]), torch.tensor([1.0, 0.0, 3.0]))
BOUNDED = AffineMap(MAP.weight, MAP.bias, torch.tensor([-1.0, -1.0, 0.0]), torch.tensor([1.0, 1.0, 0.5]))
Z = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))


def test_each_neuron_has_its_own_scale_and_shift() -> None:
    assert torch.equal(MAP(Z), Z * MAP.weight + MAP.bias)
    maps = Z.mT.reshape(4, 3, 2, 3)
    assert torch.equal(MAP(maps, 1), Z.mT.reshape(4, 3, 2, 3) * MAP.weight[:, None, None] + MAP.bias[:, None, None])
    assert torch.equal(MAP(Z[0]), MAP(Z)[0])


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, -1.0, 2.5])
def test_strength_interpolates_between_the_input_and_the_map(strength: float) -> None:
    torch.testing.assert_close(MAP.at(strength)(Z), strength * MAP(Z) + (1 - strength) * Z)
    torch.testing.assert_close(BOUNDED.at(strength)(Z), strength * BOUNDED(Z) + (1 - strength) * Z)


def test_outside_of_the_bounds_nothing_changes() -> None:
    inside = (BOUNDED.low <= Z) & (BOUNDED.high >= Z)
    assert 0.1 < inside.float().mean() < 0.9
    assert torch.equal(BOUNDED(Z)[inside], MAP(Z)[inside])
    assert torch.equal(BOUNDED(Z)[~inside], Z[~inside])


SPACES = [(1, (40, 3, 2, 3)), (-1, (40, 2, 3, 3)), (1, (40, 3, 6)), (1, (40, 3, 1, 2, 3))]


@pytest.mark.parametrize("strength", [1.0, 0.3])
@pytest.mark.parametrize(("axis", "shape"), SPACES)
def test_bounds_of_maps_over_space_hold_for_their_means(axis: int, shape: tuple[int, ...], strength: float) -> None:
    """Linear-AcT moves the mean m of a map to T(m) if it lies inside of the bounds; all pixels move or none does."""
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    space = [i for i in range(1, len(shape)) if i != axis % len(shape)]
    means = maps.mean(space)
    inside = (means >= BOUNDED.low) & (means <= BOUNDED.high)
    assert 0.1 < inside.float().mean() < 0.9
    wanted = torch.where(inside, strength * (means * MAP.weight + MAP.bias) + (1 - strength) * means, means)
    found = BOUNDED.at(strength)(maps, axis)
    torch.testing.assert_close(found.mean(space), wanted)
    for place in space:
        inside = inside.unsqueeze(place)
    assert torch.equal(found, torch.where(inside, MAP.at(strength)(maps, axis), maps))


@pytest.mark.parametrize("pool", ["max", "min"])
def test_bounds_hold_for_what_they_were_fitted_on(pool: str) -> None:
    maps = torch.randn(40, 3, 2, 3, generator=torch.Generator().manual_seed(1)) * 0.7
    pooled = maps.amax((2, 3)) if pool == "max" else maps.amin((2, 3))
    inside = ((pooled >= BOUNDED.low) & (pooled <= BOUNDED.high))[..., None, None]
    found = replace(BOUNDED, pool=pool)(maps, 1)
    assert torch.equal(found, torch.where(inside, MAP(maps, 1), maps))
    assert 0.05 < inside.float().mean() < 0.95


def test_the_inverse_undoes_it() -> None:
    torch.testing.assert_close(MAP.inverse()(MAP(Z)), Z)
    torch.testing.assert_close(MAP(MAP.inverse()(Z)), Z)


def test_two_maps_are_one() -> None:
    other = AffineMap(torch.tensor([0.5, 3.0, 1.0]), torch.tensor([0.0, -1.0, 2.0]))
    torch.testing.assert_close(MAP.then(other)(Z), other(MAP(Z)))
    assert not torch.allclose(MAP.then(other)(Z), other.then(MAP)(Z))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_results_have_the_precision_of_the_input_and_are_computed_in_float32_or_better(dtype: torch.dtype) -> None:
    found = MAP(Z.to(dtype))
    assert found.dtype == dtype
    wide = Z.to(dtype).to(torch.promote_types(dtype, torch.float32))
    assert torch.equal(found, (wide * MAP.weight + MAP.bias).to(dtype))


def test_support_counts_noticeable_neurons() -> None:
    nearly = AffineMap(torch.tensor([1 + 1e-6, 1.0, 1.1]), torch.tensor([0.0, 2e-5, 0.0]))
    assert nearly.support.tolist() == [False, True, True]
    assert not nearly.is_identity
    assert nearly.at(0).is_identity


def test_what_cannot_be_undone_or_joined_says_so() -> None:
    with pytest.raises(InputError, match=r"the scale of neuron 1 is 0.0e\+00; accepted: 1e-06 or more"):
        AffineMap(torch.tensor([1.0, 0.0]), torch.zeros(2)).inverse()
    with pytest.raises(InputError, match=r"neuron 0 is nan"):
        AffineMap(torch.tensor([torch.nan, 0.0]), torch.zeros(2)).inverse()
    for act in (BOUNDED.inverse, lambda: MAP.then(BOUNDED), lambda: BOUNDED.then(MAP)):
        with pytest.raises(InputError, match=r"between bounds only.*fit with bounded=False"):
            act()
