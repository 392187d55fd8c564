"""Oracles: pair counts taken from the published networks, and the original model, which an exchange of each
pair for its own norm and activation must reproduce bit for bit.
"""

import copy
import pickle
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from surgery_layers import Tanh, tanh
from torch import Tensor, fx, nn

from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.lower import lower
from evonas.surgery.sites import NormActSite, SurgeryWarning, norm_act_sites, replace_norm_act

ACTS: dict[str, Callable[[], nn.Module]] = {"ReLU": nn.ReLU, "Hardswish": nn.Hardswish, "relu": nn.ReLU}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """On busy machines several threads cost these small networks a hundred times what they give."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def same(model: nn.Module) -> Callable[[NormActSite], nn.Module]:
    modules = dict(model.named_modules())

    def make(site: NormActSite) -> nn.Module:
        norm = copy.deepcopy(modules[site.norm])
        return norm if site.fused or site.act is None else nn.Sequential(norm, ACTS[site.act]())

    return make


def pairs_and_bare(model: nn.Module) -> tuple[int, int]:
    sites = norm_act_sites(model)
    pairs = sum(site.act is not None for site in sites)
    return pairs, len(sites) - pairs


def random_statistics(model: nn.Module) -> nn.Module:
    """Running statistics and affine parameters that tell one norm from another."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", (9, 11)),
        ("mobilenet_v2", (35, 17)),
        ("efficientnet_b0", (33, 16)),
        ("mobilenet_v3_small", (23, 11)),
        ("vit_b_16", (0, 25)),
    ],
)
def test_torchvision_networks_have_their_published_pairs(name: str, expected: tuple[int, int]) -> None:
    models = pytest.importorskip("torchvision.models", reason="pip install 'evonas[vision]'")
    with torch.device("meta"):
        model = models.get_model(name, weights=None, num_classes=10)
    assert pairs_and_bare(model) == expected


@pytest.mark.parametrize(
    ("name", "expected", "acts", "fused"),
    [
        ("resnet18", (9, 11), {"ReLU"}, False),
        ("efficientnet_b0", (33, 16), {"SiLU"}, True),
        ("resnetv2_50", (49, 0), {"ReLU"}, True),
        ("vit_tiny_patch16_224", (0, 25), set(), False),
    ],
)
def test_timm_networks_have_their_published_pairs(
    name: str, expected: tuple[int, int], acts: set[str], fused: bool
) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    with torch.device("meta"):
        model = timm.create_model(name, pretrained=False, num_classes=10)
    assert pairs_and_bare(model) == expected
    paired = [site for site in norm_act_sites(model) if site.act is not None]
    assert {site.act for site in paired} == acts
    assert all(site.fused == fused for site in paired)


def test_an_activation_module_called_twice_belongs_to_one_norm_only() -> None:
    models = pytest.importorskip("torchvision.models", reason="pip install 'evonas[vision]'")
    acts = {site.norm: site.act for site in norm_act_sites(models.resnet18(num_classes=10))}
    assert acts["layer1.0.bn1"] == "ReLU"
    assert acts["layer1.0.bn2"] is None


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["resnet", "mobilenet_v3_small"])
def test_exchanging_each_pair_for_itself_changes_no_bit(name: str, training: bool) -> None:
    models = pytest.importorskip("torchvision.models", reason="pip install 'evonas[vision]'")
    if name == "resnet":
        model = models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=10)
    else:
        model = models.get_model(name, weights=None, num_classes=10)
    random_statistics(model).train(training)
    replaced = replace_norm_act(model, same(model))
    x = torch.randn(2, 3, 32, 32)
    outputs = []
    for network in (model, replaced):
        torch.manual_seed(0)  # the same dropout
        outputs.append(network(x))
    assert torch.equal(*outputs)
    statistics = [b for name, b in model.named_buffers() if name.endswith("running_var")]
    others = [b for name, b in replaced.named_buffers() if name.endswith("running_var")]
    assert all(torch.equal(*both) for both in zip(statistics, others, strict=True))


