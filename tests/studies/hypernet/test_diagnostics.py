"""Oracles: power laws made by hand, numpy's polynomial fit, the proportionality derived in the publication for default
parametrizations (slope 1), and its claim for magnitude-invariant ones (slope 0).
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.hypernet import HyperNetwork
from evonas.studies.hypernet.diagnostics import (
    gradient_spread,
    log_log_slope,
    magnitude_slope,
    ray,
    scalars,
)


def test_the_slope_of_a_power_law_is_its_exponent() -> None:
    x = torch.tensor([0.1, 0.5, 2.0, 7.0])
    assert log_log_slope(x, 3 * x**-1.5) == pytest.approx(-1.5, rel=1e-5)
    y = torch.tensor([1.0, 0.2, 5.0, 4.0])
    assert log_log_slope(x, y) == pytest.approx(np.polyfit(np.log(x.numpy()), np.log(y.numpy()), 1)[0], rel=1e-5)


@pytest.mark.parametrize(
    ("x", "named"), [([1.0, 1.0], "two different"), ([2.0], "two different"), ([0.0, 1.0], "posi")]
)
def test_what_has_no_slope_is_an_error(x: list[float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        log_log_slope(torch.tensor(x), torch.ones(len(x)))


@pytest.mark.parametrize("size", [1, 8])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_default_is_proportional_to_gamma(text: nn.Module, size: int, activation: str) -> None:
    model = HyperNetwork(text, size, parametrization="default", activation=activation, ranges=(1.0, 3.0))
    assert magnitude_slope(model, ray(model)) == pytest.approx(1, abs=1e-4)
    low, high = (model.predict(model.inputs.diagonal(torch.tensor([z]))[0]) for z in (0.1, 0.8))
    for name in ("embedding.weight", "weight"):
        torch.testing.assert_close(high[name], 8 * low[name])


def test_smooth_activations_are_not_proportional(text: nn.Module) -> None:
    model = HyperNetwork(text, 1, parametrization="default", activation="gelu")
    assert abs(magnitude_slope(model, ray(model)) - 1) > 0.1


@pytest.mark.parametrize("size", [1, 8])
def test_magnitude_invariant_parametrization_is_invariant(text: nn.Module, size: int) -> None:
    slopes = [magnitude_slope(m, ray(m)) for s in range(5) for m in [HyperNetwork(text, size, seed=s)]]
    assert max(map(abs, slopes)) < 0.02


def test_the_encoding_alone_keeps_the_size_in_the_mean_over_seeds(text: nn.Module) -> None:
    sizes = []
    for seed in range(60):
        model = HyperNetwork(text, 2, parametrization="encoding-only", seed=seed, head_gain=1.0)
        theta = model.predict(ray(model))["embedding.weight"].detach()
        sizes.append(theta.flatten(1).square().sum(1))
    mean = torch.stack(sizes).mean(0)
    assert mean.max() < 1.5 * mean.min()


def test_a_layer_norm_erases_a_single_coordinate_of_default(text: nn.Module) -> None:
    model = HyperNetwork(text, 1, parametrization="default", norm="layer", correction=100.0)
    assert abs(magnitude_slope(model, ray(model))) < 1e-2


def test_the_ray_spans_a_decade_within_the_ranges() -> None:
    model = HyperNetwork(nn.Linear(2, 2), {"a": 1, "b": 2}, ranges={"a": (-1.0, 1.0)})
    gammas = ray(model, 3)
    expected = torch.tensor([[-0.8, 0.1, 0.1], [2 * 0.1**0.5 - 1, 0.1**0.5, 0.1**0.5], [1.0, 1.0, 1.0]])
    torch.testing.assert_close(gammas, expected)


def test_ratios_are_those_of_the_norms_and_leave_out_what_starts_at_zero(text: nn.Module) -> None:
    model = HyperNetwork(text, 2, correction=0.5)
    gammas = model.inputs.sample(6, torch.Generator().manual_seed(0))
    tags = scalars(model, gammas)
    ratios = {tag.rpartition("/")[2]: value for tag, value in tags.items() if "/correction/" in tag}
    assert ratios.keys() == model.heads.shapes.keys() - {"film.beta", "norm.bias"}
    for name, ratio in ratios.items():
        theta, base = model.predict(gammas)[name].detach().numpy(), model.base[name].detach().numpy()
        squares = ((theta - base) ** 2).reshape(6, -1).sum(1)
        assert ratio == pytest.approx(np.sqrt(squares.mean()) / np.linalg.norm(base), rel=1e-4)
    assert not any("correction" in tag for tag in scalars(HyperNetwork(text, 2, parametrization="default"), gammas))


def test_the_spread_of_gradients_equals_numpy(images: nn.Module, pictures: Tensor) -> None:
    model = HyperNetwork(images.eval(), 2, correction=0.5)
    model.primary[6].bias.requires_grad_(False)
    gammas = model.inputs.sample(5, torch.Generator().manual_seed(0))

    def loss(model: HyperNetwork, gamma: Tensor) -> Tensor:
        return model(gamma, pictures).square().mean()

    flat = []
    for gamma in gammas:
        model.zero_grad()
        loss(model, gamma).backward()
        flat.append(np.concatenate([p.grad.flatten().double() for p in model.parameters() if p.requires_grad]))
    model.zero_grad()
    spread = gradient_spread(model, loss, gammas)
    mean = np.mean(flat, axis=0)
    assert spread.square_of_mean == pytest.approx((mean**2).sum(), rel=1e-4)
    assert spread.variance == pytest.approx(np.mean([((f - mean) ** 2).sum() for f in flat]), rel=1e-4)
    assert all(p.grad is None for p in model.parameters())


def test_scalars_are_numbers_by_tag(text: nn.Module) -> None:
    model = HyperNetwork(text, 2)
    gammas = model.inputs.sample(3, torch.Generator().manual_seed(0))
    spread = gradient_spread(model, squares, gammas)
    tags = scalars(model, gammas, squares, prefix="h")
    assert all(isinstance(value, float) for value in tags.values())
    assert tags["h/slope"] == magnitude_slope(model, ray(model))
    norms = model.predict(gammas)["embedding.weight"].flatten(1).norm(dim=1)
    assert tags["h/norm/embedding.weight"] == pytest.approx(norms.mean().item(), rel=1e-5)
    assert (tags["h/gradient variance"], tags["h/gradient mean squared"]) == (spread.variance, spread.square_of_mean)
    theta = torch.cat([value.flatten(1) for value in model.predict(gammas).values()], dim=1)
    base = torch.cat([value.flatten() for value in model.base.values()])
    moved = (theta - base).square().sum(1).mean().sqrt() / base.norm()
    assert tags["h/correction"] == pytest.approx(moved.item(), rel=1e-5)
    assert len(tags) == 1 + 2 + 1 + 5 + 7


def squares(model: HyperNetwork, gamma: Tensor) -> Tensor:
    return torch.stack([value.square().sum() for value in model.predict(gamma).values()]).sum()


def test_what_has_no_slope_or_correction_has_no_scalar() -> None:
    model = HyperNetwork(nn.Linear(2, 2), 1, parametrization="default", correction=0.0)
    assert set(scalars(model, model.inputs.diagonal(torch.ones(1)))) == {"hypernet/norm/weight", "hypernet/norm/bias"}
