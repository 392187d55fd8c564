"""Oracles: networks written out here, of which it is known what calls what and what is added to what."""

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.sites import find_sites, require_sites, steered
from evonas.tasks.language.model import build_transformer
from evonas.tasks.language.settings import ModelConfig


class Block(nn.Module):
    """x + scale * out(act(inner(norm(x)))), as a tuple."""

    def __init__(self, width: int, layer_scale: bool) -> None:
        super().__init__()
        self.out, self.norm = nn.Linear(2 * width, width), nn.LayerNorm(width)  # not in the order of calls
        self.inner, self.act, self.drop = nn.Linear(width, 2 * width), Wavy(), nn.Dropout(0.5)
        self.scale = nn.Parameter(torch.ones(width)) if layer_scale else 0.5

    def forward(self, x: Tensor) -> tuple[Tensor, str]:
        return x + self.scale * self.drop(self.out(self.act(self.inner(self.norm(x))))), "more"


class Wavy(nn.Module):
    """An activation that sums tensors of one shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * x.sin()


class Network(nn.Module):
    def __init__(self, layer_scale: bool = False) -> None:
        super().__init__()
        self.first, self.second = Block(4, layer_scale), Block(4, layer_scale)
        self.norm, self.unused = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.second(self.first(x)[0])[0])


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.norm = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.last, self.head = nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.norm(self.conv(x))
        return self.head(self.last(x.permute(0, 2, 3, 1)).mean((1, 2)))


class InPlace(nn.Module):
    """As torchvision writes residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.relu, self.end = nn.ReLU(inplace=True), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu_()
        y = self.second(self.relu(self.first(x)))
        y += x
        return self.end(y)


def test_activations_in_place_part_a_layer_from_the_stream() -> None:
    sites = find_sites(InPlace().eval(), ["*"], torch.randn(2, 3, 4, 4))
    found = {site.name: site.writes_residual for site in sites}
    assert found == {"stem": False, "first": False, "relu": False, "second": True, "end": True}


@pytest.mark.parametrize("layer_scale", [True, False])
def test_sites_come_in_the_order_of_calls_and_know_the_residual_stream(layer_scale: bool) -> None:
    sites = find_sites(Network(layer_scale).eval(), ["second.*", "first", "norm"], torch.randn(2, 3, 4))
    assert [(site.name, site.features, site.axis, site.kind, site.writes_residual) for site in sites] == [
        ("first", 4, -1, "Block", True),  # the sum itself
        ("second.norm", 4, -1, "LayerNorm", False),
        ("second.inner", 8, -1, "Linear", False),  # its sum is the activation's own
        ("second.act", 8, -1, "Wavy", False),
        ("second.out", 4, -1, "Linear", True),  # through dropout and scaling
        ("second.drop", 4, -1, "Dropout", True),
        ("norm", 4, -1, "LayerNorm", False),
    ]


def test_channels_of_maps_are_the_second_axis() -> None:
    sites = find_sites(Images().eval(), ["*"], torch.randn(2, 1, 7, 8))
    assert [(site.name, site.features, site.axis, site.writes_residual) for site in sites] == [
        ("stem", 6, 1, True),
        ("conv", 6, 1, False),
        ("norm", 6, 1, True),
        ("last", 6, -1, False),
        ("head", 2, -1, False),
    ]


def test_the_small_transformer_writes_its_stream_with_out_and_down() -> None:
    model = build_transformer(ModelConfig(vocabulary=7, width=8, depth=2, head_size=4, context=12), seed=0).eval()
    tokens = torch.randint(7, (2, 12), generator=torch.Generator().manual_seed(0))
    sites = find_sites(model, ["embedding", "blocks.*", "blocks.*.*", "**.out", "**.up", "**.down"], tokens)
    writers = {site.name for site in sites if site.writes_residual}
    parts = ("", ".attention", ".attention.out", ".mlp", ".mlp.down")
    assert writers == {"embedding", *(f"blocks.{k}{part}" for k in range(2) for part in parts)}


def test_maps_act_on_the_first_element_inside_the_context_only() -> None:
    model, x = Network().eval(), torch.randn(2, 3, 4)
    sites = find_sites(model, ["first", "second.out"], x)
    maps = [AffineMap(torch.full((4,), 2.0), torch.ones(4)), AffineMap(torch.zeros(4), torch.zeros(4))]
    before = model(x)
    with steered(model, sites, maps):
        assert torch.equal(model.first(x)[0], 2 * model.first.forward(x)[0] + 1)
        assert model.first(x)[1] == "more"
        torch.testing.assert_close(model(x), model.norm(2 * model.first.forward(x)[0] + 1))
    assert torch.equal(model(x), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.listing, self.number = nn.Linear(4, 4), nn.ModuleList([nn.Identity()]), Number()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x)) * self.number(x)["size"]


class Number(nn.Module):
    def forward(self, x: Tensor) -> dict[str, int]:
        return {"size": x.ndim}


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("layers", r"pattern 'layers': matches none of the 4 modules of this Twice; accepted: names such as layer"),
        ("layer", "layer: called more than once in a forward pass"),
        ("listing", "listing: not called in a forward pass; accepted: modules called once"),
        ("number", "number: puts out a dict; accepted: a module whose output is a tensor"),
    ],
)
def test_sites_that_cannot_be_used_are_named_in_one_line(pattern: str, message: str) -> None:
    model = Twice()
    with pytest.raises(InputError, match=message) as error:
        find_sites(model, [pattern], torch.randn(2, 4))
    assert len(str(error.value).splitlines()) == 1
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_batch_that_is_no_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"^batch: a tuple; accepted: a tensor, or a mapping of inputs"):
        find_sites(Network(), ["norm"], (torch.randn(2, 4), torch.zeros(2)))


def test_other_models_are_refused() -> None:
    sites = find_sites(Network().eval(), ["second.out", "second.act"], torch.randn(2, 3, 4))
    assert require_sites(Network(), sites, "Network")
    with pytest.raises(InputError, match=r"^second.act: no such module in this Images; .* made for a Network$"):
        require_sites(Images(), sites, "Network")
    other = Network()
    other.second = Block(5, False)
    with pytest.raises(InputError, match=r"^second.out: 5 neurons in this Network; accepted: 4; .*for a Network$"):
        require_sites(other, sites, "Network")
    maps = [AffineMap(torch.ones(site.features), torch.zeros(site.features)) for site in sites]
    other.first = Block(5, False)
    other.norm = nn.LayerNorm(5)
    with (
        steered(other, sites[:1], maps[:1]),  # an activation does not show its size before it is called
        pytest.raises(InputError, match=r"second.act: 10 neurons put out by this model; accepted: 8"),
    ):
        other(torch.randn(2, 3, 5))
