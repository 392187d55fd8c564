"""Oracles: the networks that timm and torchvision publish, whose parameters the unscaled builds must have one by
one; and the spatial sizes that follow from halving the image once per reduction.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.surgery.sites import NormActSite, norm_act_sites, replace_norm_act
from evonas.tasks.architectures import ARCHITECTURES, ArchitectureSpec, build_architecture, unstride

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = (
    ArchitectureSpec("preact_resnet", width=1 / 8, depth=(1, 1, 1), unstrided=1),
    ArchitectureSpec("mobilenet_v2", width=0.25, depth=(1, 1, 1, 0, 1, 1), head=64, unstrided=0),
    ArchitectureSpec("efficientnet", width=0.25, depth=(1, 1, 1, 1), head=192, unstrided=0),
    ArchitectureSpec("densenet", width=0.25, depth=(2, 2, 2), unstrided=1),
    ArchitectureSpec("all_cnn", width=0.125, depth=(1, 2, 2), unstrided=0),
)
each_tiny = pytest.mark.parametrize("spec", TINY, ids=lambda spec: spec.name)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """On busy machines several threads cost these small networks a hundred times what they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seeded(spec: ArchitectureSpec, seed: int = 0, **options: int) -> nn.Module:
    sizes = {"num_classes": 10, "image_size": 8, **options}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_architecture(spec, **sizes)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def size_before_the_head(model: nn.Module, image_size: int) -> int:
    """Height of the feature map that the last norm reads."""
    heights = []
    last = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)][-1]
    with last.register_forward_hook(lambda _, inputs, __: heights.append(inputs[0].shape[-1])):
        model.eval()(torch.zeros(1, 3, image_size, image_size))
    return heights[0]


def published(name: str) -> nn.Module:
    import timm
    from torchvision import models

    makers: dict[str, Callable[[], nn.Module]] = {
        "preact_resnet": lambda: timm.create_model("resnetv2_50", num_classes=10),
        "mobilenet_v2": lambda: models.mobilenet_v2(num_classes=10),
        "efficientnet": lambda: models.efficientnet_b0(num_classes=10),
        "densenet": lambda: models.densenet121(num_classes=10),
    }
    return makers[name]()


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "all_cnn"])
def test_unscaled_networks_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        built = build_architecture(ArchitectureSpec(name, unstrided=0), num_classes=10, image_size=224)
        shapes = {key: value.shape for key, value in published(name).state_dict().items()}
    assert {key: value.shape for key, value in built.state_dict().items()} == shapes


def test_all_cnn_has_the_published_convolutions() -> None:
    # table 1 of arXiv 1412.6806, All-CNN-C: 3x3 of 96, 96, 96 (stride 2), 192, 192, 192 (stride 2), 192; 1x1 of 192, 10
    model = build_architecture(ArchitectureSpec("all_cnn", unstrided=0), num_classes=10, image_size=32)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [(m.out_channels, m.kernel_size[0], m.stride[0]) for m in convolutions] == [
        (96, 3, 1), (96, 3, 1), (96, 3, 2), (192, 3, 1), (192, 3, 1), (192, 3, 2), (192, 3, 1), (192, 1, 1)
    ]  # fmt: skip
    assert 1.3e6 < parameters(model) < 1.45e6  # "1.3 M" and "1.4 M" in its tables 3 and 4
    assert len(norm_act_sites(model)) == len(convolutions)


@pytest.mark.parametrize(("depth", "side"), [((1, 2, 2), 4), ((1, 2, 1, 1), 2), ((1, 1, 1, 1, 1), 1), ((2, 2), 4)])
def test_further_stages_of_all_cnn_end_on_smaller_maps(depth: tuple[int, ...], side: int) -> None:
    spec = ArchitectureSpec("all_cnn", width=0.125, depth=depth, unstrided=0)
    model = build_architecture(spec, num_classes=10, image_size=16)
    assert isinstance(model, nn.Sequential)
    assert model[:-3](torch.zeros(2, 3, 16, 16)).shape[-2:] == (side, side)
    assert sum(isinstance(module, nn.Conv2d) for module in model) == sum(depth)
    with pytest.raises(InputError, match=r"depth: 7 stages; accepted: at most the 6 stages of all_cnn"):
        build_architecture(replace(spec, depth=(1,) * 7), num_classes=10, image_size=16)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("unstrided", [0, 1, 2, 4, 9])
@pytest.mark.parametrize("image_size", [32, 8])
def test_each_unstrided_reduction_keeps_the_image_twice_as_large(name: str, unstrided: int, image_size: int) -> None:
    stages, reductions = {"preact_resnet": (4, 5), "densenet": (4, 5), "all_cnn": (3, 2)}.get(name, (6, 5))
    spec = ArchitectureSpec(name, width=1 / 16, depth=(1,) * stages, unstrided=unstrided)
    model = build_architecture(spec, num_classes=2, image_size=image_size)
    expected = math.ceil(image_size / 2 ** max(reductions - unstrided, 0))
    assert size_before_the_head(model, image_size) == expected


