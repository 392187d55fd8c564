"""Oracles: estimators on activations recorded by hand, counters in the modules, the same text with other padding."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evonas.errors import InputError
from evonas.steering import Intervention, fit
from evonas.studies.steering.estimators import linear_transport, mean_shift
from evonas.studies.steering.methods import METHODS, PROMPT, Method, register_method
from evonas.studies.steering.pooling import Pooling
from evonas.studies.steering.recording import record
from evonas.studies.steering.sites import find_sites, steered
from evonas.tasks.language.model import Transformer, build_transformer
from evonas.tasks.language.settings import ModelConfig

CONFIG = ModelConfig(vocabulary=11, width=8, depth=2, head_size=4, context=12)
SITES = "blocks.*.mlp_norm"
FITTED = [method for method in METHODS if method != PROMPT]


def tokens(seed: int, count: int = 6, top: int = 11) -> Tensor:
    return torch.randint(top, (count, 9), generator=torch.Generator().manual_seed(seed))


def small() -> Transformer:
    return build_transformer(CONFIG, seed=0)


def fitted(method: str, **settings: Any) -> Intervention:
    return fit(small(), [tokens(0), tokens(1)], [tokens(2, 7, 5)], sites=SITES, method=method, **settings)


def assert_same(one: Intervention, two: Intervention) -> None:
    for first, second in zip(one.maps, two.maps, strict=True):
        for field in fields(first):
            mine, theirs = getattr(first, field.name), getattr(second, field.name)
            assert torch.equal(mine, theirs) if isinstance(mine, Tensor) else mine == theirs


@pytest.mark.parametrize("method", FITTED)
def test_every_method_is_a_function_of_its_arguments_and_leaves_the_model_as_it_was(method: str) -> None:
    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = fit(model, [tokens(0), tokens(1)], [tokens(2, 7, 5)], sites=SITES, method=method, steps=5)
    assert [site.name for site in found.sites] == ["blocks.0.mlp_norm", "blocks.1.mlp_norm"]
    assert not any(affine.is_identity for affine in found.maps)
    assert (found.method, found.model, len(found.losses)) == (method, "Transformer", 5 * (method == "lineas"))
    assert_same(found, fitted(method, steps=5))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert model.training


def test_together_each_site_is_estimated_on_the_untouched_model() -> None:
    model = small().eval()
    sites = find_sites(model, [SITES], tokens(2))
    source, target = (
        record(model, sites, [b], Pooling(), "") for b in (torch.cat([tokens(0), tokens(1)]), tokens(2, 7, 5))
    )
    for method, estimate in (
        ("caa", mean_shift),
        ("mean-act", mean_shift),
        ("linear-act", lambda a, b: linear_transport(a, b, bounded=False)),
    ):
        found = fitted(method, sequential=False, bounded=False)
        for affine, a, b in zip(found.maps, source, target, strict=True):
            torch.testing.assert_close(affine.weight, estimate(a, b).weight)
            torch.testing.assert_close(affine.bias, estimate(a, b).bias)


def test_in_sequence_later_sites_see_what_earlier_maps_have_moved() -> None:
    model = small().eval()
    sites = find_sites(model, [SITES], tokens(2))
    source = [tokens(0), tokens(1)]
    first, second = record(model, sites, [tokens(2, 7, 5)], Pooling(), "target")
    one = linear_transport(record(model, sites[:1], source, Pooling(), "source")[0], first, bounded=True)
    with steered(model, sites[:1], [one]):
        two = linear_transport(record(model, sites[1:], source, Pooling(), "source")[0], second, bounded=True)
    found = fitted("linear-act")
    torch.testing.assert_close(found.maps[0].bias, one.bias)
    torch.testing.assert_close(found.maps[1].weight, two.weight)
    torch.testing.assert_close(found.maps[1].low, two.low)
    apart = fitted("linear-act", sequential=False)
    assert torch.equal(apart.maps[0].weight, found.maps[0].weight)
    assert not torch.allclose(apart.maps[1].weight, found.maps[1].weight)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.tanh()


def test_nothing_after_the_last_site_runs_in_a_step() -> None:
    model = nn.Sequential(*(Counting() for _ in range(4)))
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    fit(model, [x], [x + 1], sites=["1", "0"], steps=10, lr=0.01)
    # to find the sites, the target, the source as it is, ten steps; the last two are called in the first of these only
    assert [module.calls for module in model] == [13, 13, 1, 1]


class Masked(nn.Module):
    """A causal-free attention block that heeds its mask, on embedded tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 6), nn.Linear(6, 6)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        weights = (x @ x.mT).masked_fill(attention_mask[:, None] == 0, -torch.inf).softmax(-1)
        return self.head(weights @ x)


