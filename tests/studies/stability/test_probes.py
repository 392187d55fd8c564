"""Oracles: a training without probes, which must be the same to the last bit, and values worked out beside the training
with torch from copies of the model before each step.
"""

import copy
import json
from dataclasses import FrozenInstanceError, asdict

import pytest
import torch
from torch import Tensor, nn

from evonas.studies.stability.optimizer import GradientClip, make_schedule, transformer_optimizer
from evonas.studies.stability.probes import Probes, Reading
from evonas.studies.stability.settings import OptimizerConfig
from evonas.tasks.language.loss import z_loss_cross_entropy
from evonas.tasks.language.model import Transformer, build_transformer
from evonas.tasks.language.settings import ModelConfig
from evonas.tasks.language.text import token_batches
from evonas.training.fit import Trace, fit

CONFIG = ModelConfig(vocabulary=7, width=8, depth=2, head_size=4, context=40, attention_softcap=5.0)
OPTIMIZER = OptimizerConfig(warmup=2, epsilon=1e-4)
TOKENS = torch.randint(7, (500,), generator=torch.Generator().manual_seed(0))


class Training:
    """Steps of a tiny model; copies of it before each step, and the gradients that the optimizer got."""

    def __init__(self, steps: int, every: int, config: ModelConfig = CONFIG) -> None:
        self.model = build_transformer(config, seed=1)
        self.batches = token_batches(TOKENS, 40, 3, seed=2)
        self.inputs: list[Tensor] = []
        self.before: list[Transformer] = []
        self.gradients: list[dict[str, Tensor]] = []
        self.hooks: list[int] = []
        optimizer = transformer_optimizer(self.model, OPTIMIZER)
        schedule = make_schedule(optimizer, OPTIMIZER, steps)
        GradientClip(optimizer, OPTIMIZER.clip)
        self.probes = Probes(self.model, optimizer, steps=steps, every=every)

        def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
            self.hooks.append(hooks(self.model))
            self.inputs.append(batch[0])
            self.before.append(copy.deepcopy(self.model))
            return z_loss_cross_entropy(self.model(batch[0]), batch[1])

        def after_step(step: int, value: Tensor) -> None:
            self.gradients.append({name: p.grad.clone() for name, p in self.model.named_parameters()})
            self.probes.after_step(step, value)

        with self.probes:
            self.trace: Trace = fit(
                loss, self.batches, optimizer, steps=steps, schedule=schedule, after_step=after_step
            )
        self.hooks.append(hooks(self.model) + len(optimizer._optimizer_step_pre_hooks) - 1)

    @property
    def readings(self) -> list[Reading]:
        return self.probes.readings


