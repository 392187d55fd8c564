"""Layers by name: as modules, as classes for builders of networks, and in the places of norms.

Oracles: ``lower`` with the settings that the name means; torch's own norms for devices and dtypes; the numbers of norms
and of pairs in published networks.
"""

import copy
import importlib.util
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import evonas
from evonas.config import LayerConfig, SearchConfig, TaskConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.layer.lower import lower
from evonas.search.archive import Archive
from evonas.search.outcome import Candidate, Evaluation, Proposal
from evonas.search.start import create_run

S0, B0 = CATALOGUE["evonorm-s0"], CATALOGUE["evonorm-b0"]
X = torch.randn(2, 12, 5, 5, generator=torch.Generator().manual_seed(0))


def images(size: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def exported(path: Path, name: str = "evonorm-s0") -> type[nn.Module]:
    """The class in an exported file."""
    file = evonas.export(name, path / "exported_layer.py", name=name)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, nn.Module)][-1]


def run_with(genome: Genome, path: Path) -> Path:
    """A run whose best and only layer is this one, lowered in a way of its own."""
    config = SearchConfig(
        name="a", layer=LayerConfig(groups=3, eps=0.25, momentum=0.5), tasks=(TaskConfig(task="a:b"),)
    )
    run = create_run(path, config)
    with Archive.open(run.archive_file) as archive:
        archive.record(
            Candidate(0, Proposal(genome, None, "random"), ""), Evaluation(genome.key, 1, objectives={"b": 0.5})
        )
    return path


def test_a_layer_by_any_name_is_the_lowered_one(tmp_path: Path) -> None:
    file = tmp_path / "layer.json"
    file.write_text(B0.to_json())
    run = run_with(B0, tmp_path / "run")
    for name in ("evonorm-b0", B0.to_text(), str(file), file, B0):
        layer = evonas.create_layer(name, 12, groups=4, eps=1e-3, momentum=0.25)
        expected = lower(B0, 12, groups=4, eps=1e-3, momentum=0.25)
        assert torch.equal(layer(X), expected(X))
        assert torch.equal(layer.eval()(X), expected.eval()(X))  # running values have moved alike
    ranked, expected = evonas.create_layer(f"{run}#1", 12), lower(B0, 12, groups=3, eps=0.25, momentum=0.5)
    assert torch.equal(ranked(X), expected(X))
    assert torch.equal(ranked.eval()(X), expected.eval()(X))
    own = evonas.create_layer(f"{run}#1", 12, eps=0.5)
    assert torch.equal(own(X), lower(B0, 12, groups=3, eps=0.5)(X))


def test_a_layer_by_name_is_for_the_inputs_that_the_name_means() -> None:
    assert evonas.create_layer("dyt", 8).layout == "btd"
    assert evonas.create_layer("dyt", 8, layout="bchw").layout == "bchw"
    assert evonas.create_layer("evonorm-s0", 8, act=False).act is False


@pytest.mark.parametrize("make", [evonas.create_layer, lambda name, _features: evonas.norm_act(name)])
def test_what_names_no_layer_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="evonorm-s9"):
        make("evonorm-s9", 8)
    with pytest.raises(InputError, match="layer: is a int"):
        make(3, 8)
    with pytest.raises(InputError, match="no moment that tells which axis holds the channels"):
        make("tanh(x)", 8)
    for wrong in (0, -1, 64.5, "64"):
        with pytest.raises(InputError, match=f"num_features: {wrong!r}; accepted: 1 or more"):
            evonas.create_layer("evonorm-s0", wrong)  # type: ignore[arg-type]
    for option, said in (({"groups": 0}, "groups: 0"), ({"eps": -1}, "eps: -1"), ({"momentum": 2}, "momentum: 2")):
        with pytest.raises(InputError, match=f"^{said}; accepted: "):
            evonas.create_layer("evonorm-s0", 64, **option)


