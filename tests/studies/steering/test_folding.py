"""Oracle: the model with its hooks on."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.steering import Intervention
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.sites import find_sites
from evonas.tasks.language.model import build_transformer
from evonas.tasks.language.settings import ModelConfig


class PlainNorm(nn.Module):
    """x / rms(x) * weight, in float32, as in Llama."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))

    def normalized(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * self.normalized(x).to(x.dtype)


class OneMoreNorm(PlainNorm):
    """x / rms(x) * (1 + weight), as in Gemma."""

    def forward(self, x: Tensor) -> Tensor:
        return (self.normalized(x) * (1 + self.weight.float())).type_as(x)


class Squared(PlainNorm):
    """No norm that scales by its weight."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.square()


class Flexible(nn.Module):
    """Sees to its own input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != 5:
            raise ValueError("5 tokens, please")
        return x * self.weight


def intervention(model: nn.Module, x: Tensor, *, shift: bool = True, bounded: bool = False) -> Intervention:
    sites = find_sites(model, ["site"], x)
    d = sites[0].features
    generator = torch.Generator().manual_seed(3)
    weight, bias = torch.rand(d, generator=generator) + 0.5, torch.randn(d, generator=generator) * shift
    bounds = (torch.full((d,), -1.0), torch.full((d,), 1.0)) if bounded else ()
    return Intervention(sites, (AffineMap(weight, bias, *bounds),), "by hand", type(model).__name__)


def around(site: nn.Module, **more: nn.Module) -> nn.Sequential:
    model = nn.Sequential()
    model.add_module("site", site)
    model.add_module("after", nn.Tanh())
    for name, module in more.items():
        model.add_module(name, module)
    return model.eval()


TOKENS, IMAGES = (2, 5, 6), (2, 6, 4, 4)
RUNNING = nn.BatchNorm2d(6)
RUNNING.running_mean, RUNNING.running_var = torch.randn(6), torch.rand(6) + 0.5


@pytest.mark.parametrize("strength", [1.0, 0.3])
@pytest.mark.parametrize(
    ("site", "shape", "shift"),
    [
        (nn.Linear(6, 4), TOKENS, True),
        (nn.Linear(6, 4, bias=False), TOKENS, False),
        (nn.Conv2d(6, 4, 3, groups=2), IMAGES, True),
        (nn.LayerNorm(6), TOKENS, True),
        (nn.RMSNorm(6), TOKENS, False),
        (nn.GroupNorm(2, 6), IMAGES, True),
        (RUNNING, IMAGES, True),
        (nn.BatchNorm1d(5), TOKENS, True),
        (PlainNorm(6), TOKENS, False),
        (OneMoreNorm(6), TOKENS, False),
    ],
)
def test_folded_models_compute_what_hooked_ones_do(site: nn.Module, shape: tuple, shift: bool, strength: float) -> None:
    x, model = torch.randn(shape), around(copy.deepcopy(site))
    steering = intervention(model, x, shift=shift)
    with torch.no_grad():
        plain = model(x)
        with steering.on(model, strength):
            wanted = model(x)
        names = [name for name, _ in model.named_parameters()]
        steering.fold_into(model, strength)
        torch.testing.assert_close(model(x), wanted)
    assert not torch.allclose(wanted, plain, atol=1e-2)
    assert [name for name, _ in model.named_parameters()] == names
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    "site", [nn.Linear(6, 4, bias=False), nn.LayerNorm(6, bias=False), nn.Conv1d(5, 4, 3, bias=False)]
)
def test_a_bias_is_added_where_one_is_asked_for(site: nn.Module) -> None:
    x, model = torch.randn(TOKENS), around(copy.deepcopy(site))
    steering = intervention(model, x)
    with steering.on(model):
        wanted = model(x)
    with pytest.raises(InputError, match=r"cannot be folded exactly: this \w+ has no bias; add_bias=True"):
        steering.fold_into(model)
    steering.fold_into(model, add_bias=True)
    torch.testing.assert_close(model(x), wanted)
    assert isinstance(model.site.bias, nn.Parameter)


