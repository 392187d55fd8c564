"""Oracles: numbers of parameters and sites by arithmetic from the published table, and sizes by division."""

import math

import networkx as nx
import pytest
import torch

from evonas.config import LayerConfig
from evonas.graph.catalogue import CATALOGUE
from evonas.surgery.install import with_layer
from evonas.surgery.sites import norm_act_sites
from evonas.surgery.tracing import trace
from evonas.tasks.detection.maskrcnn import build_maskrcnn
from evonas.tasks.detection.spinenet import LEVELS, OUTPUTS, SpineNet, spinenet
from evonas.tasks.detection.spinenet_graph import BLOCKS, SCALINGS, spinenet_graph

pytest.importorskip("torchvision", reason="pip install 'evonas[detection]'")

# without and with the convolutions of the last maps
PARAMETERS = {
    "spinenet49s": (8_705_471, 9_089_215),
    "spinenet49": (20_649_280, 21_831_488),
    "spinenet96": (35_080_768, 36_262_976),
    "spinenet143": (59_065_408, 60_247_616),
    "spinenet190": (123_522_832, 126_587_664),
}
# of a Mask R-CNN in millions, as published; that of 49S has no published figure
PUBLISHED = {"spinenet49": 40.8, "spinenet96": 55.2, "spinenet143": 79.2, "spinenet190": 168.2}


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def narrow(name: str = "spinenet49") -> SpineNet:
    torch.manual_seed(1)
    return spinenet(name, width=0.125, channels=8)


def test_the_graph_is_the_table_with_one_extra_edge() -> None:
    graph = spinenet_graph()
    assert [(one, other) for one, other, extra in graph.edges(data="extra") if extra] == [(11, 14)]
    assert graph.number_of_edges() == 1 + 15 * 2 + 1  # within the stem, of two parents each, extra
    assert list(graph) == list(range(17))
    assert nx.is_directed_acyclic_graph(graph)
    assert all(parent < block for parent, block in graph.edges)
    assert [BLOCKS[n].output for n in graph if not graph.out_degree(n)] == ["P3", "P7", "P6"]  # no other goes unused
    assert {block.output: block.level for block in BLOCKS if block.output} == {f"P{level}": level for level in LEVELS}


@pytest.mark.parametrize("name", SCALINGS)
def test_numbers_of_parameters_are_those_of_the_table(name: str) -> None:
    with torch.device("meta"):
        network = spinenet(name)
    assert (parameters(network) - parameters(network.endpoints), parameters(network)) == PARAMETERS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_whole_networks_have_the_published_number_of_parameters(name: str) -> None:
    """The head that proposes regions is counted as published: with a norm, and with 384 channels in SpineNet-190."""
    with torch.device("meta"):
        network = build_maskrcnn(f"maskrcnn-{name}", num_classes=91, image_size=SCALINGS[name].image_size)
    proposing = network.get_submodule("rpn.head")
    channels = 384 if name == "spinenet190" else 256
    inputs, anchors = SCALINGS[name].channels, 3
    published = channels * (9 * inputs + 2) + (channels + 1) * anchors * 5
    counted = (parameters(network) - parameters(proposing) + published) / 1e6
    assert counted == pytest.approx(PUBLISHED[name], abs=0.06)  # biases in front of norms are not counted here


@pytest.mark.parametrize(("width", "channels", "millions"), [(0.25, 64, 1.39), (0.25, 32, 1.35), (0.5, 128, 5.49)])
def test_widths_and_last_maps_are_scaled(width: float, channels: int, millions: float) -> None:
    with torch.device("meta"):
        network = spinenet("spinenet49", width=width, channels=channels)
    assert round(parameters(network) / 1e6, 2) == millions


@pytest.mark.parametrize(("name", "counts"), [("spinenet49", (82, 48, 32)), ("spinenet96", (112, 65, 49))])
def test_sites_are_those_of_the_table(name: str, counts: tuple[int, int, int]) -> None:
    """Sites, norms without activation, activations without norm."""
    network = narrow(name)
    sites = norm_act_sites(network)
    modules = dict(network.named_modules())
    called = [modules.get(str(node.target), node.target) for node in trace(network).nodes]
    activations = sum(isinstance(one, torch.nn.ReLU) or one is torch.nn.functional.relu for one in called)
    active = sum(site.act is not None for site in sites)
    assert (active, len(sites) - active, activations - active) == counts
    assert all(site.before_sum for site in sites if site.act is None)


@pytest.mark.parametrize("size", [(128, 128), (100, 131), (37, 64), (1, 1)])
def test_maps_of_any_size_are_rounded_up(size: tuple[int, int]) -> None:
    network = narrow().eval()
    with torch.no_grad():
        maps = network(torch.rand(2, 3, *size))
    assert tuple(maps) == OUTPUTS == ("P3", "P4", "P5", "P6", "P7")
    for level, (name, x) in zip(LEVELS, maps.items(), strict=True):
        assert x.shape == (2, 8, *(math.ceil(side / 2**level) for side in size)), name


@pytest.mark.parametrize(("name", "bare"), [("evonorm-s0", "affine"), ("evonorm-b0", "norm")])
def test_all_weights_learn_through_layers(name: str, bare: str) -> None:
    """A block whose output nothing used would have no gradient: block 11 has one through the extra edge alone."""
    network = with_layer(narrow(), CATALOGUE[name], LayerConfig(), bare=bare)
    maps = network(torch.rand(2, 3, 96, 160))
    sum(x.square().mean() for x in maps.values()).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert any(gradient.abs().sum() > 0 for name, gradient in gradients.items() if name.startswith("blocks.11."))
