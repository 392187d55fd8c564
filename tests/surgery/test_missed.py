"""Surgery that leaves norms alone says so.

Oracles: the names and classes of norms written down by hand for small networks and for published ones; the network
before surgery, for what is left as it was.
"""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.lower import lower
from evonas.surgery.install import install_layers
from evonas.surgery.sites import NormActSite, SurgeryWarning, norm_act_sites, replace_norm_act


class RMSNormGated(nn.Module):
    """A norm of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.act = nn.Parameter(torch.ones(4)), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x) * self.weight / x.square().mean().sqrt()


class PreNormBlock(nn.Module):
    """Called a norm, and is a block that has one."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.body = norm, nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.norm(x))


def s0(site: NormActSite) -> nn.Module:
    return lower(CATALOGUE["evonorm-s0"], site.num_features, groups=2, act=site.act is not None)


def readmes(site: NormActSite) -> nn.Module | None:
    """The README's own way: a layer where an activation follows."""
    return lower(CATALOGUE["evonorm-s0"], site.num_features) if site.act else None


@pytest.mark.parametrize(
    ("norm", "said"),
    [
        (nn.BatchNorm1d(4), "0 (BatchNorm1d)"),
        (nn.BatchNorm3d(4), "0 (BatchNorm3d)"),
        (nn.InstanceNorm1d(4), "0 (InstanceNorm1d)"),
        (nn.LocalResponseNorm(2), "0 (LocalResponseNorm)"),
        (nn.LayerNorm([4, 8, 8]), "0 (LayerNorm)"),  # its last axis is no channel
        (RMSNormGated(), "0 (RMSNormGated)"),
        (PreNormBlock(nn.BatchNorm1d(4)), "0.norm (BatchNorm1d)"),
    ],
)
def test_a_network_without_a_site_is_refused_with_the_norms_it_has(norm: nn.Module, said: str) -> None:
    model = nn.Sequential(norm, nn.ReLU())
    assert norm_act_sites(model) == ()
    with pytest.raises(InputError) as error:
        replace_norm_act(model, s0)
    message = str(error.value)
    assert message.startswith(f"Sequential: it has norms, but none that can be replaced: {said}; accepted: calls of ")
    assert "BatchNorm2d" in message
    assert "replace_modules" in message
    assert len(message.splitlines()) == 1


def test_a_network_without_norms_is_refused() -> None:
    for model in (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), nn.Sequential(nn.Identity())):
        with pytest.raises(InputError, match=r"^Sequential: it has no norm; "):
            replace_norm_act(model, s0)
        with pytest.raises(InputError, match="it has no norm"):  # a search would train the same network every time
            install_layers(model, s0)


def test_norms_that_stay_beside_what_is_replaced_are_warned_about() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), RMSNormGated(), nn.Flatten(2), nn.BatchNorm1d(4))
    words = r"^2 norms stay as they are, since they are no sites: 2 \(RMSNormGated\), 4 \(BatchNorm1d\)$"
    with pytest.warns(SurgeryWarning, match=words) as caught:
        replaced = replace_norm_act(model, s0)
    assert caught[0].filename == __file__
    assert isinstance(replaced.get_submodule("4"), nn.BatchNorm1d)


@pytest.mark.filterwarnings("error")
def test_there_is_no_warning_where_every_norm_is_replaced_or_was_chosen() -> None:
    whole = nn.Sequential(PreNormBlock(nn.BatchNorm2d(4)), nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 1)))
    once = replace_norm_act(whole, s0)
    assert not norm_act_sites(once)  # a lowered layer is no norm that was missed
    mixed = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), RMSNormGated(), nn.InstanceNorm2d(4), nn.ReLU())
    first, second = norm_act_sites(mixed)
    replace_norm_act(mixed, s0, sites=[first])
    again = nn.Sequential(replace_norm_act(nn.Sequential(nn.BatchNorm2d(4), nn.ReLU()), s0), nn.InstanceNorm2d(4))
    replace_norm_act(again, s0)
    assert second.norm == "3"


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_the_readmes_way_on_networks_whose_norms_are_bare_says_that_nothing_was_replaced(name: str) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    with torch.device("meta"):
        model = timm.create_model(name)
    count = len(norm_act_sites(model))
    words = rf"^nothing was replaced: make gave None for all {count} sites .*, \.\.\.\); {count} have no activation"
    with pytest.warns(SurgeryWarning, match=words) as caught:
        replace_norm_act(model, readmes)
    assert caught[0].filename == __file__


def test_no_sites_asked_for_is_said_too() -> None:
    with pytest.warns(SurgeryWarning, match="nothing was replaced: none of the 1 sites was asked for"):
        replace_norm_act(nn.Sequential(nn.BatchNorm2d(4)), s0, sites=[])


def test_instance_norm_is_a_site_like_the_others() -> None:
    """The exchange for itself changes no bit."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.ReLU())
    (site,) = norm_act_sites(model)
    assert (site.norm, site.act, site.num_features, site.layout) == ("1", "ReLU", 4, "bchw")
    x = torch.randn(2, 3, 6, 6)
    replaced = replace_norm_act(model, lambda _: nn.Sequential(model[1], nn.ReLU()))
    assert torch.equal(replaced(x), model(x))


@pytest.mark.parametrize("made", [3, "evonorm-s0", nn.ReLU, lambda x: x])
def test_something_else_than_a_module_is_refused_by_the_name_of_its_site(made: object) -> None:
    with pytest.raises(InputError, match=r"^0: its replacement is a \w+; accepted: a torch\.nn\.Module, or None$"):
        replace_norm_act(nn.Sequential(nn.BatchNorm2d(4)), lambda _: made)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    "build",
    [
        lambda timm: timm.create_model("resnet18"),
        lambda timm: timm.create_model("convnext_atto"),
        lambda timm: timm.create_model("vit_tiny_patch16_224"),
        lambda timm: timm.create_model("efficientnet_b0"),
        lambda timm: timm.create_model("densenet121"),
        lambda timm: timm.create_model("swin_tiny_patch4_window7_224"),
    ],
)
def test_published_networks_have_no_norm_that_is_missed(build: Callable[..., nn.Module]) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    with torch.device("meta"):
        model = build(timm)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        replace_norm_act(model, lambda _: nn.Identity())
    assert not [each for each in caught if "norms stay" in str(each.message)]
