"""Oracles: products of (1 - s_t lambda), Adam written out in numpy, schedules worked out by hand."""

import math

import numpy as np
import pytest
import torch

from evonas.errors import InputError
from evonas.studies.stability.optimizer import GradientClip, make_schedule, schedule_factor, transformer_optimizer
from evonas.studies.stability.settings import OptimizerConfig
from evonas.tasks.language.model import Transformer, build_transformer
from evonas.tasks.language.settings import ModelConfig

TINY = {"vocabulary": 7, "width": 8, "depth": 1, "head_size": 4, "context": 6}
STEPS = 9


def tiny(**settings: object) -> Transformer:
    return build_transformer(ModelConfig(**TINY, **settings), seed=1).double()


def copies(model: Transformer) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def step_with(model: Transformer, config: OptimizerConfig, gradients: list[dict[str, torch.Tensor]]) -> None:
    optimizer = transformer_optimizer(model, config)
    schedule = make_schedule(optimizer, config, STEPS)
    for gradient in gradients:
        for name, parameter in model.named_parameters():
            parameter.grad = gradient[name].clone()
        optimizer.step()
        schedule.step()


def settings(**changed: object) -> OptimizerConfig:
    return OptimizerConfig(**{"learning_rate": 0.02, "warmup": 3, "weight_decay": 0.05} | changed)


@pytest.mark.parametrize("learning_rate", [3e-4, 0.3])
@pytest.mark.parametrize("level", ["off", "simple", "full"])
@pytest.mark.parametrize("rms_scaled", [False, True])
def test_independent_decay_alone_is_the_product_of_1_minus_s_lambda(
    learning_rate: float, level: str, rms_scaled: bool
) -> None:
    model = tiny(mu_param=level, base_width=4)
    before = copies(model)
    config = settings(learning_rate=learning_rate, rms_scaled=rms_scaled)
    step_with(model, config, [{name: torch.zeros_like(p) for name, p in before.items()}] * STEPS)
    kept = math.prod(1 - 0.05 * schedule_factor(config, STEPS, step) for step in range(STEPS))
    assert 0.6 < kept < 0.9
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), kept * before[name], rtol=1e-12, atol=0, msg=name)


def test_coupled_decay_alone_goes_with_the_learning_rate_of_the_group() -> None:
    model = tiny(mu_param="simple", base_width=4)
    before = copies(model)
    config = settings(decay="coupled", learning_rate=0.3)
    step_with(model, config, [{name: torch.zeros_like(p) for name, p in before.items()}] * STEPS)
    for name, parameter in model.named_parameters():
        rate = 0.3 * (0.5 if name in model.linear_weights() else 1)
        kept = math.prod(1 - rate * 0.05 * schedule_factor(config, STEPS, step) for step in range(STEPS))
        torch.testing.assert_close(parameter.detach(), kept * before[name], rtol=1e-12, atol=0, msg=name)


@pytest.mark.parametrize("decay", ["independent", "coupled"])
@pytest.mark.parametrize("rms_scaled", [False, True])
def test_steps_are_those_of_the_formula(decay: str, rms_scaled: bool) -> None:
    model = tiny(mu_param="simple", base_width=16)
    with torch.no_grad():
        model.norm.weight.mul_(1e-5)  # below the least RMS
    config = settings(decay=decay, rms_scaled=rms_scaled, epsilon=1e-3)
    generator = torch.Generator().manual_seed(0)
    gradients = [
        {name: torch.randn(p.shape, generator=generator, dtype=p.dtype) for name, p in model.named_parameters()}
        for _ in range(STEPS)
    ]
    expected = {}
    for name, start in copies(model).items():
        theta, first, second = start.numpy(), 0.0, 0.0
        peak = 0.02 * (2 if name in model.linear_weights() else 1)
        for step, gradient in enumerate(gradients):
            g, s = gradient[name].numpy(), schedule_factor(config, STEPS, step)
            first, second = 0.9 * first + 0.1 * g, 0.95 * second + 0.05 * g**2
            corrected = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.95 ** (step + 1))
            delta = corrected[0] / (np.sqrt(corrected[1]) + 1e-3)
            rate = peak * (max(np.sqrt((theta**2).mean()), 1e-3) if rms_scaled else 1)
            decayed = 0.05 * theta if decay == "independent" else rate * 0.05 * theta
            theta = theta - s * (rate * delta + decayed)
        expected[name] = theta
    step_with(model, config, gradients)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), expected[name], rtol=1e-9, atol=1e-14, err_msg=name)


