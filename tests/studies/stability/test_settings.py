"""Oracles: the paper's defaults as listed in its set-up, JSON read back, and settings that contradict each other."""

import json
import math
from itertools import pairwise

import pytest
from pydantic import ValidationError

from evonas.config import TextConfig
from evonas.config.section import parse_section
from evonas.errors import InputError
from evonas.studies.stability.settings import OptimizerConfig, TrainingRunConfig
from evonas.tasks.language.settings import LADDER, ModelConfig, sized


def test_defaults_are_those_of_the_paper_where_a_desk_needs_no_other() -> None:
    model, optimizer, run = ModelConfig(), OptimizerConfig(), TrainingRunConfig()
    assert (model.norm, model.norm_eps, model.qk_layernorm, model.mu_param) == ("layernorm", 1e-6, True, "off")
    assert model.scale == 1 / math.sqrt(model.head_size)
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.clip) == (0.9, 0.95, 1e-8, 1.0)
    assert (optimizer.decay, optimizer.decay_rate, optimizer.final_learning_rate) == ("independent", 1e-4, 1e-5)
    assert (run.z_loss, run.qk_clip) == (1e-4, 0.0)
    assert run.optimizer.warmup / run.steps == 5e3 / 1e5


def test_coupled_decay_has_its_own_default() -> None:
    assert OptimizerConfig(decay="coupled").decay_rate == 0.1
    assert OptimizerConfig(decay="coupled", weight_decay=0.0).decay_rate == 0.0


@pytest.mark.parametrize("size", LADDER)
def test_a_size_is_named_after_its_parameters(size: str) -> None:
    config = sized(size, qk_layernorm=False)
    number = float(size[:-1]) * {"k": 1e3, "m": 1e6}[size[-1]]
    assert 12 * config.depth * config.width**2 == pytest.approx(number, rel=0.01)
    assert not config.qk_layernorm
    assert config.head_size == 16


def test_the_ladder_grows_by_two_to_three() -> None:
    sizes = [12 * depth * width**2 for width, depth in LADDER.values()]
    assert all(2 < large / small < 3 for small, large in pairwise(sizes))


def test_mu_param_full_scales_attention_by_the_head_size() -> None:
    assert ModelConfig(mu_param="full", head_size=16).scale == 1 / 16
    assert ModelConfig(mu_param="intermediate", head_size=16).scale == 1 / 4
    assert ModelConfig(mu_param="full", attention_scale=0.5).scale == 0.5


def test_a_run_is_json_and_back() -> None:
    run = TrainingRunConfig(
        seed=3,
        model=sized("55k", norm="mine", mu_param="simple"),
        optimizer=OptimizerConfig(undecayed=("**.norm*",), decay="coupled"),
    )
    assert parse_section(TrainingRunConfig, json.loads(run.model_dump_json()), "run") == run
    assert hash(run) == hash(run.model_copy())


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"optimizer": {"learning_rate": 0}}, ["run: optimizer.learning_rate", "greater than 0"]),
        ({"optimizer": {"learning_rate": 1e-6}}, ["run: optimizer", "final_learning_rate", "1e-06"]),
        ({"optimizer": {"lr": 1e-2}}, ["run: optimizer.lr", "unknown key", "learning_rate"]),
        ({"optimizer": {"beta2": 1.0}}, ["optimizer.beta2", "less than 1"]),
        ({"model": {"width": 50}}, ["run: model", "multiple of head_size, 16"]),
        ({"model": {"head_size": 3, "width": 9}}, ["model.head_size", "multiple of 2"]),
        ({"model": {"qk_kappa": 10.0}}, ["run: model", "qk_kappa or qk_layernorm"]),
        ({"model": {"mu_param": "half"}}, ["model.mu_param", "'full'"]),
        ({"steps": 50}, ["a warmup below the 50 steps"]),
        ({"qk_clip": 100.0}, ["qk_clip without qk_layernorm"]),
        ({"dtype": "float16"}, ["run: dtype", "bfloat16"]),
    ],
)
def test_mistakes_are_named_in_one_line(settings: dict, named: list[str]) -> None:
    with pytest.raises(InputError) as error:
        parse_section(TrainingRunConfig, settings, "run")
    assert all(word in str(error.value) for word in named), error.value
    assert len(str(error.value).splitlines()) == 1


def test_an_unknown_size_names_the_ladder() -> None:
    with pytest.raises(InputError, match=r"size: '1b'; accepted: 55k, 147k, .*4\.7m"):
        sized("1b")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrainingRunConfig().steps = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="vocabulary"):
        TextConfig(tokens="bpe", vocabulary=255)
