"""Oracles: torchvision's own losses, a second build and draw under disturbed global generators, and a handful of scenes
that a network must be able to learn by heart.
"""

import random
from typing import Any

import numpy as np
import pytest
import torch
from garment_scenes import needs_fashion_mnist, section
from torch import nn

from evonas.config import LayerConfig, TaskConfig, TrainingConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.search.training import task_optimizer
from evonas.surgery.install import with_layer
from evonas.tasks.detection.loading import load_scenes, scenes_digest
from evonas.tasks.detection.metric import average_precision
from evonas.tasks.detection.task import detection_task, image_size
from evonas.tasks.task import Task
from evonas.training.fit import fit

pytest.importorskip("torchvision", reason="pip install 'evonas[detection]'")
pytest.importorskip("faster_coco_eval", reason="pip install 'evonas[detection]'")
pytestmark = needs_fashion_mnist

CPU = torch.device("cpu")


def network(name: str = "maskrcnn-resnet18-fpn", **keys: Any) -> TaskConfig:
    return TaskConfig(architecture=name, **keys)


def tiny(**keys: Any) -> Task:
    data = section(size=64, train=8, validation=3, **keys)
    return detection_task(network(width=0.125, head=8), data, 2, CPU)


def disturb(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


@pytest.fixture(scope="module")
def task() -> Task:
    return tiny()


def test_a_seed_fixes_weights_batches_and_losses(task: Task) -> None:
    def losses(seed: int, disturbance: int) -> list[float]:
        disturb(disturbance)
        model, batches = task.build(seed).train(), task.batches(seed)
        values = []
        for _ in range(2):
            disturb(disturbance)
            values.append(float(task.loss(model, next(batches)).detach()))
        return values

    assert losses(0, 1) == losses(0, 2)
    assert losses(0, 1) != losses(1, 1)


def test_the_global_generators_are_left_as_they_were(task: Task) -> None:
    model, batch = task.build(0).train(), next(task.batches(0))
    before = torch.get_rng_state()
    task.loss(model, batch)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_loss_is_the_sum_of_torchvision_s(task: Task) -> None:
    model, batch = task.build(0).train(), next(task.batches(0))
    found = float(task.loss(model, batch).detach())
    torch.manual_seed(batch.seed)
    parts = task.build(0).train()(batch.images, batch.targets)
    assert {*parts} == {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}
    assert found == pytest.approx(sum(float(part.detach()) for part in parts.values()))


def test_in_evaluation_mode_the_loss_stands_for_a_forward_pass(task: Task) -> None:
    model, batch = task.build(0).eval(), next(task.batches(0))
    with torch.no_grad():
        expected = sum(float(found["scores"].sum()) for found in model(batch.images))
        assert float(task.loss(model, batch)) == pytest.approx(expected)


def test_a_network_that_diverged_has_a_loss_that_is_no_number_and_scores_zero(task: Task) -> None:
    model = task.build(0).train()
    nn.init.constant_(model.get_parameter("backbone.body.conv1.weight"), float("nan"))
    assert not task.loss(model, next(task.batches(0))).isfinite()
    assert task.metric(model)["mask_ap"] == 0


def test_figures_are_those_of_the_scoring_scenes(task: Task) -> None:
    model = task.build(0)
    data = load_scenes(section(size=64, train=8, validation=3), 64)
    assert task.metric(model) == average_precision(data.scoring, 8, model)
    assert [*task.metric(model)] == ["mask_ap", "mask_ap50", "box_ap", "box_ap50"]


def test_a_batch_has_as_many_scenes_as_asked_for(task: Task) -> None:
    assert task.resized is not None
    assert [len(next(t.batches(0)).images) for t in (task, task.resized(3))] == [2, 3]
    assert task.resized(3) is task.resized(3)


def test_images_have_the_size_that_the_network_needs() -> None:
    sizes = {name: image_size(network(name), section()) for name in ("maskrcnn-resnet18-fpn", "maskrcnn-spinenet49")}
    assert sizes == {"maskrcnn-resnet18-fpn": 128, "maskrcnn-spinenet49": 256}
    assert image_size(network("maskrcnn-spinenet49"), section(size=384)) == 384


def test_scenes_are_mirrored_if_asked_for() -> None:
    plain, flipped = (
        torch.stack([image for _ in range(4) for image in next(batches).images])
        for batches in (tiny().batches(0), tiny(flip=True).batches(0))
    )
    mirrored = [torch.equal(image, original.flip(2)) for image, original in zip(flipped, plain, strict=True)]
    kept = [torch.equal(image, original) for image, original in zip(flipped, plain, strict=True)]
    assert 0 < sum(mirrored) < 8
    assert sum(mirrored) + sum(kept) == 8


def test_layers_go_into_the_parts_and_train(task: Task) -> None:
    model = with_layer(task.build(0), CATALOGUE["evonorm-s0"], LayerConfig(), parts=task.parts).train()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    loss = task.loss(model, next(task.batches(0)))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.ndim > 1)


def test_the_picture_of_masks_is_a_png(task: Task) -> None:
    assert task.pictures is not None
    pictures = task.pictures(task.build(0))
    assert [*pictures] == ["masks"]
    assert pictures["masks"].startswith(b"\x89PNG\r\n")


def test_the_digest_tells_test_from_validation_material() -> None:
    assert scenes_digest(section()) == scenes_digest(section())
    assert scenes_digest(section()) != scenes_digest(section(score_on="test"))


def test_crops_are_refused() -> None:
    with pytest.raises(InputError, match=r"data.crop: 32"):
        tiny(crop=32)


@pytest.mark.slow
def test_a_handful_of_scenes_is_learned_by_heart() -> None:
    data = section(size=64, train=4, validation=3)
    task = detection_task(network(width=0.25, head=16), data, 4, CPU)
    model = task.build(0).train()
    optimizer = task_optimizer(model, TrainingConfig(optimizer="adamw", learning_rate=0.003, weight_decay=0.0))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 150)
    scenes = load_scenes(data, 64).train
    untrained = average_precision(scenes, 4, model)
    fit(lambda batch: task.loss(model, batch), task.batches(0), optimizer, steps=150, schedule=schedule)
    trained = average_precision(scenes, 4, model)
    assert untrained["mask_ap"] < 0.05
    assert trained["mask_ap"] > 0.5
    assert trained["box_ap50"] > 0.8
