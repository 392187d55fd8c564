"""Oracles: maps that made the target, the closed form for one site, gradients by differences, descent by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.steering import lineas
from evonas.studies.steering.estimators import linear_transport
from evonas.studies.steering.maps import AffineMap
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.proximal import sparse_group_prox
from evonas.studies.steering.recording import Recorder, frozen, record
from evonas.studies.steering.sites import find_sites, steered
from evonas.studies.steering.wasserstein import quantiles, squared_wasserstein, transport_loss


def drawn(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network() -> nn.Sequential:
    """Two sites, "1" and "3", with something that is not affine between them."""
    model = nn.Sequential(nn.Identity(), nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2), nn.Linear(2, 2)).double().eval()
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter.copy_(drawn(parameter.numel(), 1, seed).view(parameter.shape))
    return model


def train(model: nn.Module, patterns: str, source: list[Tensor], target: Tensor, **changes: Any) -> Any:
    on_step = changes.pop("on_step", None)
    settings = lineas.LinEASSettings(**{"steps": 50, "lr": 0.01, "reduction": "sum"} | changes)
    with frozen(model):
        sites = find_sites(model, patterns.split(), target)
        goals = record(model, sites, [target], Pooling(), "target")
        trained = lineas.train_maps(model, sites, source, goals, Pooling(), settings, on_step)
    return sites, trained.maps, trained


def test_one_site_ends_at_the_closed_form() -> None:
    source, target = drawn(30, 3, 0), drawn(45, 3, 1) * torch.tensor([2.0, 0.5, 1.0]).double() + 1
    _, (found,), trace = train(nn.Sequential(nn.Identity()), "0", [source], target, steps=300, lr=0.3)
    wanted = linear_transport(source, target, bounded=False)
    torch.testing.assert_close(found.weight, wanted.weight, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.bias, wanted.bias, rtol=1e-4, atol=1e-4)
    moved = squared_wasserstein(found(source), target).sum().item()
    assert trace.losses[-1] == pytest.approx(moved, rel=1e-3)


def test_two_gaussians_with_a_known_map() -> None:
    scale, shift = torch.tensor([2.0, 0.5]).double(), torch.tensor([-1.0, 3.0]).double()
    target = drawn(4000, 2, 1) * scale + shift
    batches = list(drawn(4000, 2, 0).split(500))
    _, (found,), _ = train(nn.Sequential(nn.Identity()), "0", batches, target, steps=200, lr=0.2)
    torch.testing.assert_close(found.weight, scale, rtol=0.06, atol=0)
    torch.testing.assert_close(found.bias, shift, rtol=0, atol=0.08)


def test_gradients_through_both_sites_are_those_of_differences() -> None:
    model, source = network(), drawn(5, 3, 7)
    sites = find_sites(model, ["1", "3"], source)
    goals = [quantiles(drawn(7, site.features, 9), 5) for site in sites]

    def loss(*parameters: Tensor) -> Tensor:
        maps = [AffineMap(*parameters[:2]), AffineMap(*parameters[2:])]
        with steered(model, sites, maps), Recorder(model, sites, Pooling()) as recorder:
            return transport_loss(recorder(source), goals, "mean")

    parameters = [drawn(site.features, 1, 3 + k).flatten().requires_grad_() for site in sites for k in (0, 1)]
    with frozen(model):
        assert torch.autograd.gradcheck(loss, parameters)


def test_a_step_is_descent_and_then_the_proximal_step_at_the_scheduled_rate() -> None:
    model, source, target, steps, lr, gamma = network(), drawn(6, 3, 0), drawn(6, 3, 1), 4, 0.05, 0.02
    sites = find_sites(model, ["1", "3"], target)
    goals = [quantiles(samples, 6) for samples in record(model, sites, [target], Pooling(), "target")]
    weights = [torch.ones(site.features).double() for site in sites]
    biases = [torch.zeros(site.features).double() for site in sites]
    losses = []
    for step in range(steps):
        variables = [value.clone().requires_grad_() for value in (*weights, *biases)]
        maps = list(map(AffineMap, variables[:2], variables[2:]))
        with steered(model, sites, maps), Recorder(model, sites, Pooling()) as recorder:
            loss = transport_loss(recorder(source), goals, "sum")
        slopes = torch.autograd.grad(loss, variables)
        losses.append(loss.item())
        rate = lr * (0.001 + 0.999 * (1 + math.cos(math.pi * step / steps)) / 2)
        moved = [value - rate * slope for value, slope in zip((*weights, *biases), slopes, strict=True)]
        weights = [1 + sparse_group_prox(value - 1, rate * gamma) for value in moved[:2]]
        biases = [sparse_group_prox(value, rate * gamma) for value in moved[2:]]
    _, found, trace = train(model, "1 3", [source], target, steps=steps, lr=lr, sparsity=gamma)
    assert trace.losses == pytest.approx(losses)
    for affine, weight, bias in zip(found, weights, biases, strict=True):
        torch.testing.assert_close(affine.weight, weight)
        torch.testing.assert_close(affine.bias, bias)


def test_sparsity_gives_exact_identities_more_of_them_the_larger_it_is() -> None:
    source, target = drawn(30, 8, 0), drawn(30, 8, 0)
    target[:, :2] += torch.tensor([3.0, -3.0])  # two neurons differ
    counts = []
    for gamma in (0.0, 0.05, 0.3, 100.0):
        _, (found,), _ = train(nn.Sequential(nn.Identity()), "0", [source], target, sparsity=gamma, steps=100, lr=0.1)
        counts.append(int(((found.weight != 1) | (found.bias != 0)).sum()))
        if gamma == 0.3:
            assert found.support.tolist() == [True] * 2 + [False] * 6
    assert counts[-1] == 0
    assert counts == sorted(counts, reverse=True)
    assert counts[2] == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_only_the_neurons_with_the_steepest_loss_leave_the_identity(optimizer: str) -> None:
    model, source, target, lr = network(), [drawn(6, 3, 0), drawn(6, 3, 2)], drawn(6, 3, 1), 1e-6
    slopes = torch.zeros(2, 6).double()  # by a step of one batch and SGD: what it moves is the gradient
    for batch in source:
        _, found, _ = train(model, "1 3", [batch], target, steps=1, lr=lr)
        slopes[0] += torch.cat([1 - affine.weight for affine in found]) / lr
        slopes[1] -= torch.cat([affine.bias for affine in found]) / lr
    wanted = set(slopes.abs().amax(0).argsort(descending=True)[:2].tolist())  # a quarter of 6, rounded up
    _, found, _ = train(model, "1 3", source, target, steps=20, neurons=0.25, optimizer=optimizer)
    weight, bias = torch.cat([affine.weight for affine in found]), torch.cat([affine.bias for affine in found])
    assert set(((weight != 1) | (bias != 0)).nonzero().flatten().tolist()) == wanted


def test_the_neurons_that_differ_are_found_and_brought_to_the_target() -> None:
    source, target = drawn(30, 8, 0), drawn(30, 8, 0)
    target[:, :2] = 2 * target[:, :2] + torch.tensor([3.0, -3.0])
    _, (found,), trace = train(nn.Sequential(nn.Identity()), "0", [source], target, neurons=0.25, steps=300, lr=0.3)
    torch.testing.assert_close(found.weight[:2], torch.full((2,), 2.0).double(), rtol=1e-4, atol=0)
    torch.testing.assert_close(found.bias[:2], torch.tensor([3.0, -3.0]).double(), rtol=1e-4, atol=0)
    assert found.support.tolist() == [True] * 2 + [False] * 6
    assert trace.losses[-1] < 1e-6


def test_training_through_the_network_brings_all_sites_nearer() -> None:
    model, source, target = network(), drawn(40, 3, 0), 2 * drawn(50, 3, 1) + 1
    for optimizer, lr in (("sgd", 0.02), ("adam", 0.05)):
        sites, maps, trace = train(model, "*", [source], target, steps=150, lr=lr, optimizer=optimizer)
        assert len(sites) == 5
        assert trace.losses[-1] < 0.2 * trace.losses[0]
        assert not any(affine.weight.requires_grad for affine in maps)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_steps_are_reported_after_the_maps_have_moved() -> None:
    seen = []
    _, _, trace = train(
        network(), "3", [drawn(5, 3, 0)], drawn(5, 3, 1), steps=3, on_step=lambda k, loss: seen.append((k, loss.item()))
    )
    assert [step for step, _ in seen] == [0, 1, 2]
    assert [loss for _, loss in seen] == pytest.approx(trace.losses)


def test_a_diverging_training_says_when() -> None:
    with pytest.raises(InputError, match=r"^lr: 1e\+200: .* at step \d+ of 50; lower it$"):
        train(network(), "3", [drawn(5, 3, 0)], drawn(5, 3, 1), lr=1e200)
