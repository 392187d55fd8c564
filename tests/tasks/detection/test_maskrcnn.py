"""Oracles: torchvision's own Mask R-CNN with norms, and the state of a network before surgery."""

import pytest
import torch
from torch import Tensor, nn

from evonas.compare.costs import network_cost
from evonas.config import DETECTORS, LayerConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE, genome_of
from evonas.graph.genome import Genome
from evonas.layer.lower import NormActLayer
from evonas.surgery.install import with_layer
from evonas.surgery.sites import norm_act_sites
from evonas.tasks.detection.maskrcnn import MASKRCNNS, PARTS, build_maskrcnn
from evonas.tasks.task import Task

pytest.importorskip("torchvision", reason="pip install 'evonas[detection]'")

S0, B0 = CATALOGUE["evonorm-s0"], CATALOGUE["evonorm-b0"]


def small(name: str = "maskrcnn-resnet18-fpn", size: int = 64) -> nn.Module:
    torch.manual_seed(1)
    return build_maskrcnn(name, num_classes=3, image_size=size, width=0.125, head=8)


def scenes(count: int, size: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Bright and dark squares on noise, one of each a scene, with exact masks."""
    generator = torch.Generator().manual_seed(1)
    images, targets = [], []
    for _ in range(count):
        image, masks, boxes = 0.3 * torch.rand(3, size, size, generator=generator) + 0.35, [], []
        for value in (1.0, 0.0):
            side = size // 3
            x, y = torch.randint(0, size - side, (2,), generator=generator).tolist()
            image[:, y : y + side, x : x + side] = value
            mask = torch.zeros(size, size, dtype=torch.uint8)
            mask[y : y + side, x : x + side] = 1
            masks = [earlier * (1 - mask) for earlier in masks] + [mask]
            boxes.append([float(x), float(y), float(x + side), float(y + side)])
        targets.append({"boxes": torch.tensor(boxes), "labels": torch.tensor([1, 2]), "masks": torch.stack(masks)})
        images.append(image)
    return images, targets


def test_the_published_resnet_is_torchvisions_but_for_one_convolution() -> None:
    """The recipe's head that proposes regions has one convolution, torchvision's second version two."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

    with torch.device("meta"):
        ours = build_maskrcnn("maskrcnn-resnet50-fpn", num_classes=91, image_size=800)
        theirs = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
    expected = {name: value.shape for name, value in theirs.state_dict().items()}
    second = {f"rpn.head.conv.1.0.{kind}" for kind in ("weight", "bias")}
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: shape for name, shape in expected.items() if name not in second
    }
    assert sum(p.numel() for p in ours.parameters()) == 46_359_409 - (
        256 * 256 * 9 + 256
    )  # torchvision's documentation


def test_the_published_resnet_computes_what_torchvisions_does() -> None:
    from torchvision.models.detection import maskrcnn_resnet50_fpn_v2
    from torchvision.models.detection.rpn import RPNHead

    ours = build_maskrcnn("maskrcnn-resnet50-fpn", num_classes=4, image_size=64)
    theirs = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=4)
    theirs.rpn.head = RPNHead(256, 3)
    theirs.load_state_dict(ours.state_dict())
    images, _ = scenes(1, 64)
    maps = [network.eval().backbone(torch.stack(images)) for network in (ours, theirs)]
    assert list(maps[0]) == list(maps[1]) == ["0", "1", "2", "3", "pool"]
    for name in maps[0]:
        torch.testing.assert_close(maps[0][name], maps[1][name], rtol=0, atol=0)


def test_sites_of_the_parts_are_where_the_recipe_has_norms() -> None:
    """Of a ResNet-18: 9 sites, 8 ends of branches, 3 shortcuts; 8 in the pyramid; 4 in each head."""
    model = small()
    sites = {part: norm_act_sites(model.get_submodule(part)) for part in PARTS}
    counts = {part: (sum(s.act is not None for s in found), len(found)) for part, found in sites.items()}
    assert counts == {"backbone": (9, 28), "roi_heads.box_head": (4, 4), "roi_heads.mask_head": (4, 4)}


@pytest.mark.parametrize(
    ("name", "bare"),
    [("maskrcnn-resnet18-fpn", "affine"), ("maskrcnn-resnet18-fpn", "norm"), ("maskrcnn-spinenet49", "affine")],
)
def test_layers_go_into_backbone_and_heads(name: str, bare: str) -> None:
    original = small(name)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in original.modules())
    sites = [site for part in PARTS for site in norm_act_sites(original.get_submodule(part))]
    active = sum(site.act is not None for site in sites)
    assert norms == len(sites)  # no norm is missed
    model = with_layer(original, S0, LayerConfig(), parts=PARTS, bare=bare)
    layers = [module for module in model.modules() if isinstance(module, NormActLayer)]
    left = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert sum(layer.act for layer in layers) == active
    assert (len(layers), left) == ((norms, 0) if bare == "affine" else (active, norms - active))
    assert type(model) is type(original)