@pytest.mark.parametrize("name", ["evonorm-b0", "evonorm-s0", "bn-relu"])
@pytest.mark.parametrize("options", [{"device": "meta"}, {"dtype": torch.float64}, {"dtype": torch.bfloat16}, {}])
def test_device_and_dtype_mean_what_they_mean_to_torchs_norms(name: str, options: dict, tmp_path: Path) -> None:
    norm = nn.BatchNorm2d(12, **options)
    layers = [lower(CATALOGUE[name], 12, **options), evonas.create_layer(name, 12, **options)]
    layers += [evonas.norm_act(name)(12, **options), exported(tmp_path, name)(12, **options)]
    for layer in layers:
        for tensor in layer.state_dict().values():
            assert (tensor.device, tensor.dtype) == (norm.weight.device, norm.running_mean.dtype)
        assert all(parameter.requires_grad for parameter in layer.parameters())
    if "dtype" in options:
        x = X.to(options["dtype"])
        assert torch.equal(layers[0](x), lower(CATALOGUE[name], 12).to(options["dtype"])(x))


@pytest.mark.parametrize("name", ["evonorm-b0", "bn-relu"])
def test_layers_without_memory_get_it_and_their_initial_values_as_torchs_norms_do(name: str, tmp_path: Path) -> None:
    fresh = lower(CATALOGUE[name], 12).state_dict()
    for kind in (evonas.norm_act(name), exported(tmp_path, name)):
        layer = kind(12, device="meta").to_empty(device="cpu")
        for part in layer.modules():
            for tensor in part.state_dict().values():
                tensor.fill_(float("nan"))
        for part in layer.modules():
            if any(True for _ in (*part.parameters(recurse=False), *part.buffers(recurse=False))):
                part.reset_parameters()
        state = layer.state_dict()
        assert {key.removeprefix("body."): value.tolist() for key, value in fresh.items()} == {
            key.removeprefix("body."): value.tolist() for key, value in state.items()
        }


def test_a_class_makes_layers_as_lower_does() -> None:
    norm = evonas.norm_act("evonorm-b0", groups=4, eps=1e-3, momentum=0.25)
    assert norm.__name__ == "EvonormB0"
    assert issubclass(norm, evonas.NormActLayer)
    assert norm is evonas.norm_act("evonorm-b0", groups=4, eps=1e-3, momentum=0.25)
    for layer, expected in (
        (norm(12), lower(B0, 12, groups=4, eps=1e-3, momentum=0.25)),
        (norm(12, eps=0.5, momentum=0.75, groups=2), lower(B0, 12, groups=2, eps=0.5, momentum=0.75)),
        (norm(12, apply_act=False, inplace=True, act_kwargs={}), lower(B0, 12, act=False)),
    ):
        assert isinstance(layer, norm)
        assert torch.equal(layer(X), expected(X))
        assert torch.equal(layer.eval()(X), expected.eval()(X))


READ_BACK = """
import sys, torch
layer, x = torch.load(sys.argv[1], weights_only=False)
torch.save((type(layer).__name__, layer(x).detach()), sys.argv[2])
"""


