"""Oracles: names written by hand."""

import pytest
import torch
from torch import nn

from evonas.errors import InputError
from evonas.studies.hypernet.targets import predicted_parameters


class Tied(nn.Module):
    """A decoder with the weight of the embedding, and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.embedding = nn.Embedding(5, 4)
        self.decoder = nn.Linear(4, 5)
        self.decoder.weight = self.embedding.weight


@pytest.mark.parametrize(
    ("predict", "names"),
    [
        ("**", ["scale", "embedding.weight", "decoder.bias"]),
        ("*", ["scale"]),
        (["decoder.*", "scale"], ["scale", "embedding.weight", "decoder.bias"]),
        ("**.weight", ["embedding.weight"]),
        (("**.bias", "decoder.b*"), ["decoder.bias"]),
    ],
)
def test_patterns_choose_parameters_and_a_shared_one_once(predict: object, names: list[str]) -> None:
    model = Tied()
    found = predicted_parameters(model, predict)
    assert list(found) == names
    assert all(value is model.get_parameter(name) for name, value in found.items())


def broken(value: object) -> nn.Module:
    model = nn.Linear(2, 2)
    model.weight = nn.Parameter(value, requires_grad=False)
    return model


@pytest.mark.parametrize(
    ("model", "predict", "named"),
    [
        (nn.ReLU(), "**", ["ReLU", "no parameters"]),
        (Tied(), [], ["predict", "no pattern", "'**'"]),
        (Tied(), ["**", "encoder.*"], ["'encoder.*'", "none of the 4 parameters of this Tied", "decoder.bias"]),
        (nn.LazyLinear(3), "**", ["weight", "no shape yet", "batch"]),
        (broken(torch.zeros(2, 2, dtype=torch.int8)), "**", ["weight", "int8[2, 2]", "real"]),
        (broken(torch.zeros(0, 2)), "**", ["weight", "[0, 2]"]),
        (broken(torch.full((2, 2), torch.nan)), "**", ["weight", "not finite"]),
    ],
)
def test_mistakes_are_named_in_one_line(model: nn.Module, predict: object, named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        predicted_parameters(model, predict)
    assert all(word in str(error.value) for word in named), error.value
    assert len(str(error.value).splitlines()) == 1