def padded(rows: list[list[int]], width: int, left: bool) -> dict[str, Tensor]:
    ids, mask = torch.full((len(rows), width), 10), torch.zeros(len(rows), width, dtype=torch.long)
    for k, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[k, place], mask[k, place] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("method", [method for method in FITTED if method != "chars"])  # K-means tells ulps apart
@pytest.mark.parametrize("pool", ["mean", "last", "max"])
def test_padding_changes_nothing(method: str, pool: str) -> None:
    torch.manual_seed(0)
    model = Masked()
    source, target = [[1, 2, 3], [4, 5], [6, 7, 8, 9]], [[0, 1, 9, 2], [3, 3], [5, 8]]
    found = [
        fit(
            model,
            [padded(source, width, left)],
            [padded(target, width, left)],
            sites=["embedding", "head"],
            method=method,
            pool=pool,
            steps=4,
            lr=0.01,
        )
        for width, left in ((4, False), (9, False), (7, True))
    ]
    for other in found[1:]:
        for one, two in zip(found[0].maps, other.maps, strict=True):
            torch.testing.assert_close(one.weight, two.weight, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(one.bias, two.bias, rtol=1e-4, atol=1e-5)


def test_images_are_steered_by_channel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    x = torch.randn(6, 1, 4, 4)
    found = fit(model, [x], [3 * x + 1], sites="1", steps=100, lr=0.02)
    assert (found.sites[0].features, found.sites[0].axis) == (4, 1)
    assert found.losses[-1] < 0.5 * found.losses[0]
    with found.on(model):
        affine = found.maps[0]
        wanted = model[1].forward(model[0](x)) * affine.weight[:, None, None] + affine.bias[:, None, None]
        torch.testing.assert_close(model[:2](x), wanted)


NAN = torch.full((4, 9, 3), torch.nan)
GOOD = torch.randn(4, 9, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("source", "target", "settings", "message"),
    [
        (
            [GOOD],
            [GOOD],
            {"sites": "**.norm"},
            r"^pattern '\*\*.norm': matches none of the 2 modules",
        ),
        ([GOOD], [GOOD], {"sites": []}, "^sites: no pattern; accepted: patterns such as"),
        ([GOOD[:1]], [GOOD], {}, "^source: 1 sample; accepted: 2 or more$"),
        ([GOOD], [GOOD[:1]], {}, "^target: 1 sample; accepted: 2 or more$"),
        (GOOD, [GOOD], {}, r"^source: a single batch; accepted: an iterable of batches; put it into a list$"),
        ([GOOD], {"x": GOOD}, {}, r"^target: a single batch; accepted: an iterable of batches; put it into a list$"),
        ([], [GOOD], {}, "^source: no batch; accepted: 2 samples or more$"),
        ([GOOD, GOOD[:1]], [GOOD], {}, "^source, batch 1: 1 sample; accepted: 2 or more; make batches larger$"),
        ([NAN], [GOOD], {}, "^0: activations of source are not finite"),
        ([GOOD], [GOOD, NAN], {}, "^0: activations of target are not finite"),
        ([(GOOD, GOOD)], [GOOD], {}, "^source, batch 0: batch: a tuple; accepted: a tensor, or a mapping of inputs"),
        ([GOOD[:, :1]], [GOOD], {}, "^source, batch 0: batch: sample 0 has no token to pool beside the first"),
        (
            [GOOD],
            [GOOD],
            {"method": "reft"},
            "^method: unknown steering method 'reft'; accepted: lineas, linear-act, ",
        ),
        ([GOOD], [GOOD], {"pool": "sum"}, "^pool: 'sum'; accepted: mean, last, max, min$"),
        ([GOOD], [GOOD], {"reduction": "max"}, "^reduction: 'max'; accepted: mean, sum$"),
        ([GOOD], [GOOD], {"optimizer": "lion"}, "^optimizer: 'lion'; accepted: sgd, adam$"),
        ([GOOD], [GOOD], {"steps": 0}, "^steps: 0; accepted: 1 or more$"),
        ([GOOD], [GOOD], {"lr": float("nan")}, "^lr: nan; accepted: a finite number above 0$"),
        ([GOOD], [GOOD], {"sparsity": -1.0}, "^sparsity: -1.0; accepted: 0 or a finite number above$"),
        (
            [GOOD],
            [GOOD],
            {"sparsity": 0.1, "method": "caa"},
            "^sparsity: 0.1 with method 'caa'; accepted: 0, or method",
        ),
        ([GOOD], [GOOD], {"neurons": 0.0}, "^neurons: 0.0; accepted: a share above 0, up to 1$"),
        ([GOOD], [GOOD], {"neurons": 1.5}, "^neurons: 1.5; accepted: a share above 0, up to 1$"),
        ([GOOD], [GOOD], {"method": "prompt"}, "^method: 'prompt' has no maps to fit; begin the prompt with"),
        ([GOOD], [GOOD], {"method": "chars", "clusters": 0}, "^clusters: 0; accepted: 1 or more$"),
        ([GOOD], [GOOD], {"held_out": 1.0}, "^held_out: 1.0; accepted: 0 or more and less than 1$"),
        ([GOOD], [GOOD], {"held_out": 0.2}, "^source: 4 samples, of which 1 are held out; accepted: 2 or more on"),
        ([GOOD], [GOOD], {"folds": 1}, "^folds: 1; accepted: 0, or 2 or more$"),
        ([GOOD], [GOOD], {"folds": 4}, "^source: 4 samples, of which 1 are held out"),
        ([GOOD], [GOOD], {"folds": 2, "held_out": 0.5}, "^held_out: 0.5 together with folds; accepted: one of the two"),
        ([GOOD], [GOOD], {"shrink": True}, "^shrink: without held-out samples; accepted: together with held_out or"),
        ([GOOD], [GOOD], {"folds": 2, "method": "caa"}, "^folds: 2 with method 'caa'; accepted: 0, or method 'lineas'"),
        (
            [GOOD],
            [GOOD],
            {"neurons": 0.5, "method": "mean-act"},
            "^neurons: 0.5 with method 'mean-act'; accepted: 1, or method",
        ),
    ],
)
def test_mistakes_are_named_in_one_line(source: Any, target: Any, settings: dict[str, Any], message: str) -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(3, 3))
    with pytest.raises(InputError, match=message) as error:
        fit(model, source, target, **{"sites": "0", "steps": 2} | settings)
    assert len(str(error.value).splitlines()) == 1
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("sequential", [True, False])
def test_a_method_of_a_user_is_fitted_as_its_record_says(sequential: bool) -> None:
    register_method(Method("own-shift", mean_shift, "1, difference of means", "these tests", sequential=sequential))
    found = fitted("own-shift")
    assert found.method == "own-shift"
    assert_same(found, fitted("mean-act" if sequential else "caa"))


def test_an_unknown_method_has_a_near_one() -> None:
    with pytest.raises(InputError, match=r"method: unknown steering method 'linear_act'; .*did you mean 'linear-act'"):
        fitted("linear_act")
