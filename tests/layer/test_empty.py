"""Batches without an image and maps of one pixel, as heads of detectors meet them, through lowered and written layers.

Oracles: the shape of the input, the state before, and a batch to which an empty one is added.
"""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evonas.graph.catalogue import CATALOGUE
from evonas.graph.primitive import LAYOUTS
from evonas.layer.export import export
from evonas.layer.lower import lower
from evonas.layer.ops import BatchMoment

CASES = [(name, layout) for name, genome in CATALOGUE.items() for layout in genome.layouts or LAYOUTS]
each_case = pytest.mark.parametrize(("name", "layout"), CASES)
each_door = pytest.mark.parametrize("door", ["lowered", "written"])
D = 8
EMPTY = {"bchw": [(0, D, 7, 7), (0, D, 1, 1)], "btd": [(0, 5, D), (2, 0, 5, D)]}
TINY = {"bchw": [(1, D, 1, 1), (2, D, 2, 2), (2, D, 1, 1)], "btd": [(1, 1, D), (2, 1, D)]}


def made(door: str, name: str, layout: str, folder: Path) -> nn.Module:
    """A layer whose parameters and running values are not those that it starts with."""
    layer = lower(name, D, layout=layout, groups=4)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in (*layer.parameters(), *layer.buffers()):
            value.add_(0.1 * torch.rand(value.shape, generator=generator))
    if door == "lowered":
        return layer
    file = export(layer.genome, folder / "written.py", name="written", layout=layout, groups=4)
    spec = importlib.util.spec_from_file_location("written", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    written = module.Written(D)
    written.load_state_dict({key.removeprefix("body."): value for key, value in layer.state_dict().items()})
    return written


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@each_door
@each_case
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_gives_an_empty_one_and_changes_nothing(
    training: bool, name: str, layout: str, door: str, tmp_path: Path
) -> None:
    layer = made(door, name, layout, tmp_path).train(training)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    for shape in EMPTY[layout]:
        x = torch.zeros(shape, requires_grad=True)
        y = layer(x)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        gradients = torch.autograd.grad(y.sum(), [x, *layer.parameters()], allow_unused=True)
        assert all(g is None or torch.equal(g, torch.zeros_like(g)) for g in gradients)
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


@each_door
@each_case
@pytest.mark.parametrize("training", [True, False])
def test_maps_of_one_and_four_pixels_give_numbers(
    training: bool, name: str, layout: str, door: str, tmp_path: Path
) -> None:
    layer = made(door, name, layout, tmp_path).train(training)
    for shape in TINY[layout]:
        x = noise(shape).requires_grad_()
        y = layer(x)
        assert y.shape == x.shape
        gradients = torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])
        assert all(value.isfinite().all() for value in (y, *gradients, *layer.buffers()))


@pytest.mark.parametrize("moment", ["mean", "rms", "std"])
def test_running_values_follow_batches_as_if_there_were_no_empty_ones(moment: str) -> None:
    plain, interrupted = (BatchMoment(moment, D, 1e-5, 0.1) for _ in range(2))
    for seed in range(3):
        x = noise((4, D, 3, 3), seed)
        assert torch.equal(plain(x), interrupted(x))
        interrupted(x[:0])
    assert torch.equal(plain.running, interrupted.running)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["evonorm-s0", "evonorm-b0", "gn-relu", "layernorm"])
def test_empty_batches_keep_half_precision(name: str, dtype: torch.dtype) -> None:
    layer = lower(CATALOGUE[name], D, groups=4)
    x = torch.zeros((0, D, 7, 7) if layer.layout == "bchw" else (0, 5, D), dtype=dtype)
    assert (layer(x).shape, layer(x).dtype) == (x.shape, dtype)


def test_moments_of_every_kind_take_empty_batches_in_any_layer(tmp_path: Path) -> None:
    """What the catalogue does not have: moments of moments, of parameters, and of what does not vary over the map."""
    for text in (
        "x / std[bhw](mean[hw](x))",
        "x + rms[bhw](x * v1) / rms[ghw](mean[bhw](x))",
        "x * mean[chw](v1) - std[hw](square(x))",
        "max(mean[bhw](x), std[ghw](x)) * v1",
    ):
        layer = made("lowered", text, "bchw", tmp_path).train()
        before = [value.clone() for value in layer.buffers()]
        x = torch.zeros((0, D, 7, 7), requires_grad=True)
        layer(x).sum().backward()
        assert all(torch.equal(old, new) for old, new in zip(before, layer.buffers(), strict=True)), text
        assert all(value.grad is None or value.grad.isfinite().all() for value in layer.parameters()), text
