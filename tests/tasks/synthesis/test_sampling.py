"""Oracles: scipy's truncated normal distribution, and statistics of what a generator's parts are given, by hand."""

import copy

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from evonas.config import LayerConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.layer.ops import BatchMoment
from evonas.tasks.synthesis.biggan import BigGan, build_biggan, put_layer
from evonas.tasks.synthesis.sampling import draw_latents, standing_statistics


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def biggan() -> BigGan:
    torch.manual_seed(0)
    return build_biggan(32, classes=3, channels=2, latent=8, shared=4, attention=(16,))


def draws(count: int) -> list[tuple[Tensor, Tensor]]:
    drawn = rng(5)
    return [(draw_latents(6, 8, drawn), torch.randint(3, (6,), generator=drawn)) for _ in range(count)]


@pytest.mark.parametrize("truncation", [0.1, 0.5, 2.0])
def test_truncated_latents_stay_within_the_bounds_and_are_distributed_as_scipy_says(truncation: float) -> None:
    drawn = draw_latents(500, 8, rng(), truncation=truncation)
    assert drawn.shape == (500, 8)
    assert drawn.abs().max() <= truncation
    expected = stats.truncnorm(-truncation, truncation)
    assert stats.kstest(drawn.flatten().numpy(), expected.cdf).pvalue > 0.01


def test_latents_without_truncation_are_normal_and_repeat_with_the_generator() -> None:
    drawn = draw_latents(500, 8, rng())
    assert stats.kstest(drawn.flatten().numpy(), stats.norm.cdf).pvalue > 0.01
    assert drawn.abs().max() > 3
    assert torch.equal(drawn, draw_latents(500, 8, rng()))
    assert not torch.equal(drawn, draw_latents(500, 8, rng(1)))


def test_a_truncation_leaves_the_global_generator_alone_and_repeats() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    drawn = draw_latents(4, 8, rng(), truncation=1.0)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawn, draw_latents(4, 8, rng(), truncation=1.0))


@pytest.mark.parametrize("truncation", [0.0, -1.0, float("nan")])
def test_a_truncation_that_cannot_be_is_refused(truncation: float) -> None:
    with pytest.raises(InputError, match=r"^truncation: .*accepted: a number above 0$"):
        draw_latents(1, 1, rng(), truncation=truncation)


class Seen:
    """The statistic of each batch that a moment or a norm was given, in training."""

    def __init__(self, module: nn.Module) -> None:
        self.statistics: list[tuple[Tensor, ...]] = []
        self.module = module
        module.register_forward_pre_hook(self)

    def __call__(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        x = inputs[0].detach()
        if isinstance(module, BatchMoment):
            statistic = {
                "mean": lambda: x.mean((0, 2, 3)),
                "rms": lambda: x.square().mean((0, 2, 3)),
                "std": lambda: x.var((0, 2, 3), correction=0),
            }[module.moment]()
            self.statistics.append((statistic,))
        else:
            self.statistics.append((x.mean((0, 2, 3)), x.var((0, 2, 3))))

    def expected(self) -> list[Tensor]:
        return [torch.stack(values).mean(0) for values in zip(*self.statistics, strict=True)]

    def standing(self) -> list[Tensor]:
        if isinstance(self.module, BatchMoment):
            return [self.module.running.flatten()]
        return [self.module.running_mean, self.module.running_var]


@pytest.mark.parametrize("layer", [None, "evonorm-b0", "bn-relu"])
def test_standing_statistics_are_the_means_of_those_of_the_batches(layer: str | None) -> None:
    model = biggan() if layer is None else put_layer(biggan(), CATALOGUE[layer], LayerConfig())
    generator = model.generator.eval()
    kinds = (BatchMoment, nn.BatchNorm2d)
    seen = [Seen(module) for module in generator.modules() if isinstance(module, kinds)]
    weights = {name: value.clone() for name, value in generator.state_dict().items() if "running" not in name}
    assert standing_statistics(generator, draws(5), batches=3) == 3
    assert {len(one.statistics) for one in seen} == {3}
    assert len(seen) == (14 if layer == "bn-relu" else 7)  # bn-relu has a mean and a std at each of seven sites
    for one in seen:
        for value, expected in zip(one.standing(), one.expected(), strict=True):
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)
    assert not any(module.training for module in generator.modules())
    after = generator.state_dict()
    assert all(torch.equal(after[name], value) for name, value in weights.items() if "batches_tracked" not in name)


def test_without_batch_moments_standing_statistics_change_nothing() -> None:
    generator = put_layer(biggan(), CATALOGUE["evonorm-s0"], LayerConfig()).generator
    before = copy.deepcopy(generator.state_dict())
    standing_statistics(generator, draws(2), batches=None)
    assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
    assert generator.training


def test_no_batch_at_all_is_an_error() -> None:
    with pytest.raises(InputError, match="batches: empty"):
        standing_statistics(biggan().generator, [])
