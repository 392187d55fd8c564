"""Oracles: the same run again, the entropy of single bytes for the loss, and trainings that must go wrong."""

import json
import math

import pytest
import torch
from torch import nn

from evonas.config import TextConfig
from evonas.config.section import parse_section
from evonas.errors import InputError
from evonas.studies.stability.settings import OptimizerConfig, TrainingRunConfig
from evonas.studies.stability.train import RunResult, train_transformer
from evonas.tasks.language.model import Transformer
from evonas.tasks.language.settings import ModelConfig, sized
from evonas.tasks.language.text import Text, load_text
from evonas.training.fit import StopReason

GENERATOR = torch.Generator().manual_seed(0)
TEXT = Text("drawn", *(torch.randint(7, (n,), generator=GENERATOR) for n in (900, 200)), 7)
MODEL = ModelConfig(vocabulary=7, width=8, depth=1, head_size=4, context=16)
RUN = TrainingRunConfig(
    model=MODEL, optimizer=OptimizerConfig(warmup=2), steps=6, batch_size=4, validation=5, probe_every=5, device="cpu"
)


def changed(**settings: object) -> TrainingRunConfig:
    model, optimizer = settings.pop("model", {}), settings.pop("optimizer", {})
    data = json.loads(RUN.model_dump_json())
    data |= {"model": data["model"] | model, "optimizer": data["optimizer"] | optimizer, **settings}
    return parse_section(TrainingRunConfig, data, "run")


def test_a_small_model_learns_the_help_topics_in_60_steps() -> None:
    run = TrainingRunConfig(
        model=sized("55k", context=64), optimizer=OptimizerConfig(warmup=10), steps=60, validation=20, device="cpu"
    )
    text = load_text(TextConfig())
    result = train_transformer(run, text)
    counts = torch.bincount(text.validation, minlength=256).double()
    shares = counts[counts > 0] / counts.sum()
    entropy = -(shares * shares.log()).sum().item()
    assert 55_000 < result.size < 56_000
    assert math.log(256) < result.initial_loss < math.log(256) + 1
    assert result.final_loss < entropy - 0.2  # better than knowing how frequent each byte is
    assert result.losses[-1] < result.losses[0] - 2
    assert result.stop is StopReason.COMPLETED
    assert not result.diverged


def test_a_run_is_a_function_of_configuration_and_text() -> None:
    first, second = train_transformer(RUN, TEXT), train_transformer(RUN, TEXT)
    assert first == second
    assert len(first.losses) == len(first.gradient_norms) == 6
    assert train_transformer(changed(seed=2), TEXT).losses != first.losses


def test_switches_share_initial_weights_and_batches() -> None:
    plain = train_transformer(RUN, TEXT)
    for switches in ({"z_loss": 0.0}, {"optimizer": {"decay": "coupled"}}, {"optimizer": {"learning_rate": 0.1}}):
        other = train_transformer(changed(**switches), TEXT)
        assert other.initial_loss == plain.initial_loss
        assert other.losses[0] == pytest.approx(plain.losses[0], abs=1e-2)
        assert other.final_loss != plain.final_loss


def test_probes_are_read_and_passed_on_and_change_nothing() -> None:
    seen = []
    result = train_transformer(RUN, TEXT, on_probe=seen.append)
    assert [reading.step for reading in result.readings] == [0, 5]
    assert tuple(seen) == result.readings
    assert "blocks.0.heads.1.max_logit" in seen[0].values
    assert seen[1].loss == pytest.approx(result.losses[5])
    without = train_transformer(changed(probe_every=0), TEXT)
    assert without.readings == ()
    assert (without.losses, without.final_loss) == (result.losses, result.final_loss)


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    wild = {"learning_rate": 1e30, "clip": 0.0, "warmup": 1}
    result = train_transformer(changed(optimizer=wild, model={"qk_layernorm": False}, steps=50), TEXT)
    assert result.stop is StopReason.DIVERGED
    assert result.diverged
    assert len(result.losses) < 50
    assert math.isnan(result.final_loss)
    assert math.isfinite(result.initial_loss)


