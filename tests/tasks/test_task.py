"""Oracles: numpy for accuracy and cross entropy; and a second build or draw under disturbed global generators, which
common random numbers must not notice.
"""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evonas import config
from evonas.config import DataConfig, SearchConfig, TaskConfig
from evonas.errors import InputError
from evonas.tasks.data import ImageData, LabelledImages, Preparation
from evonas.tasks.from_config import task_names, tasks_from_config
from evonas.tasks.task import Task, accuracy, classification, cross_entropy

pytest.importorskip("timm", reason="pip install 'evonas[vision]'")
pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")

TINY = Path(__file__).parents[2] / "search_spaces" / "tiny.toml"
CPU = torch.device("cpu")
PREPARED = Preparation(0, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture(scope="module")
def search() -> SearchConfig:
    return config.load_search(TINY)


@pytest.fixture(scope="module")
def tasks(search: SearchConfig) -> tuple[Task, ...]:
    return tasks_from_config(search, CPU)


def with_tasks(search: SearchConfig, *tasks: TaskConfig) -> SearchConfig:
    return search.model_copy(update={"tasks": tasks})


def labelled(count: int, size: int = 4, seed: int = 0) -> LabelledImages:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((count, 3, size, size), generator=generator)
    return LabelledImages(images, torch.randint(5, (count,), generator=generator))


def same_tensors(one: nn.Module, two: nn.Module) -> bool:
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def disturb(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002


def test_a_task_is_called_as_its_section_says(search: SearchConfig, tasks: tuple[Task, ...]) -> None:
    assert [task.name for task in tasks] == ["preact_resnet", "mobilenet_v2"]
    named = TaskConfig(architecture="preact_resnet", name="small", width=0.03125, depth=(1,))
    assert [task.name for task in tasks_from_config(with_tasks(search, named), CPU)] == ["small"]


def test_a_seed_gives_the_same_weights_whatever_the_global_generators_and_the_order(tasks: tuple[Task, ...]) -> None:
    disturb(1)
    first = [task.build(7) for task in tasks]
    disturb(2)
    for task in tasks:
        task.build(8)
    again = [task.build(7) for task in reversed(tasks)][::-1]
    assert all(map(same_tensors, first, again))


def test_another_seed_gives_other_weights(tasks: tuple[Task, ...]) -> None:
    for task in tasks:
        one, other = (dict(task.build(seed).named_parameters()) for seed in (7, 8))
        kernels = [name for name, value in one.items() if value.ndim > 1]
        assert kernels
        assert not any(torch.equal(one[name], other[name]) for name in kernels)


def test_a_seed_gives_the_same_batches_whatever_the_global_generators_and_the_order(tasks: tuple[Task, ...]) -> None:
    disturb(1)
    first, second = tasks[0].batches(7), tasks[0].batches(8)
    expected = [next(first) for _ in range(20)]
    different = [next(second) for _ in range(20)]
    disturb(2)
    tasks[0].build(3)
    again = tasks[0].batches(7)
    for images, labels in expected:
        torch.rand(5)
        drawn = next(again)
        assert torch.equal(drawn[0], images)
        assert torch.equal(drawn[1], labels)
    assert not any(torch.equal(a[1], b[1]) for a, b in zip(expected, different, strict=True))


def test_tasks_of_one_search_see_the_same_batches(tasks: tuple[Task, ...]) -> None:
    one, other = (task.batches(7) for task in tasks)
    assert torch.equal(next(one)[0], next(other)[0])


def test_weights_do_not_depend_on_which_other_tasks_there_are(search: SearchConfig, tasks: tuple[Task, ...]) -> None:
    (alone,) = tasks_from_config(with_tasks(search, search.tasks[1]), CPU)
    assert same_tensors(alone.build(7), tasks[1].build(7))


def test_building_and_drawing_leave_the_global_generators_alone(tasks: tuple[Task, ...]) -> None:
    disturb(5)
    torch_state, python_state, numpy_state = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
    for task in tasks:
        task.build(1)
        next(task.batches(1))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert all(map(np.array_equal, np.random.get_state(), numpy_state))  # noqa: NPY002


def test_a_network_is_built_for_the_images_and_classes_of_the_data(tasks: tuple[Task, ...]) -> None:
    for task in tasks:
        images, labels = next(task.batches(1))
        assert images.shape == (16, 3, 8, 8)
        assert labels.shape == (16,)
        assert task.build(1)(images).shape == (16, 10)


def test_random_crops_train_and_whole_images_validate() -> None:
    images = ImageData("made", labelled(12, size=10), labelled(8, size=10, seed=1), 5, PREPARED)
    section = TaskConfig(architecture="preact_resnet", width=0.03125, depth=(1, 1), unstrided=1)
    task = classification(section, images, DataConfig(crop=6, flip=True), batch_size=4, device=CPU)
    batch = next(task.batches(1))
    assert batch[0].shape == (4, 3, 6, 6)
    seen: list[tuple[int, ...]] = []
    model = task.build(1)
    model.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    assert torch.isfinite(task.loss(model, batch))
    assert 0 <= task.metric(model) <= 1
    assert seen == [(4, 3, 6, 6), (8, 3, 10, 10)]


class Fixed(nn.Module):
    """Logits by one fixed matrix; in training mode they are turned around."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(9)
        self.matrix = nn.Parameter(torch.randn((48, 5), generator=generator))
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        logits = x.flatten(1) @ self.matrix
        assert not logits.requires_grad or self.training
        return -logits if self.training else logits


@pytest.mark.parametrize("count", [1, 7, 499, 500, 501, 1203])
@pytest.mark.parametrize("training", [True, False])
def test_accuracy_equals_numpy_and_keeps_the_mode(count: int, training: bool) -> None:
    images, model = labelled(count), Fixed().train(training)
    logits = images.images.numpy().reshape(count, -1) @ model.matrix.detach().numpy()
    expected = float(np.mean(logits.argmax(1) == images.labels.numpy()))
    assert accuracy(images, model) == expected
    assert model.training is training
    assert sum(model.batches) == count
    assert max(model.batches) <= 500


def test_accuracy_leaves_a_part_in_evaluation_where_the_network_trains() -> None:
    images, model = labelled(7), nn.Sequential(nn.Dropout(), Fixed()).train()
    model[0].eval()
    accuracy(images, model)
    assert [module.training for module in model] == [False, True]


def test_accuracy_changes_no_running_statistics(tasks: tuple[Task, ...]) -> None:
    for task in tasks:
        model = task.build(1).train()
        task.loss(model, next(task.batches(1)))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        task.metric(model)
        assert before.keys() == model.state_dict().keys()
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
        assert all(module.training for module in model.modules())


def test_the_metric_looks_at_validation_images() -> None:
    images = ImageData("made", labelled(12), labelled(37, seed=1), 5, PREPARED)
    section = TaskConfig(architecture="preact_resnet", width=0.03125, depth=(1,), unstrided=1)
    task = classification(section, images, DataConfig(), batch_size=4, device=CPU)
    model = Fixed()
    assert task.metric(model) == accuracy(images.scoring, model) != accuracy(images.train, model)


def test_the_loss_is_the_mean_cross_entropy() -> None:
    images, model = labelled(30), Fixed()
    loss = cross_entropy(model, (images.images, images.labels))
    logits = -(images.images.numpy().reshape(30, -1).astype(np.float64) @ model.matrix.detach().numpy())
    likelihood = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(likelihood[np.arange(30), images.labels.numpy()]).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert loss.requires_grad


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (
            TaskConfig(architecture="preact_resnet"),
            TaskConfig(architecture="preact_resnet", width=0.5),
            "preact_resnet",
        ),
        (
            TaskConfig(architecture="preact_resnet"),
            TaskConfig(architecture="mobilenet_v2", name="preact_resnet"),
            "preact_resnet",
        ),
        (TaskConfig(architecture="preact_resnet", name="a"), TaskConfig(architecture="mobilenet_v2", name="a"), "a"),
    ],
)
def test_two_tasks_of_one_name_are_an_error(first: TaskConfig, second: TaskConfig, name: str) -> None:
    with pytest.raises(
        InputError, match=rf"^tasks: two tasks are called '{name}'; give one of them a name of its own$"
    ):
        task_names((first, second))


def test_one_architecture_may_serve_two_named_tasks(search: SearchConfig) -> None:
    small, large = (
        TaskConfig(architecture="preact_resnet", name=name, width=width, depth=(1,))
        for name, width in (("small", 0.03125), ("large", 0.0625))
    )
    tasks = tasks_from_config(with_tasks(search, small, large), CPU)
    sizes = [sum(p.numel() for p in task.build(1).parameters()) for task in tasks]
    assert sizes[0] < sizes[1]


def test_missing_data_are_told_before_any_network_is_built(search: SearchConfig, tmp_path: Path) -> None:
    section = DataConfig(name="npz", path=str(tmp_path / "none.npz"))
    with pytest.raises(InputError, match=r"^data\.path: no such file"):
        tasks_from_config(search.model_copy(update={"data": section}), CPU)
