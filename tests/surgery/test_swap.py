"""Copies that keep a network's class.

Oracle: the copy whose calls are exchanged one by one, which must compute the same bits, in training and evaluation; it
has an oracle of its own in ``test_sites``.
"""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from surgery_layers import tanh
from torch import Tensor, nn

from evonas.graph.catalogue import CATALOGUE
from evonas.layer.lower import lower
from evonas.surgery.sites import NormActSite, by_calls, exchange_of
from evonas.surgery.swap import by_modules, lost_methods

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def b0(site: NormActSite) -> nn.Module | None:
    return lower(CATALOGUE["evonorm-b0"], site.num_features) if site.act else None


def both(model: nn.Module, make: Callable[[NormActSite], nn.Module | None] = b0) -> tuple[nn.Module | None, nn.Module]:
    """The copy by modules, and that by calls."""
    return by_modules(model, exchange_of(model, make, None)), by_calls(exchange_of(model, make, None))


def require_same_bits(kept: nn.Module | None, traced: nn.Module, x: Tensor) -> None:
    assert kept is not None
    for training in (True, False):
        outputs, states = [], []
        for network in (copy.deepcopy(kept).train(training), copy.deepcopy(traced).train(training)):
            torch.manual_seed(1)  # the same dropout
            outputs.append(network(x))
            states.append(network.state_dict())
        assert torch.equal(*outputs)
        assert all(torch.equal(value, states[0][name]) for name, value in states[1].items())


@pytest.mark.parametrize(
    ("name", "layers", "blocks"),
    [
        ("timm:resnet18", 9, 0),
        ("timm:efficientnet_b0", 33, 0),
        ("timm:regnetx_002", 27, 0),
        ("timm:mobilenetv3_small_050", 23, 0),
        ("timm:vit_tiny_patch16_224", 0, 0),
        ("torchvision:mobilenet_v2", 35, 0),
        ("torchvision:resnet18", 9, 8),  # each block calls one ReLU twice
        ("torchvision:efficientnet_b0", 33, 0),
    ],
)
def test_published_networks_keep_their_class_and_compute_the_same_bits(name: str, layers: int, blocks: int) -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    from evonas.tasks.architectures.external import make_external

    torch.manual_seed(0)
    model = make_external(name, 10)
    kept, traced = both(model)
    x = torch.randn(2, 3, 224, 224) if "vit" in name else IMAGES
    require_same_bits(kept, traced, x)
    assert type(kept) is type(model)
    assert sum(hasattr(part, "genome") for part in kept.modules()) == layers
    assert sum(isinstance(part, torch.fx.GraphModule) for part in kept.modules()) == layers + blocks  # bodies of layers
    again = pickle.loads(pickle.dumps(kept))
    other, _ = both(model)
    other.load_state_dict(kept.state_dict())
    assert torch.equal(again.eval()(x), kept.eval()(x))
    assert torch.equal(other.eval()(x), kept.eval()(x))


def test_a_network_of_timm_keeps_what_its_class_can_do() -> None:
    timm = pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    model = timm.create_model("resnet18", num_classes=10)
    kept, traced = both(model)
    features = kept.eval().forward_features(IMAGES)
    assert features.shape == (2, kept.num_features, 1, 1)
    assert torch.equal(kept.forward_head(features), kept(IMAGES))
    kept.reset_classifier(3)
    assert kept(IMAGES).shape == (2, 3)
    assert {"forward_features", "reset_classifier", "get_classifier"} <= set(lost_methods(model))
    assert not any(hasattr(traced, name) for name in lost_methods(model))


class Block(nn.Module):
    """conv, norm, relu, conv, norm, sum, and the same relu."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.bn1, self.bn2 = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += x
        return self.relu(out)


class Network(nn.Module):
    """Two blocks, and a pair in the stem."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.ReLU())
        self.first, self.second = Block(), Block()

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.second(self.first(self.stem(x))), 0.5, self.training)


def test_only_blocks_that_share_an_activation_are_exchanged_by_calls() -> None:
    model = Network()
    model.stem[2] = nn.Identity()
    kept, traced = both(model)
    require_same_bits(kept, traced, IMAGES)
    assert type(kept) is Network
    assert [name for name, part in kept.named_children() if isinstance(part, torch.fx.GraphModule)] == [
        "first",
        "second",
    ]
    assert isinstance(kept.stem[3], nn.Identity)
    assert isinstance(kept.first.relu, nn.ReLU)  # it follows the sum


def test_what_a_layer_gave_is_not_written_over_by_a_sum() -> None:
    """Tanh needs its result in the backward pass, which ``out += x`` would spoil."""
    kept, traced = both(Network(), tanh)
    require_same_bits(kept, traced, IMAGES)
    kept(IMAGES).sum().backward()
    assert all(p.grad is not None for p in kept.parameters())
    root, _ = both(Block(), tanh)
    assert root is None


class SharedNorm(nn.Module):
    """One norm at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.one, self.two = nn.BatchNorm2d(3), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.bn(self.one(self.bn(x))))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(x))


class Hidden(nn.Module):
    """Calls its norm by a name that is no part of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.act = nn.BatchNorm2d(3), nn.ReLU()
        self.parts = (self.bn, self.act)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class WithMask(nn.Module):
    """A block whose optional input is given, so that it cannot be traced alone."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn, self.act = nn.BatchNorm2d(3), nn.ReLU()

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            x = self.act(self.bn(x))
            return self.act(x if mask is None else x - mask)

    def __init__(self) -> None:
        super().__init__()
        self.part = self.Part()

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x, x.mean())


@pytest.mark.parametrize("kind", [SharedNorm, Functional, Hidden, WithMask])
def test_where_modules_alone_would_compute_something_else_there_is_no_copy_of_the_class(kind: type) -> None:
    kept, traced = both(kind())
    assert kept is None
    assert torch.isfinite(traced(IMAGES)).all()


def test_a_function_in_a_block_costs_the_class_of_the_block_alone() -> None:
    model = nn.Sequential(Functional(), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    kept, traced = both(model)
    require_same_bits(kept, traced, IMAGES)
    assert type(kept) is nn.Sequential


def test_one_activation_after_several_replaced_norms_goes_with_them() -> None:
    act = nn.SiLU()
    model = nn.Sequential(nn.BatchNorm2d(3), act, nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), act)
    kept, traced = both(model)
    require_same_bits(kept, traced, IMAGES)
    assert type(kept) is nn.Sequential
    first, _ = (site for site in exchange_of(model, b0, None).known)
    some = by_modules(model, exchange_of(model, b0, [first]))
    assert some is None  # the second norm still needs it


def test_a_module_for_several_sites_stays_shared_and_the_model_is_untouched() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3), nn.ReLU()).double().eval()
    before, layer = copy.deepcopy(model.state_dict()), lower(CATALOGUE["evonorm-s0"], 3)
    kept = by_modules(model, exchange_of(model, lambda _: layer, None))
    assert kept is not None
    assert kept[0] is kept[2]
    assert kept[0].weight.dtype == torch.float64
    assert not kept[0].training
    assert isinstance(model[0], nn.BatchNorm2d)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


class SameNames(nn.Module):
    """Names of the network's own norms are those of a block's."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.relu1, self.bn2, self.relu2 = nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3), nn.ReLU()
        self.block = Block()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.relu2(self.bn2(self.relu1(self.bn1(x)))))


def test_a_layer_of_the_network_does_not_get_into_a_block_by_its_name() -> None:
    kept, traced = both(SameNames())
    require_same_bits(kept, traced, IMAGES)
    assert isinstance(kept.block.bn2, nn.BatchNorm2d)