def test_a_run_that_ends_worse_than_it_began_has_diverged() -> None:
    result = train_transformer(changed(optimizer={"learning_rate": 30.0}), TEXT)
    assert result.stop is StopReason.COMPLETED
    assert result.final_loss > result.initial_loss
    assert result.diverged


def test_losses_hold_the_z_loss_and_validation_does_not() -> None:
    heavy, plain = train_transformer(changed(z_loss=10.0), TEXT), train_transformer(changed(z_loss=0.0), TEXT)
    assert heavy.losses[0] > plain.losses[0] + 5
    assert heavy.initial_loss == plain.initial_loss


def test_clipping_of_gradients_can_be_turned_off() -> None:
    clipped, free = (
        train_transformer(changed(optimizer={"clip": 0.01}), TEXT),
        train_transformer(changed(optimizer={"clip": 0.0}), TEXT),
    )
    assert clipped.gradient_norms[0] == free.gradient_norms[0] > 0.01
    sizes = {name: parameter.numel() for name, parameter in Transformer(MODEL).named_parameters()}
    for result, norm in ((clipped, 0.01), (free, free.gradient_norms[0])):
        values = result.readings[0].values  # of what the optimizer got
        squares = [values[f"gradient_rms.{name}"] ** 2 * n for name, n in sizes.items()]
        assert math.sqrt(sum(squares)) == pytest.approx(norm, rel=1e-3)


def test_qk_clip_holds_logits_down() -> None:
    hot = {"model": {"qk_layernorm": False}, "optimizer": {"learning_rate": 1.0}, "steps": 12, "probe_every": 1}
    free, clipped = train_transformer(changed(**hot), TEXT), train_transformer(changed(**hot, qk_clip=2.0), TEXT)

    def largest(result: RunResult) -> float:
        return max(v for reading in result.readings for name, v in reading.values.items() if "max_logit" in name)

    assert largest(clipped) < largest(free) / 3


def test_layers_of_the_caller_stand_at_every_norm() -> None:
    made = []

    def make(width: int) -> nn.Module:
        made.append(nn.RMSNorm(width, eps=1e-6))
        return made[-1]

    own = train_transformer(changed(model={"norm": "own"}), TEXT, make_norm=make)
    named = train_transformer(changed(model={"norm": "rmsnorm"}), TEXT)
    assert len(made) == 3
    assert (own.losses, own.final_loss) == (named.losses, named.final_loss)
    assert own.config.model.norm == "own"


@pytest.mark.parametrize(
    "switches",
    [
        {"model": {"mu_param": "full"}},
        {"model": {"attention_softcap": 5.0, "output_softcap": 10.0}},
        {"model": {"qk_layernorm": False, "qk_kappa": 30.0}},
        {"model": {"depth": 0}},
        {"optimizer": {"rms_scaled": True}},
        {"optimizer": {"undecayed": ["embedding.*"]}},
        {"dtype": "bfloat16"},
    ],
)
def test_every_switch_trains(switches: dict) -> None:
    result = train_transformer(changed(**switches), TEXT)
    assert result.stop is StopReason.COMPLETED
    assert math.isfinite(result.final_loss)
    assert len(result.readings) == 2


@pytest.mark.parametrize(
    ("switches", "named"),
    [
        ({"model": {"vocabulary": 6}}, "model.vocabulary: 6, and a text of 7 different tokens; accepted: 7 or more"),
        ({"model": {"context": 200}}, "model.context: 200, and a text of 200 tokens"),
        ({"device": "abacus"}, "device: 'abacus'"),
        ({"model": {"norm": "none"}}, "model.norm: 'none'"),
        ({"optimizer": {"undecayed": ["nothing"]}}, "optimizer.undecayed: 'nothing'"),
    ],
)
def test_mistakes_are_named(switches: dict, named: str) -> None:
    with pytest.raises(InputError) as error:
        train_transformer(changed(**switches), TEXT)
    assert str(error.value).startswith(named)