def test_groups_have_their_rates_back_after_a_scaled_step() -> None:
    model, config = tiny(), settings(rms_scaled=True)
    optimizer = transformer_optimizer(model, config)
    before = [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == before


def test_mu_param_scales_the_rates_of_linear_layers() -> None:
    model = tiny(mu_param="simple", base_width=2)
    optimizer = transformer_optimizer(model, settings())
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {rates[p] for p in model.linear_weights().values()} == {0.02 / 4}
    others = [p for name, p in model.named_parameters() if name not in model.linear_weights()]
    assert {rates[p] for p in others} == {0.02}
    assert len(rates) == len(list(model.parameters()))
    plain = transformer_optimizer(tiny(), settings())
    assert [group["lr"] for group in plain.param_groups] == [0.02]


def test_exempt_parameters_are_not_decayed() -> None:
    model = tiny()
    before = copies(model)
    exempt = {"embedding.weight", "norm.weight", *(name for name in before if "_norm." in name)}
    config = settings(undecayed=("embedding.*", "**.*norm.weight"))
    step_with(model, config, [{name: torch.zeros_like(p) for name, p in before.items()}])
    same = {name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])}
    assert same == exempt
    assert len(same) == 6


def test_a_pattern_without_a_parameter_is_named() -> None:
    with pytest.raises(
        InputError, match=r"optimizer\.undecayed: 'layers\.\*': matches no parameter; .*embedding\.weight"
    ):
        transformer_optimizer(tiny(), settings(undecayed=("layers.*",)))


def test_the_schedule_warms_up_and_falls_as_a_cosine() -> None:
    config = OptimizerConfig(learning_rate=0.1, final_learning_rate=0.01, warmup=4)
    factors = [schedule_factor(config, 12, step) for step in range(12)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[7] == pytest.approx((1 + 0.1) / 2)  # half way
    assert factors[5] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert factors[11] == pytest.approx(0.1)
    assert schedule_factor(config, 12, 12) == factors[11]  # asked for by torch after the last step
    assert schedule_factor(OptimizerConfig(warmup=0, final_learning_rate=0.0), 1, 0) == 0


def test_every_group_follows_the_schedule() -> None:
    config = settings()
    optimizer = transformer_optimizer(tiny(mu_param="simple", base_width=2), config)
    schedule = make_schedule(optimizer, config, STEPS)
    for step in range(STEPS):
        factor = schedule_factor(config, STEPS, step)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02 * factor, 0.005 * factor])
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(("limit", "left"), [(1.0, 1.0), (100.0, 13.0), (0.0, 13.0)])
def test_gradients_are_scaled_to_a_global_norm(limit: float, left: float) -> None:
    weights = [torch.zeros(2).requires_grad_(), torch.zeros(1).requires_grad_()]
    optimizer = torch.optim.SGD([{"params": weights[:1]}, {"params": weights[1:]}], lr=1.0)
    clip = GradientClip(optimizer, limit)
    for _ in range(2):
        weights[0].grad, weights[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([12.0])
        optimizer.step()
    assert [norm.item() for norm in clip.norms] == [13.0, 13.0]
    taken = torch.cat([weight.detach() for weight in weights])
    torch.testing.assert_close(taken, -2 * left / 13 * torch.tensor([3.0, 4.0, 12.0]), rtol=1e-5, atol=0)
