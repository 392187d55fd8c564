"""Oracles: the network before, and images alone against images together."""

from pathlib import Path

import pytest
import torch
from made_tasks import network
from torch import nn

from evonas import config
from evonas.config import LayerConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.lower import NormActLayer
from evonas.layer.ops import BatchMoment
from evonas.search.evaluator import evaluator_from_config
from evonas.surgery.install import with_layer

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
B0 = CATALOGUE["evonorm-b0"]


def test_installing_fills_every_site_of_a_copy() -> None:
    original = network()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    model = with_layer(original, B0, LayerConfig(groups=3, eps=1e-3, momentum=0.25))
    layers = [module for module in model.modules() if isinstance(module, NormActLayer)]
    assert [(layer.num_features, layer.act, layer.genome) for layer in layers] == [(8, True, B0), (4, False, B0)]
    assert [layer.groups for layer in layers] == [2, 2]  # the largest number up to 3 that divides the channels
    (moment,) = (module for module in model.modules() if isinstance(module, BatchMoment))
    assert (moment.eps, moment.momentum) == (1e-3, 0.25)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.ReLU) for module in model.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in original.modules()) == 2
    assert all(torch.equal(before[name], value) for name, value in original.state_dict().items())


def test_a_layer_with_batch_statistics_works_in_evaluation_mode() -> None:
    evaluator = evaluator_from_config(config.load_search(TINY))
    task = evaluator.tasks[0]
    model = with_layer(task.build(1), B0, evaluator.layer).train()
    images, labels = next(task.batches(1))
    running = [value.clone() for name, value in model.named_buffers() if "running" in name]
    task.loss(model, (images, labels)).backward()
    assert running
    assert not any(
        torch.equal(a, b) for a, b in zip(running, (v for n, v in model.named_buffers() if "running" in n), strict=True)
    )
    with torch.no_grad():
        together = model.eval()(images)
        alone = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(alone, together)  # no image sees another
    assert torch.isfinite(together).all()
    with torch.no_grad():
        assert not torch.allclose(model.train()(images), together)


class Parted(nn.Module):
    """Two parts and a norm of its own, joined by a forward that torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head, self.rest = network(), network(), nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.rest(x)
        return self.backbone(y) if y.sum() > 0 else self.head(y)

    def only_here(self) -> int:
        return 1


def test_layers_go_into_parts_alone() -> None:
    """Oracles: each part with layers by itself, and the state of the rest before."""
    original = Parted()
    with pytest.raises(InputError, match=r"torch\.fx cannot trace"):
        with_layer(original, B0, LayerConfig())
    model = with_layer(original, B0, LayerConfig(), parts=("backbone", "head"))
    for name in ("backbone", "head"):
        alone = with_layer(original.get_submodule(name), B0, LayerConfig())
        part = model.get_submodule(name)
        assert {key: value.shape for key, value in part.state_dict().items()} == {
            key: value.shape for key, value in alone.state_dict().items()
        }
        x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(part(x), alone(x), rtol=0, atol=0)
    assert [type(module) for module in model.rest] == [nn.BatchNorm2d, nn.ReLU]
    assert model.only_here() == 1
    assert sum(isinstance(module, NormActLayer) for module in original.modules()) == 0


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(InputError, match=r"backbon'.*backbone"):
        with_layer(Parted(), B0, LayerConfig(), parts=("backbon",))


@pytest.mark.parametrize("parts", [(), ("0", "1")])
def test_norms_without_activation_become_affine_or_stay(parts: tuple[str, ...]) -> None:
    """The oracle is the network before: of its norms, one of two has an activation behind it."""
    original = nn.Sequential(network(), network()) if parts else network()
    for bare, kept in (("affine", 0), ("norm", 1)):
        model = with_layer(original, B0, LayerConfig(), parts=parts, bare=bare)
        layers = [module for module in model.modules() if isinstance(module, NormActLayer)]
        count = len(parts) or 1
        assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == kept * count
        assert [layer.act for layer in layers] == ([True] if kept else [True, False]) * count
