"""Oracles: names written out by hand, and the layers themselves: y = x W^T + b."""

import pytest
import torch
from sparsity_models import make_gpt2
from torch import nn

from evonas.errors import InputError
from evonas.studies.sparsity.sites import linear_sites


class Net(nn.Module):
    """One of everything; ``twice`` is held under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.blocks = nn.ModuleList(nn.ModuleDict({"fc": nn.Linear(6, 6), "norm": nn.LayerNorm(6)}) for _ in range(2))
        self.again = self.blocks[1]["fc"]
        self.pointwise = nn.Conv2d(6, 3, 1, stride=2)
        self.wide = nn.Conv2d(6, 3, 3)
        self.grouped = nn.Conv2d(6, 6, 1, groups=2)
        self.attention = nn.MultiheadAttention(6, 2)  # its projection is a subclass of nn.Linear
        self.lm_head = nn.Linear(6, 4)


def names(*arguments: object) -> list[str]:
    return [site.name for site in linear_sites(Net(), *arguments)]  # type: ignore[arg-type]


def test_all_supported_layers_but_the_head_are_taken_once_and_in_order() -> None:
    assert names() == ["first", "blocks.0.fc", "blocks.1.fc", "pointwise"]
    assert linear_sites(Net())[2].names == ("blocks.1.fc", "again")


@pytest.mark.parametrize(
    ("include", "exclude", "found"),
    [
        ("blocks.*.fc", (), ["blocks.0.fc", "blocks.1.fc"]),
        (["first", "lm_head"], (), ["first", "lm_head"]),
        ("**", ["blocks.**", "lm_head"], ["first", "blocks.1.fc", "pointwise"]),  # blocks.1.fc is `again` too
        ("**", "**.fc", ["first", "blocks.1.fc", "pointwise", "lm_head"]),
    ],
)
def test_patterns_choose(include: object, exclude: object, found: list[str]) -> None:
    assert names(include, exclude) == found


@pytest.mark.parametrize(
    ("include", "exclude", "said"),
    [
        ("nothing.*", (), "pattern 'nothing.*': matches none"),
        ("**", "haed", "pattern 'haed': matches none"),
        ("wide", (), "wide: is a Conv2d of kernel (3, 3)"),
        ("grouped", (), "groups 2"),
        ("attention.out_proj", (), "is a NonDynamicallyQuantizableLinear"),
        ("blocks.*.norm", (), "leaves no layer of this Net"),
        ("first", "first", "leaves no layer of this Net"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(include: object, exclude: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        names(include, exclude)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_default_exclusion_that_matches_nothing_is_no_error(mlp: nn.Module) -> None:
    assert [site.name for site in linear_sites(mlp)] == ["0", "2", "4"]


def test_the_matrix_and_the_features_of_every_kind_give_the_layers_output(g: torch.Generator) -> None:
    net = Net()
    by_name = {site.name: site for site in linear_sites(net)}
    by_name["c_fc"] = linear_sites(make_gpt2(), "transformer.h.0.mlp.c_fc")[0]
    for name, shape in {"first": (2, 5, 4), "pointwise": (2, 6, 5, 7), "c_fc": (2, 5, 32)}.items():
        site, x = by_name[name], torch.randn(shape, generator=g)
        assert site.matrix.shape == (site.outputs, site.inputs)
        y = site.features(x) @ site.matrix.T + site.module.bias
        y = y.movedim(-1, 1) if name == "pointwise" else y
        assert torch.allclose(y, site.module(x), atol=1e-5)