def test_the_small_transformer_folds_into_its_norms_and_outputs() -> None:
    model = build_transformer(ModelConfig(vocabulary=7, width=8, depth=2, head_size=4, context=12), seed=0).eval()
    tokens = torch.randint(7, (2, 12), generator=torch.Generator().manual_seed(0))
    sites = find_sites(model, ["blocks.*.mlp_norm", "blocks.*.mlp.down"], tokens)
    maps = tuple(AffineMap(torch.linspace(0.5, 2, 8), torch.linspace(-1, 1, 8)) for _ in sites)
    steering = Intervention(sites, maps, "by hand", "Transformer")
    with steering.on(model, 0.6):
        wanted = model(tokens)
    steering.fold_into(model, 0.6, add_bias=True)
    torch.testing.assert_close(model(tokens), wanted)


def shared(kind: str) -> nn.Sequential:
    model = around(nn.Linear(6, 6), other=nn.Linear(6, 6))
    if kind == "weight":
        model.other.weight = model.site.weight
    else:
        model.again = model.site
        model.forward = lambda x: model.other(model.site(x))
    return model


@pytest.mark.parametrize(
    ("model", "shape", "bounded", "message"),
    [
        (around(nn.RMSNorm(6)), TOKENS, False, "a RMSNorm adds no bias, and the map shifts 6 neurons; keep the hooks"),
        (around(PlainNorm(6)), TOKENS, False, "a PlainNorm adds no bias, and the map shifts 6 neurons; keep the hooks"),
        (
            around(nn.Linear(6, 6)),
            TOKENS,
            True,
            "between bounds only, which no weight can; fit with bounded=False",
        ),
        (around(nn.Sequential(nn.Linear(6, 6))), TOKENS, False, "a Sequential has no weight of its own at its output"),
        (
            around(nn.ConvTranspose2d(6, 4, 3)),
            IMAGES,
            False,
            "how the weight of a ConvTranspose2d makes its output",
        ),
        (shared("weight"), TOKENS, False, "its weight is shared with other.weight"),
        (shared("module"), TOKENS, False, "its weight is shared with again.weight"),
    ],
)
def test_what_is_not_exact_says_why_and_changes_nothing(
    model: nn.Module, shape: tuple, bounded: bool, message: str
) -> None:
    x = torch.randn(shape)
    steering = intervention(model, x, bounded=bounded)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=f"^site: the map cannot be folded exactly: .*{message}") as error:
        steering.fold_into(model)
    assert len(str(error.value).splitlines()) == 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("site", [Squared(6), Flexible()])
def test_weights_that_do_something_else_are_not_touched(site: nn.Module) -> None:
    model, x = around(site), torch.randn(TOKENS)
    with pytest.raises(InputError, match=f"a {type(site).__name__} does not simply scale by its weight"):
        intervention(model, x, shift=False).fold_into(model)


def test_all_sites_are_folded_or_none_and_identities_are_passed_over() -> None:
    model, x = around(nn.Linear(6, 6), last=nn.RMSNorm(6)), torch.randn(TOKENS)
    sites = find_sites(model, ["site", "after", "last"], x)
    scaled, shifted = AffineMap(torch.full((6,), 2.0), torch.zeros(6)), AffineMap(torch.ones(6), torch.ones(6))
    same = AffineMap(torch.ones(6), torch.zeros(6))
    before = model.site.weight.clone()
    with pytest.raises(InputError, match=r"^last: "):
        Intervention(sites, (scaled, same, shifted), "by hand", "Sequential").fold_into(model)
    assert torch.equal(model.site.weight, before)
    Intervention(sites, (scaled, same, scaled), "by hand", "Sequential").fold_into(model)
    assert torch.equal(model.site.weight, 2 * before)
    Intervention(sites, (shifted, same, shifted), "by hand", "Sequential").fold_into(model, strength=0.0)
    assert torch.equal(model.site.weight, 2 * before)


def test_half_precision_weights_are_rounded_once() -> None:
    model = around(nn.Linear(6, 6).bfloat16())
    steering = intervention(model, torch.randn(TOKENS).bfloat16())
    (affine,) = steering.maps
    wanted = (model.site.weight.double() * affine.weight.double()[:, None]).bfloat16()
    steering.fold_into(model)
    assert torch.equal(model.site.weight, wanted)
    assert math.isfinite(model(torch.randn(TOKENS).bfloat16()).sum().item())
