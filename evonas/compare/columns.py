"""The cells of a matrix, from what people type: tasks, data sets, batch sizes and layers."""

from collections.abc import Mapping, Sequence

from evonas import config
from evonas.compare.comparison import Contender
from evonas.config import DataConfig, SearchConfig, TaskConfig
from evonas.errors import InputError
from evonas.graph.catalogue import from_catalogue
from evonas.search.named import NamedLayer
from evonas.tasks.architectures import require_blocks

DESK = {  # what an architecture's name alone means: small enough for images of 8 to 32 pixels and two cores
    "preact_resnet": TaskConfig(architecture="preact_resnet", width=0.125, depth=(1, 1), unstrided=1),
    "mobilenet_v2": TaskConfig(architecture="mobilenet_v2", width=0.5, depth=(1, 1, 1), head=64, unstrided=1),
    "efficientnet": TaskConfig(architecture="efficientnet", width=0.5, depth=(1, 1, 1), head=64, unstrided=1),
    "densenet": TaskConfig(architecture="densenet", width=0.25, depth=(3, 3), unstrided=1),
    "all_cnn": TaskConfig(architecture="all_cnn", width=0.125, depth=(2, 2, 2), unstrided=0),
    **{name: TaskConfig(architecture=name, width=0.25, head=32) for name in config.DETECTORS},
    **{name: TaskConfig(architecture=name, width=0.125) for name in config.GENERATORS},
}


def columns_of(
    settings: SearchConfig, tasks: Sequence[TaskConfig], datasets: Sequence[DataConfig], batch_sizes: Sequence[int]
) -> dict[str, SearchConfig]:
    """One configuration for each task, data set and batch size, by a name that tells them apart.

    Trainings at another batch size than ``training.batch_size`` see as many images, at a learning rate that is
    proportional to the batch size (Goyal et al. 2017, arXiv 1706.02677, section 2.1).

    Raises:
        InputError: two have one name, or the package of a network is not installed.
    """
    for task in tasks:
        require_blocks(task.architecture)
    found: dict[str, SearchConfig] = {}
    for data in datasets or (settings.data,):
        for task in tasks:
            for size in batch_sizes or (settings.training.batch_size,):
                parts = [task.label]
                parts += [data.title] if len(datasets) > 1 else []
                parts += [f"batch {size}"] if len(batch_sizes) > 1 else []
                name = ", ".join(parts)
                if name in found:
                    raise InputError("tasks", f"two are called {name!r}", remedy="give one of them a name of its own")
                changes = {"tasks": (task,), "data": data, "training": _at_batch_size(settings.training, size)}
                found[name] = settings.model_copy(update=changes)
    return found


def _at_batch_size(training: config.TrainingConfig, size: int) -> config.TrainingConfig:
    ratio = size / training.batch_size
    changes = {
        "batch_size": size,
        "steps": max(1, round(training.steps / ratio)),
        "learning_rate": training.learning_rate * ratio,
        "learning_rates": tuple(rate * ratio for rate in training.learning_rates),
    }
    return training.model_copy(update=changes)


def find_task(text: str, settings: SearchConfig | None) -> TaskConfig:
    """The task that a text names: one of the file, a small network, ``timm:NAME``, or a function of a user's module.

    Raises:
        InputError: it is none of these.
    """
    named = {task.label: task for task in settings.tasks} if settings else {}
    if text in named:
        return named[text]
    if text in DESK:
        return DESK[text]
    library, colon, _ = text.partition(":")
    try:
        if library in config.LIBRARIES or not colon:
            return TaskConfig(architecture=text)
        return TaskConfig(task=text)
    except ValueError:
        known = [*named, *(name for name in DESK if name not in named)]
        others = "timm:NAME, torchvision:NAME, or my_package.tasks:my_task"
        raise InputError("--arch", repr(text), accepted=f"{', '.join(known)}, {others}") from None


def find_data(text: str, settings: SearchConfig) -> DataConfig:
    """``NAME`` or ``NAME:PATH``, with the other keys of ``[data]``.

    Raises:
        InputError: no such kind of data.
    """
    name, _, path = text.partition(":")
    try:
        return DataConfig.model_validate({**settings.data.model_dump(), "name": name, "path": path})
    except ValueError:
        accepted = "digits, fashion_mnist, cifar10, npz:FILE, garments or coco:FOLDER"
        raise InputError("--data", repr(text), accepted=accepted) from None


def contenders_of(layers: Mapping[str, NamedLayer], baselines: Sequence[str]) -> list[Contender]:
    """Layers by what people typed, and the baselines; every name once. A layer may be a baseline too.

    Raises:
        InputError: a baseline that is not in the catalogue, or two layers of one name.
    """
    known = {name: from_catalogue(name, "--baseline") for name in baselines}
    named = [Contender(_name(text, layer), layer.genome) for text, layer in layers.items()]
    asked_for = {c.name for c in named if c.name in known and known[c.name].key == c.genome.key}
    found = [contender for contender in named if contender.name not in asked_for]
    found += [Contender(n, genome, baseline=True, asked_for=n in asked_for) for n, genome in known.items()]
    names = [contender.name for contender in found]
    for name in names:
        if names.count(name) > 1:
            remedy = "give one of them once, or rename a file"
            raise InputError("LAYER", f"two layers are called {name!r}", remedy=remedy)
    return found


def _name(text: str, layer: NamedLayer) -> str:
    return layer.name or (text if "#" in text else layer.genome.formula(exact=True))