@pytest.mark.parametrize("image_size", [32, 8])
def test_every_normalization_of_a_densenet_is_followed_by_an_activation(image_size: int) -> None:
    sites = norm_act_sites(seeded(ArchitectureSpec("densenet", width=0.25, depth=(2, 3)), image_size=image_size))
    assert len(sites) == 1 + 2 * (2 + 3) + 1 + 1  # stem, two per layer, one transition, the last
    assert {site.act for site in sites} == {"ReLU", "relu"}


def test_a_pooling_of_two_by_two_becomes_the_identity_and_not_a_smaller_image() -> None:
    model, images = nn.Sequential(nn.AvgPool2d(2, 2)), torch.randn(1, 3, 8, 8)
    unstride(model, 1, 8, 3)
    assert torch.equal(model(images), images)


def test_unstride_leaves_modes_and_hooks_as_they_were() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.BatchNorm2d(1), nn.AvgPool2d(2))
    model[1].eval()
    unstride(model, 1, 8, 1)
    assert [module.training for module in model] == [True, False, True]
    assert not model[0]._forward_pre_hooks
    assert (model[0].stride, model[2].stride) == ((1, 1), 2)
    assert torch.equal(model[1].running_mean, torch.zeros(1))


@each_tiny
@pytest.mark.parametrize("image_size", [8, 16, 32])
def test_networks_with_exchanged_layers_run_forward_and_backward(spec: ArchitectureSpec, image_size: int) -> None:
    class Affine(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(channels, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x * self.scale)  # its backward pass reads the result

    def make(site: NormActSite) -> nn.Module:
        channels = site.num_features
        return nn.Sequential(nn.GroupNorm(1, channels), nn.ReLU()) if site.act else Affine(channels)

    model = replace_norm_act(seeded(spec, image_size=image_size), make)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    logits = model(torch.randn(2, 3, image_size, image_size))
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model.eval()(torch.randn(1, 3, image_size, image_size)).shape == (1, 10)


@each_tiny
def test_tiny_networks_are_small_and_have_pairs(spec: ArchitectureSpec) -> None:
    model = seeded(spec)
    assert 15_000 < parameters(model) < 45_000
    assert any(site.act for site in norm_act_sites(model))


@each_tiny
def test_the_seed_alone_decides_the_weights(spec: ArchitectureSpec) -> None:
    one, same, other = (torch.cat([p.flatten() for p in seeded(spec, seed).parameters()]) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@each_tiny
def test_grey_images_get_a_first_convolution_of_the_same_spread(spec: ArchitectureSpec) -> None:
    first = [
        next(m for m in seeded(spec, in_channels=channels).modules() if isinstance(m, nn.Conv2d)) for channels in (3, 1)
    ]
    assert [conv.in_channels for conv in first] == [3, 1]
    assert first[1].weight.std().item() == pytest.approx(first[0].weight.std().item(), rel=0.5)
    assert seeded(spec, in_channels=1)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet"])
def test_head_sets_the_channels_of_the_last_convolution(name: str) -> None:
    model = seeded(ArchitectureSpec(name, width=0.25, depth=(1, 1), head=400))
    last = [module for module in model.modules() if isinstance(module, nn.Conv2d)][-1]
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    assert (last.out_channels, linear.in_features) == (400, 400)
    assert last.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.1)  # kaiming, fan-out


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            ArchitectureSpec("resnet"),
            "architecture.name: unknown architecture 'resnet'; accepted: preact_resnet,",
        ),
        (ArchitectureSpec("efficientnet", width=0.0), "architecture.width: 0.0; accepted: a number above 0"),
        (
            ArchitectureSpec("preact_resnet", depth=(1,) * 5),
            "architecture.depth: 5 stages; accepted: at most the 4 stages of preact_resnet",
        ),
        (
            ArchitectureSpec("mobilenet_v2", depth=(0, 0)),
            r"architecture.depth: \(0, 0\); accepted: blocks per",
        ),
        (
            ArchitectureSpec("mobilenet_v2", depth=(2, -1)),
            r"architecture.depth: \(2, -1\); accepted: blocks per",
        ),
        (ArchitectureSpec("mobilenet_v2", head=0), "architecture.head: 0; accepted: a whole number above 0"),
        (ArchitectureSpec("preact_resnet", head=64), "architecture.head: 64; accepted: nothing"),
        (ArchitectureSpec("densenet", head=64), "architecture.head: 64; accepted: nothing: densenet has no"),
        (
            ArchitectureSpec("efficientnet", unstrided=-1),
            "architecture.unstrided: -1; accepted: a whole number",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_accepted(spec: ArchitectureSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_architecture(spec, num_classes=10, image_size=8)


def test_a_missing_package_is_named_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    for name in ("preact_resnet", "timm:resnet18"):
        with pytest.raises(InputError, match=rf"{name}: needs timm, .*not installed; pip install 'evonas\[vision\]'$"):
            build_architecture(ArchitectureSpec(name), num_classes=10, image_size=8)
