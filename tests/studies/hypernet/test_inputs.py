"""Oracles: the map to [0, 1] and the encoding written out by hand."""

import math

import pytest
import torch

from evonas.errors import InputError
from evonas.studies.hypernet.inputs import Inputs, cos_sin

LIKE = torch.zeros(())
TWO = Inputs.of({"decay": 1, "shape": 2}, {"decay": (-5.0, -1.0)})


def test_a_number_of_coordinates_is_one_input() -> None:
    inputs = Inputs.of(3)
    assert (inputs.sizes, inputs.ranges, inputs.size) == ({"gamma": 3}, {"gamma": (0.0, 1.0)}, 3)


def test_named_inputs_are_mapped_and_joined_in_order() -> None:
    unit = TWO.unit({"shape": torch.tensor([0.25, 1.0]), "decay": -2}, LIKE)
    assert unit.tolist() == [0.75, 0.25, 1.0]
    assert torch.equal(TWO.unit(torch.tensor([-2, 0.25, 1.0]), LIKE), unit)


def test_shared_parts_are_repeated_for_several_gammas() -> None:
    unit = TWO.unit({"shape": torch.tensor([[0.0, 0.5], [1.0, 0.25]]), "decay": torch.tensor(-3.0)}, LIKE)
    assert unit.tolist() == [[0.5, 0.0, 0.5], [0.5, 1.0, 0.25]]


def test_the_result_has_the_type_of_the_network() -> None:
    assert Inputs.of(2).unit(torch.tensor([0, 1]), torch.zeros((), dtype=torch.float64)).dtype == torch.float64
    assert Inputs.of(2).unit(torch.tensor([0.1, 1.0], dtype=torch.float64), LIKE).dtype == torch.float32


def test_the_ends_of_a_range_are_within_it_whatever_the_rounding() -> None:
    inputs = Inputs.of(1, (0.1, 0.3))
    for dtype in (torch.float32, torch.float64):
        ends = torch.tensor([[0.1], [0.3]], dtype=dtype)
        torch.testing.assert_close(inputs.unit(ends, LIKE), torch.tensor([[0.0], [1.0]]))
    assert inputs.unit(inputs.from_unit(torch.rand(1000, 1)), LIKE).shape == (1000, 1)


def test_from_unit_is_the_inverse_and_samples_fill_the_ranges() -> None:
    gammas = TWO.sample(4000, torch.Generator().manual_seed(0))
    unit = TWO.unit(gammas, LIKE)
    torch.testing.assert_close(TWO.from_unit(unit), gammas)
    torch.testing.assert_close(unit.mean(0), torch.full((3,), 0.5), atol=0.03, rtol=0)
    assert unit.amin() < 0.01
    assert unit.amax() > 0.99
    assert TWO.diagonal(torch.tensor([0.0, 0.5])).tolist() == [[-5.0, 0.0, 0.0], [-3.0, 0.5, 0.5]]


def test_the_encoding_is_all_cosines_then_all_sines_and_of_constant_norm() -> None:
    unit = torch.rand((7, 4), generator=torch.Generator().manual_seed(1))
    expected = [[f(z * math.pi / 2) for f in (math.cos, math.sin) for z in row] for row in unit.tolist()]
    torch.testing.assert_close(cos_sin(unit), torch.tensor(expected))
    torch.testing.assert_close(cos_sin(unit).norm(dim=-1), torch.full((7,), 2.0))
    assert cos_sin(unit[0]).shape == (8,)


@pytest.mark.parametrize(
    ("gamma", "named"),
    [
        (torch.zeros(2), ["gamma", "[2]", "[3]", "[n, 3]"]),
        (torch.zeros(1, 1, 3), ["gamma", "[1, 1, 3]"]),
        (0.5, ["gamma", "[]", "[3]"]),
        (torch.zeros(3, dtype=torch.complex64), ["gamma", "complex"]),
        (None, ["gamma", "a NoneType", "a real tensor"]),
        ({"decay": "-2", "shape": torch.zeros(2)}, ["decay", "a str", "a real tensor"]),
        (torch.zeros(0, 3), ["gamma", "[0]", "n >= 1"]),
        (torch.tensor([-2.0, 0.5, 1.1]), ["shape", "1.1", "from 0 to 1", "ranges"]),
        (torch.tensor([-5.1, 0.5, 1.0]), ["decay", "-5.1", "from -5 to -1"]),
        (torch.tensor([-2.0, math.nan, 1.0]), ["shape", "not finite"]),
        (torch.tensor([math.inf, 0.5, 1.0]), ["decay", "not finite"]),
        ({"decay": -2}, ["lacks shape", "decay, shape"]),
        ({"decay": -2, "shape": torch.zeros(2), "form": 1}, ["'form'", "decay, shape"]),
        ({"decay": -2, "shape": 0.5}, ["shape", "[]", "[2]"]),
        ({"decay": torch.full((3, 1), -2.0), "shape": torch.zeros(2, 2)}, ["[2, 3]", "one size"]),
    ],
)
def test_wrong_gammas_are_named_in_one_line(gamma: object, named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        TWO.unit(gamma, LIKE)
    assert all(word in str(error.value) for word in named), error.value
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("sizes", "ranges", "named"),
    [
        (0, (0, 1), ["inputs: gamma", "0 coordinates"]),
        ({}, (0, 1), ["inputs", "none"]),
        ({"a": 1, "b": -1}, (0, 1), ["inputs: b", "-1"]),
        ({"a": (10,)}, (0, 1), ["inputs: a", "(10,) coordinates", "whole number"]),
        (2, (1, 1), ["ranges: gamma", "(1, 1)", "lo < hi"]),
        (2, (0, math.inf), ["ranges: gamma", "finite"]),
        ({"a": 1}, {"b": (0, 1)}, ["ranges", "'b'", "a"]),
    ],
)
def test_wrong_inputs_are_named(sizes: object, ranges: object, named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        Inputs.of(sizes, ranges)
    assert all(word in str(error.value) for word in named), error.value