class Small(nn.Module):
    """conv, norm, (Identity), relu; then a sum in place with a bare norm on its left side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.bn1 = nn.BatchNorm2d(4)
        self.drop = nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.bn2 = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.drop(self.bn1(self.conv(x))))
        out = self.bn2(x)
        out += x
        return self.relu(out)


def images(**options: torch.dtype) -> Tensor:
    return torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)).to(**options)


def test_sites_name_norm_activation_channels_and_nodes() -> None:
    assert norm_act_sites(Small()) == (
        NormActSite("bn1", "ReLU", 4, ("bn1", "drop", "relu"), fused=False),
        NormActSite("bn2", None, 4, ("bn2",), fused=False, before_sum=True),
    )


def test_the_replaced_sites_are_the_chosen_ones_and_what_make_gives_none_for_stays() -> None:
    model = Small()
    first, second = norm_act_sites(model)
    chosen = replace_norm_act(model, tanh, sites=[second])
    declined = replace_norm_act(model, lambda site: tanh(site) if site == second else None)
    for replaced in (chosen, declined):
        assert isinstance(replaced.bn1, nn.BatchNorm2d)
        assert isinstance(replaced.bn2, Tanh)
        assert norm_act_sites(replaced) == (first,)
    assert torch.equal(chosen(images()), declined(images()))


def test_a_replacement_takes_the_place_of_norm_and_activation() -> None:
    model = Small().eval()
    x = model.conv(images())
    expected = F.relu(torch.tanh(torch.tanh(x)) + torch.tanh(x))
    assert torch.equal(replace_norm_act(model, tanh)(images()), expected)


def test_a_sum_in_place_does_not_break_the_gradient_of_the_new_layer() -> None:
    model = replace_norm_act(Small(), tanh)
    model(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_given_model_is_untouched_and_shares_nothing_with_the_copy() -> None:
    model = Small()
    before, attributes = copy.deepcopy(model.state_dict()), set(vars(model))
    replaced = replace_norm_act(model, tanh)
    replaced(images()).sum().backward()
    for parameter in replaced.parameters():
        parameter.data.zero_()
    assert isinstance(model.bn1, nn.BatchNorm2d)
    assert set(vars(model)) == attributes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_finding_sites_leaves_no_traces_of_constants_on_the_model() -> None:
    model = OneNorm(lambda x: torch.ones(1) + x)
    attributes = set(vars(model))
    assert len(norm_act_sites(model)) == 1
    assert set(vars(model)) == attributes
    assert torch.isfinite(replace_norm_act(model, tanh)(images())).all()


def test_state_dict_keys_stay_readable() -> None:
    assert [name for name, _ in replace_norm_act(Small(), tanh).named_parameters()] == [
        "conv.weight",
        "conv.bias",
        "bn1.scale",
        "bn2.scale",
    ]


def test_dtype_and_mode_are_those_of_the_replaced_norm() -> None:
    model = nn.Sequential(Small()).to(torch.float64).eval()
    model[0].bn2.train()
    replaced = replace_norm_act(model, tanh)
    assert all(parameter.dtype == torch.float64 for parameter in replaced.parameters())
    assert {name for name, part in replaced.named_modules() if part.training} == {"0.bn2"}


def test_a_copy_can_be_pickled_and_replaced_again() -> None:
    replaced = replace_norm_act(Small(), lambda s: nn.Sequential(nn.GroupNorm(2, s.num_features), nn.SiLU()))
    assert torch.equal(pickle.loads(pickle.dumps(replaced))(images()), replaced(images()))
    assert [(site.norm, site.act) for site in norm_act_sites(replaced)] == [
        ("bn1.0", "SiLU"),
        ("bn2.0", "SiLU"),
    ]
    assert torch.isfinite(replace_norm_act(replaced, tanh)(images())).all()


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)
        self.bn_2 = nn.Identity()  # takes the first numbered name

    def forward(self, x: Tensor) -> Tensor:
        return self.bn_2(self.bn(F.relu(self.bn(x))))


def test_each_call_of_a_norm_gets_a_module_of_its_own() -> None:
    names = [name for name, _ in replace_norm_act(Twice(), tanh).named_parameters()]
    assert names == ["bn.scale", "bn_3.scale"]


def test_a_norm_that_another_call_needs_keeps_its_name() -> None:
    model = Twice()
    replaced = replace_norm_act(model, tanh, sites=norm_act_sites(model)[:1])
    assert isinstance(replaced.bn, nn.BatchNorm2d)
    assert isinstance(replaced.bn_3, Tanh)


class OneNorm(nn.Module):
    """A norm, then whatever ``then`` says."""

    def __init__(self, then: Callable[[Tensor], Tensor], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3) if norm is None else norm
        self.then = then

    def forward(self, x: Tensor) -> Tensor:
        return self.then(self.norm(x))


@pytest.mark.parametrize(
    ("then", "act"),
    [
        (F.relu, "relu"),
        (torch.relu, "relu"),
        (lambda x: x.relu_(), "relu"),
        (lambda x: F.silu(input=x), "silu"),
        (lambda x: F.gelu(x, approximate="tanh"), "gelu"),
        (nn.Mish(), "Mish"),
        (nn.Hardsigmoid(), None),
        (torch.sigmoid, None),
        (lambda x: F.relu(x) + x, None),
        (lambda x: x * x.sigmoid(), None),
        (nn.MaxPool2d(2), None),
    ],
)
def test_only_an_activation_that_alone_reads_the_norm_makes_a_pair(
    then: Callable[[Tensor], Tensor], act: str | None
) -> None:
    (site,) = norm_act_sites(OneNorm(then))
    assert site.act == act


@pytest.mark.parametrize(
    ("norm", "features"),
    [
        (nn.GroupNorm(3, 6), 6),
        (nn.LayerNorm(5), 5),
        (nn.RMSNorm(7), 7),
        (nn.BatchNorm2d(8), 8),
        (nn.InstanceNorm2d(9), 9),
    ],
)
def test_group_layer_and_rms_norms_are_sites_too(norm: nn.Module, features: int) -> None:
    assert norm_act_sites(OneNorm(lambda x: x + 1, norm))[0].num_features == features


def test_timm_activations_count_and_its_gates_do_not() -> None:
    activations = pytest.importorskip("timm.layers.activations", reason="pip install 'evonas[vision]'")
    assert norm_act_sites(OneNorm(activations.Swish()))[0].act == "Swish"
    assert norm_act_sites(OneNorm(activations.HardSigmoid()))[0].act is None


def test_a_fused_norm_that_also_drops_is_refused() -> None:
    layers = pytest.importorskip("timm.layers", reason="pip install 'evonas[vision]'")
    norm = layers.BatchNormAct2d(3, drop_layer=layers.DropBlock2d)
    with pytest.raises(InputError, match="norm: BatchNormAct2d drops activations"):
        norm_act_sites(OneNorm(lambda x: x, norm))


class Lowered(nn.Module):
    """What evonas lowers a layer to: a module with the graph in ``body``."""

    def __init__(self) -> None:
        super().__init__()
        self.body = fx.symbolic_trace(nn.Sequential(nn.GroupNorm(1, 3), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def test_a_lowered_layer_is_not_looked_into() -> None:
    replaced = replace_norm_act(OneNorm(F.relu), lambda _: Lowered())
    assert norm_act_sites(replaced) == ()


class Modal(nn.Module):
    """Functional dropout, and an optional input."""

    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = F.relu(self.bn(x))
        if mask is not None:
            x = x[mask]
        return F.dropout(x, 0.5, self.training)


@pytest.mark.parametrize("made_in_training", [True, False])
def test_functional_dropout_still_follows_the_mode(made_in_training: bool) -> None:
    model = Modal()
    replaced = replace_norm_act(model.train(made_in_training), same(model))
    assert replaced.training == made_in_training
    network = copy.deepcopy(replaced)
    assert torch.equal(network(images()), network(images())) != made_in_training
    for network in (replaced, copy.deepcopy(replaced), pickle.loads(pickle.dumps(replaced))):
        for training in (True, False):
            outputs = []
            for each in (model, network):
                torch.manual_seed(0)
                outputs.append(copy.deepcopy(each).train(training)(images()))
            assert torch.equal(*outputs)


class TwoPaths(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if self.training else x


class ByValue(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_a_model_that_cannot_be_traced_is_named_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"ByValue: torch\.fx cannot trace this model: .*control") as error:
        norm_act_sites(ByValue())
    assert "surgery/test_sites.py:" in str(error.value)
    assert ": return x if x.sum() > 0 else -x: TraceError: " in str(error.value)
    assert "replace_modules" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("act", "words"), [(False, "no longer normalized"), (True, "activated, as it was not")])
def test_a_layer_at_the_end_of_a_residual_branch_is_warned_about(act: bool, words: str) -> None:
    with pytest.warns(SurgeryWarning, match=rf"^1 residual branches are .*{words} before their sum \(bn2, ") as caught:
        replace_norm_act(Small(), lambda site: lower(CATALOGUE["evonorm-s0"], site.num_features, act=act))
    assert caught[0].filename == __file__


@pytest.mark.filterwarnings("error")
def test_a_branch_that_keeps_its_norm_is_not_warned_about() -> None:
    layer = CATALOGUE["evonorm-s0"]
    replace_norm_act(Small(), lambda site: None if site.before_sum else lower(layer, site.num_features))


def test_a_norm_is_before_a_sum_through_dropped_paths_and_not_when_it_has_an_activation() -> None:
    models = pytest.importorskip("torchvision.models", reason="pip install 'evonas[vision]'")
    with torch.device("meta"):
        sites = norm_act_sites(models.efficientnet_b0(num_classes=10))
    summed = [site.norm for site in sites if site.before_sum]
    assert len(summed) == 9  # blocks with a shortcut, each ends in StochasticDepth
    assert not any(site.before_sum for site in sites if site.act is not None)


def test_a_model_with_two_paths_is_refused_rather_than_frozen_in_one() -> None:
    with pytest.raises(InputError, match="TwoPaths: forward takes different paths in training and evaluation"):
        replace_norm_act(TwoPaths(), tanh)


def test_what_a_forward_keeps_is_not_replaced_by_the_tracers_stand_ins() -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.act = nn.BatchNorm2d(4), nn.ReLU()
            self.cache: dict[str, Tensor] = {}

        def forward(self, x: Tensor) -> Tensor:
            self.cache["normed"] = self.norm(x)
            return self.act(self.cache["normed"])

    model = Caching()
    assert len(norm_act_sites(model)) == 1
    assert model.cache == {}
    replace_norm_act(model, lambda _: Tanh(4))
    assert model.cache == {}


def test_a_foreign_site_is_refused() -> None:
    foreign = NormActSite("stem.bn", "ReLU", 4, ("stem_bn", "stem_relu"), fused=False)
    with pytest.raises(InputError, match=r"stem\.bn at stem_bn -> stem_relu is not a site of this Small.*bn1, bn2"):
        replace_norm_act(Small(), tanh, sites=[foreign])


def test_neither_timm_nor_torchvision_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("timm.layers", "timm.models._features_fx", "torchvision.ops"):
        monkeypatch.setitem(sys.modules, package, None)
    assert len(norm_act_sites(Small())) == 2


def test_layer_norms_of_a_transformer_are_replaced_by_their_genome() -> None:
    torchvision = pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32, "num_classes": 3}
    vit = torchvision.models.VisionTransformer(image_size=8, patch_size=4, **sizes).double().eval()
    sites = norm_act_sites(vit)
    assert {site.layout for site in sites} == {"btd"}
    genome = CATALOGUE["layernorm"]
    copied = replace_norm_act(vit, lambda site: lower(genome, site.num_features, layout=site.layout, eps=1e-6))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(copied(x), vit(x))  # their affines are at 1 and 0 in both
    with pytest.raises(InputError, match="index sets of bchw, not of btd"):
        replace_norm_act(vit, lambda site: lower(CATALOGUE["gn-relu"], site.num_features, layout=site.layout))


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224"])
def test_layer_norms_of_channels_are_for_maps(name: str) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    model = timm.create_model(name)
    classes = {site.norm: type(model.get_submodule(site.norm)).__name__ for site in norm_act_sites(model)}
    layouts = {site.norm: site.layout for site in norm_act_sites(model)}
    assert {classes[norm] for norm, layout in layouts.items() if layout == "bchw"} <= {"LayerNorm2d"}
    assert {classes[norm] for norm, layout in layouts.items() if layout == "btd"} <= {"LayerNorm"}
    assert layouts