def hooks(model: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


def root(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


def test_a_training_is_the_same_to_the_last_bit_with_and_without_probes() -> None:
    with_probes, without = Training(6, every=2), Training(6, every=0)
    assert without.readings == []
    assert with_probes.trace == without.trace
    pairs = zip(with_probes.model.parameters(), without.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_hooks_are_there_on_the_steps_that_are_read_and_on_no_others() -> None:
    training = Training(6, every=3)
    assert [reading.step for reading in training.readings] == [0, 3, 5]  # the last one too
    assert [count > 0 for count in training.hooks] == [True, False, False, True, False, True, False]


def test_values_of_weights_and_gradients_are_those_of_the_step() -> None:
    training = Training(5, every=4)
    for reading, step in zip(training.readings, (0, 4), strict=True):
        assert reading.loss == pytest.approx(training.trace.losses[step])
        before = dict(training.before[step].named_parameters())
        after = dict((training.before[step + 1] if step < 4 else training.model).named_parameters())
        for name, gradient in training.gradients[step].items():
            assert reading.values[f"gradient_rms.{name}"] == pytest.approx(root(gradient))
            assert reading.values[f"gradient_over_epsilon.{name}"] == pytest.approx(root(gradient) / 1e-4)
            assert reading.values[f"parameter_rms.{name}"] == pytest.approx(root(before[name]))
            update = root(after[name].detach() - before[name].detach())
            assert reading.values[f"update_rms.{name}"] == pytest.approx(update)
    assert [reading.values["learning_rate"] for reading in training.readings] == pytest.approx([1e-2 / 2, 1e-5])


def test_gradients_are_read_after_clipping() -> None:
    training = Training(1, every=1)
    counts = {name: p.numel() for name, p in training.model.named_parameters()}
    squares = sum(training.readings[0].values[f"gradient_rms.{name}"] ** 2 * n for name, n in counts.items())
    assert squares**0.5 == pytest.approx(1, rel=1e-4)


def test_values_of_activations_are_those_of_the_forward_pass() -> None:
    training = Training(4, every=3)
    for reading, step in zip(training.readings, (0, 3), strict=True):
        model, values = training.before[step], reading.values
        with torch.no_grad():
            x = model.embedding(training.inputs[step])
            assert values["embedding_rms"] == pytest.approx(root(x))
            for number, block in enumerate(model.blocks):
                place = f"blocks.{number}"
                branch = block.attention(block.attention_norm(x))
                assert values[f"{place}.attention_rms"] == pytest.approx(root(branch), rel=1e-5)
                _check_heads(block.attention, block.attention_norm(x), values, place)
                x = x + branch
                branch = block.mlp(block.mlp_norm(x))
                assert values[f"{place}.mlp_rms"] == pytest.approx(root(branch), rel=1e-5)
                x = x + branch
                assert values[f"{place}.rms"] == pytest.approx(root(x), rel=1e-5)
            logits = model.head(model.norm(x)).double()
        assert values["log_z"] == pytest.approx(logits.exp().sum(-1).log().mean().item(), rel=1e-5)


def _check_heads(attention: nn.Module, x: Tensor, values: dict[str, float], place: str) -> None:
    q, k = (
        attention.rotary(norm(project(x).unflatten(-1, (2, 4)).transpose(1, 2)))
        for project, norm in ((attention.query, attention.query_norm), (attention.key, attention.key_norm))
    )
    assert values[f"{place}.query_rms"] == pytest.approx(root(q), rel=1e-5)
    assert values[f"{place}.key_rms"] == pytest.approx(root(k), rel=1e-5)
    later = torch.ones(40, 40).triu(1).bool()
    logits = q @ k.mT / 2
    largest = logits.masked_fill(later, -torch.inf).amax((0, 2, 3))
    shares = (5 * torch.tanh(logits / 5)).masked_fill(later, -torch.inf).softmax(-1).double()
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum(-1).mean((0, 2))
    for head in range(2):
        assert values[f"{place}.heads.{head}.max_logit"] == pytest.approx(largest[head].item(), rel=1e-5)
        assert values[f"{place}.heads.{head}.entropy"] == pytest.approx(entropy[head].item(), rel=1e-5)


def test_exchanged_norms_are_probed_too() -> None:
    training = Training(1, every=1, config=CONFIG.model_copy(update={"norm": "rmsnorm", "qk_layernorm": False}))
    assert "gradient_rms.blocks.1.mlp_norm.weight" in training.readings[0].values


def test_a_reading_is_frozen_and_json() -> None:
    reading = Training(1, every=1).readings[0]
    with pytest.raises(FrozenInstanceError):
        reading.step = 3  # type: ignore[misc]
    assert json.loads(json.dumps(asdict(reading)))["values"] == reading.values


def test_readings_are_passed_on_as_they_come() -> None:
    model = build_transformer(CONFIG, seed=1)
    optimizer, seen = transformer_optimizer(model, OPTIMIZER), []

    def after_step(step: int, value: Tensor) -> None:
        probes.after_step(step, value)
        assert [reading.step for reading in seen] == list(range(0, step + 1, 2))

    with Probes(model, optimizer, steps=6, every=2, on_reading=seen.append) as probes:
        stream = token_batches(TOKENS, 40, 2, seed=0)
        fit(
            lambda batch: z_loss_cross_entropy(model(batch[0]), batch[1]),
            stream,
            optimizer,
            steps=5,
            after_step=after_step,
        )
    assert seen == probes.readings
    assert hooks(model) == 0


def test_an_error_in_training_leaves_no_hooks() -> None:
    model = build_transformer(CONFIG, seed=1)
    optimizer = transformer_optimizer(model, OPTIMIZER)

    def fail() -> None:
        with Probes(model, optimizer, steps=5, every=1):
            assert hooks(model) > 0
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert hooks(model) == len(optimizer._optimizer_step_pre_hooks) == 0