@pytest.mark.parametrize("genome", [S0, B0])
def test_training_gives_losses_and_gradients_and_evaluation_detections(genome: Genome) -> None:
    model = with_layer(small(), genome, LayerConfig(), parts=PARTS)
    images, targets = scenes(2, 64)
    losses = model.train()(images, targets)
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
    sum(losses.values()).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    with torch.no_grad():
        found = model.eval()(images)
    for one in found:
        assert set(one) == {"boxes", "labels", "scores", "masks"}
        assert one["masks"].shape == (len(one["boxes"]), 1, 64, 64)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "maskrcnn-resnet19-fpn"}, "maskrcnn-resnet18-fpn"),
        ({"num_classes": 1}, "background"),
        ({"image_size": 0}, "pixels"),
        ({"width": 0.0}, "tasks.width"),
        ({"head": 0}, "tasks.head"),
    ],
)
def test_what_cannot_be_built_is_said(changed: dict[str, object], message: str) -> None:
    arguments = {"name": MASKRCNNS[0], "num_classes": 3, "image_size": 64, **changed}
    with pytest.raises(InputError, match=message):
        build_maskrcnn(arguments.pop("name"), **arguments)


@pytest.mark.parametrize("name", ["maskrcnn-resnet18-fpn", "maskrcnn-spinenet49"])
def test_images_of_odd_sizes_are_taken(name: str) -> None:
    """Images are scaled to the size and padded; what is found has the size of each image."""
    model = with_layer(small(name), S0, LayerConfig(), parts=PARTS)
    sizes = [(50, 37), (33, 61)]
    images = [torch.rand(3, *size) for size in sizes]
    box = torch.tensor([[5.0, 6.0, 20.0, 30.0]])
    mask = torch.zeros(1, 1, 1, dtype=torch.uint8)
    targets = [{"boxes": box, "labels": torch.tensor([1]), "masks": mask.expand(1, *size)} for size in sizes]
    losses = model.train()(images, targets)
    assert all(loss.isfinite() for loss in losses.values())
    with torch.no_grad():
        found = model.eval()(images)
    assert [one["masks"].shape[1:] for one in found] == [(1, *size) for size in sizes]


@pytest.mark.parametrize("name", ["evonorm-b0", "evonorm-s0", "bn-relu", "gn-relu"])
def test_images_without_objects_and_without_proposals_are_taken(name: str) -> None:
    """Then the mask head and, in evaluation, the box head get empty batches; the oracle is their state before."""
    model = with_layer(small(), CATALOGUE[name], LayerConfig(), parts=PARTS).train()
    images, _ = scenes(2, 64)
    nothing = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, 64, 64, dtype=torch.uint8),
    }
    mask_head = model.get_submodule("roi_heads.mask_head")
    before = {key: value.clone() for key, value in mask_head.state_dict().items()}
    losses = model(images, [dict(nothing) for _ in images])
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(torch.equal(before[key], value) for key, value in mask_head.state_dict().items())
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    model.rpn.score_thresh = 1.1  # above any probability
    with torch.no_grad():
        found = model.eval()(images)
    assert [(len(one["boxes"]), tuple(one["masks"].shape)) for one in found] == [(0, (0, 1, 64, 64))] * 2


def loss_of(model: nn.Module, batch: tuple[list[Tensor], list[dict[str, Tensor]]]) -> Tensor:
    """The sum of the losses; in evaluation, which has none, that of the scores."""
    images, targets = batch
    if model.training:
        return torch.stack(list(model(images, targets).values())).sum()
    return torch.stack([one["scores"].sum() for one in model(images)]).sum()


@pytest.mark.parametrize("bare", ["affine", "norm"])
def test_costs_are_those_of_the_parts(bare: str) -> None:
    """Parameters are counted by hand: a layer without parameters of its own has those of batch normalization."""
    batch = scenes(1, 64)
    task = Task("scenes", lambda _seed: small(), lambda _seed: iter([batch]), loss_of, lambda _model: 0.0, parts=PARTS)
    cost = network_cost(task, genome_of("max(x, zero)"), LayerConfig(bare=bare), 1)
    assert cost.parameters == sum(parameter.numel() for parameter in small().parameters())
    assert min(cost.training, cost.inference, cost.memory, cost.relative_memory) > 0


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["bn-relu", "evonorm-b0", "evonorm-s0"])
@pytest.mark.parametrize(
    ("name", "size", "width", "steps"),
    [("maskrcnn-resnet18-fpn", 96, 0.25, 80), ("maskrcnn-spinenet49", 128, 0.125, 80)],
)
def test_losses_fall_on_a_handful_of_scenes(name: str, size: int, width: float, steps: int, layer: str) -> None:
    torch.manual_seed(1)
    model = build_maskrcnn(name, num_classes=3, image_size=size, width=width, head=32)
    model = with_layer(model, CATALOGUE[layer], LayerConfig(), parts=PARTS).train()
    batch = scenes(4, size)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])


def test_a_file_of_settings_may_name_every_network_and_no_other() -> None:
    assert sorted(DETECTORS) == sorted(MASKRCNNS)