def test_layers_of_a_class_are_copied_and_read_back_by_another_process(tmp_path: Path) -> None:
    layer = evonas.norm_act("evonorm-s0")(12)
    with torch.no_grad():
        layer.v1.uniform_(0.5, 1.5)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(twin) is type(layer)
        assert torch.equal(twin(X), layer(X))
        assert twin.v1 is not layer.v1
    torch.save((layer, X), tmp_path / "layer.pt")
    files = [str(tmp_path / "layer.pt"), str(tmp_path / "output.pt")]
    done = subprocess.run([sys.executable, "-c", READ_BACK, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    name, output = torch.load(tmp_path / "output.pt", weights_only=False)
    assert name == "EvonormS0"
    assert torch.equal(output, layer(X))


def trained(model: nn.Module, steps: int, size: int) -> list[float]:
    """The losses of a few steps on one batch."""
    optimizer, x, y = torch.optim.SGD(model.train().parameters(), lr=0.01), images(size), torch.tensor([0, 1])
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# norms of the published networks, and how many of them timm asks to activate
BUILT = {
    "timm:resnet18": (20, 20),
    "timm:efficientnet_b0": (49, 33),
    "timm:regnetx_002": (44, 27),
    "timm:resnetv2_50": (49, 49),
    "torchvision:mobilenet_v2": (52, 52),
    "torchvision:resnet18": (20, 20),
}


def built(name: str, **options: object) -> nn.Module:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    import timm
    import torchvision

    source, _, network = name.partition(":")
    torch.manual_seed(0)
    create = timm.create_model if source == "timm" else torchvision.models.get_model
    return create(network, num_classes=10, **options)


@pytest.mark.parametrize("name", BUILT)
def test_builders_of_networks_take_the_class_and_the_exported_one(name: str, tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
    outputs = []
    for kind in (evonas.norm_act("evonorm-s0"), exported(tmp_path)):
        model = built(name, norm_layer=kind)
        layers = [part for part in model.modules() if isinstance(part, kind)]
        assert (len(layers), sum(layer.act for layer in layers)) == BUILT[name]
        assert not [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
        outputs.append(model(images()))
    assert torch.equal(*outputs)


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:regnetx_002", "torchvision:mobilenet_v2"])
def test_networks_with_layers_train(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore", category=evonas.SurgeryWarning):
        models = [built(name, norm_layer=kind) for kind in (evonas.norm_act("evonorm-s0"), exported(tmp_path))]
        models.append(evonas.replace_norm_act(built(name), "evonorm-s0"))
    for model in models:
        first, second = trained(model, steps=2, size=32)
        assert second < first


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BUILT, "timm:mobilenetv3_small_050"])
def test_ten_steps_of_training_go_well(name: str, tmp_path: Path) -> None:
    """The loss on one batch falls; timm gives mobilenetv3 its norm_layer twice, so that only surgery is possible."""
    with warnings.catch_warnings(action="ignore", category=evonas.SurgeryWarning):
        models = [evonas.replace_norm_act(built(name), "evonorm-s0")]
        if name in BUILT:
            kinds = (evonas.norm_act("evonorm-s0"), exported(tmp_path))
            models += [built(name, norm_layer=kind) for kind in kinds]
    for model in models:
        losses = trained(model, steps=10, size=64)
        assert losses[-1] < losses[0]


def test_timm_leaves_out_its_own_activation_where_it_is_asked_to() -> None:
    model = built("timm:resnet18", norm_layer=evonas.norm_act("evonorm-s0"), act_layer=nn.Identity)
    assert not [part for part in model.modules() if isinstance(part, nn.ReLU)]


def test_features_of_a_network_with_layers_can_be_taken_by_timm() -> None:
    model = built("timm:resnet18", norm_layer=evonas.norm_act("evonorm-s0"), features_only=True, feature_cls="fx")
    assert [y.shape[1] for y in model(images(64))] == [64, 64, 128, 256, 512]


def test_a_class_needs_no_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("timm.layers.create_norm_act", "timm.models"):
        monkeypatch.setitem(sys.modules, module, None)
    assert evonas.norm_act("evonorm-s1")(8).num_features == 8


class Small(nn.Module):
    """A pair, and a bare norm before a sum."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 1)
        self.bn1, self.act1, self.bn2, self.act2 = nn.BatchNorm2d(width), nn.ReLU(), nn.BatchNorm2d(width), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act1(self.bn1(self.conv1(x)))
        return self.act2(self.bn2(self.conv2(x)) + x)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.linear(self.norm(x))


@pytest.mark.filterwarnings("error")
def test_a_layer_by_name_takes_the_places_of_pairs_and_keeps_bare_norms() -> None:
    model = Small().double()
    replaced = evonas.replace_norm_act(model, "evonorm-s0", groups=4, eps=1e-3)
    expected = evonas.replace_norm_act(
        model, lambda site: lower(S0, site.num_features, groups=4, eps=1e-3) if site.act else None
    )
    assert type(replaced) is type(expected) is Small
    assert isinstance(replaced.bn2, nn.BatchNorm2d)
    assert torch.equal(replaced(images().double()), expected(images().double()))
    assert isinstance(model.bn1, nn.BatchNorm2d)


@pytest.mark.parametrize(("bare", "act"), [("affine", False), ("layer", True)])
def test_bare_norms_are_replaced_as_asked(bare: str, act: bool) -> None:
    with pytest.warns(evonas.SurgeryWarning, match="before their sum") as caught:
        replaced = evonas.replace_norm_act(Small(), "evonorm-s0", bare=bare)  # type: ignore[arg-type]
    assert caught[0].filename == __file__
    assert (replaced.bn1.act, replaced.bn2.act) == (True, act)


@pytest.mark.filterwarnings("error")
def test_norms_of_tokens_are_replaced_by_layers_of_tokens() -> None:
    replaced = evonas.replace_norm_act(Tokens(), "dyt")
    assert isinstance(replaced.norm, evonas.NormActLayer)
    assert replaced.norm.layout == "btd"
    mixed = nn.Sequential(Small(), nn.Flatten(2), nn.Linear(36, 8), Tokens())
    for name, layouts in (("evonorm-s0", ["bchw"]), ("rmsnorm", ["btd"]), ("tanh(x * v1)", ["bchw", "btd"])):
        name = name if name in CATALOGUE else "a = mul(x, v1); tanh(a)"
        copied = evonas.replace_norm_act(mixed, name)
        assert [m.layout for m in copied.modules() if isinstance(m, evonas.NormActLayer)] == layouts
    maps = evonas.replace_norm_act(mixed, "a = mul(x, v1); tanh(a)", layout="bchw")
    assert [m.layout for m in maps.modules() if isinstance(m, evonas.NormActLayer)] == ["bchw"]


@pytest.mark.parametrize(
    ("model", "layer", "words"),
    [
        (
            Tokens(),
            "evonorm-s0",
            r"1 norms are of tokens \[\.\.\., t, d\], and the layer is for images \[b, c, h, w\]$",
        ),
        (Small(), "dyt", r"2 norms are of images \[b, c, h, w\], and the layer is for tokens \[\.\.\., t, d\]$"),
        (
            nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)),
            "evonorm-s0",
            "no activation follows the 1 norms 1; bare='layer' puts the layer in their place, and bare='affine' its",
        ),
    ],
)
def test_where_nothing_was_replaced_the_reason_is_said(model: nn.Module, layer: str, words: str) -> None:
    with pytest.warns(evonas.SurgeryWarning, match=rf"^nothing was replaced: {words}") as caught:
        same = evonas.replace_norm_act(model, layer)
    assert caught[0].filename == __file__
    assert not [m for m in same.modules() if isinstance(m, evonas.NormActLayer)]


class Functional(nn.Module):
    """Its activation is a function, and it has a method of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn1(self.conv1(x)))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """What a traced copy cannot keep."""
        return self.conv1(x)


def test_methods_that_are_lost_are_named() -> None:
    with pytest.warns(
        evonas.SurgeryWarning, match=r"without the methods of Functional \(forward_features\): "
    ) as caught:
        replaced = evonas.replace_norm_act(Functional(), "evonorm-s0")
    assert isinstance(replaced, torch.fx.GraphModule)
    assert caught[0].filename == __file__


def test_what_does_not_go_together_is_refused() -> None:
    model = Small()
    with pytest.raises(InputError, match=r"model: is a str; accepted: a torch\.nn\.Module"):
        evonas.replace_norm_act("evonorm-s0", model)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="bare: 'all'; accepted: keep, affine, layer"):
        evonas.replace_norm_act(model, "evonorm-s0", bare="all")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="layout: the layer has index sets of bchw, not of btd"):
        evonas.replace_norm_act(model, "evonorm-s0", layout="btd")
    with pytest.raises(InputError, match=r"layer: is the class EvonormS0; .*lambda site: EvonormS0"):
        evonas.replace_norm_act(model, evonas.norm_act("evonorm-s0"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="given beside a function"):
        evonas.replace_norm_act(model, lambda _: None, eps=1e-3)
    with pytest.raises(InputError, match="evonorm-s9"):
        evonas.replace_norm_act(model, "evonorm-s9")
    with pytest.raises(InputError, match="layer: is a int"):
        evonas.replace_norm_act(model, 3)  # type: ignore[arg-type]
