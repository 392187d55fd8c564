"""Oracles: counters in the modules, and activations computed by hand."""

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.recording import Recorder, frozen, record
from evonas.studies.steering.sites import find_sites


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return 2 * x


def chain() -> nn.Sequential:
    return nn.Sequential(*(Counting() for _ in range(4)))


X = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(0))


def test_the_forward_pass_ends_after_the_last_site() -> None:
    model = chain()
    sites = find_sites(model, ["0", "2"], X)
    with Recorder(model, sites, Pooling()) as recorder:
        first, second = recorder(X)
        recorder(X)
    assert [module.calls for module in model] == [3, 3, 3, 1]  # the search for sites runs to the end
    torch.testing.assert_close(first, 2 * X[:, 1:].mean(1))
    torch.testing.assert_close(second, 8 * X[:, 1:].mean(1))
    model(X)
    assert model[3].calls == 2


def test_gradients_flow_to_what_is_before_a_site() -> None:
    model, x = chain(), X.clone().requires_grad_()
    with Recorder(model, find_sites(model, ["1"], X), Pooling(skip_first=False)) as recorder:
        recorder(x)[0].sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(X, 4 / 7))


def test_samples_of_all_batches_are_joined() -> None:
    model = chain()
    (found,) = record(model, find_sites(model, ["0"], X), [X[:2], X[2:]], Pooling(), "source")
    torch.testing.assert_close(found, 2 * X[:, 1:].mean(1))


class Odd(nn.Module):
    """Flattens, as some modules do between their layers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.act = nn.Linear(3, 3), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.inner(x.flatten(0, 1))).view(x.shape)


class Made(nn.Module):
    """Takes no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, count: int) -> Tensor:
        return self.inner(torch.ones(count, 3))


def test_mistakes_are_named_in_one_line() -> None:
    model, odd, made = chain(), Odd(), Made()
    sites = find_sites(model, ["0"], X)
    with pytest.raises(InputError, match=r"^target: 1 sample; accepted: 2 or more$"):
        record(model, sites, [X[:1]], Pooling(), "target")
    spoilt = X.clone()
    spoilt[3, 4, 1] = torch.nan
    with pytest.raises(InputError, match=r"^0: activations of source are not finite"):
        record(model, sites, [spoilt], Pooling(), "source")
    with pytest.raises(InputError, match=r"^source, batch 1: act: puts out 35 rows for 5 samples"):
        record(odd, find_sites(odd, ["act"], X), [X[:1, :1], X], Pooling(), "source")
    with pytest.raises(InputError, match=r"^source, batch 0: batch: holds no tensor"):
        record(made, find_sites(made, ["inner"], {"count": 2}), [{"count": 2}], Pooling(), "source")
    with pytest.raises(InputError, match=r"^source, batch 0: batch: sample 0 has no token to pool"):
        record(model, sites, [X[:, :1]], Pooling(), "source")


def test_a_frozen_model_gets_its_modes_and_flags_back_even_after_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    model[2].eval()
    modes = [module.training for module in model.modules()]

    def fail() -> None:
        with frozen(model):
            assert not any(module.training for module in model.modules())
            assert not any(parameter.requires_grad for parameter in model.parameters())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False, True, True]
