"""The axes of a ladder: what a size is, in the settings of a network and in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from evonas.config import ARCHITECTURES, CertificateConfig, TaskConfig, TrainingConfig
from evonas.config.certificate import LadderConfig
from evonas.errors import InputError
from evonas.tasks.architectures import PUBLISHED_DEPTHS
from evonas.tasks.language.settings import width_and_depth


@dataclass(frozen=True, slots=True)
class Axis:
    """One way in which networks or trainings may be larger.

    Attributes:
        name: the key of ``[ladder]``.
        title: of a panel.
        words: how a size is called, such as ``{:,.0f} steps``.
        doubling: what a doubling is of.
        network: whether it changes the network, which not every network allows.
    """

    name: str
    title: str
    words: str
    doubling: str
    network: bool = False

    def sizes(self, ladder: LadderConfig) -> tuple[float, ...]:
        """The sizes that the ladder lists."""
        return tuple(map(float, getattr(ladder, self.name)))

    def base(self, training: TrainingConfig) -> float:
        """The size of the base point."""
        return 1.0 if self.network else float(getattr(training, self.name))

    def of(self, size: float) -> str:
        """A size in words."""
        return f"the base {self.name}" if self.network and size == 1 else self.words.format(size)


AXES: Mapping[str, Axis] = MappingProxyType(
    {
        axis.name: axis
        for axis in (
            Axis("steps", "training length (steps)", "{:,.0f} steps", "training length"),
            Axis("width", "width (1: the base network)", "{:g} times the width", "width", network=True),
            Axis("depth", "depth (1: the base network)", "{:g} times the depth", "depth", network=True),
            Axis("batch_size", "batch size", "batches of {:,.0f}", "batch size"),
        )
    }
)


def can_be_scaled(task: TaskConfig) -> bool:
    """Whether a network comes in several widths and depths."""
    return task.architecture in ARCHITECTURES or bool(task.transformer)


def with_size(
    axis: Axis, size: float, settings: CertificateConfig, task: TaskConfig
) -> tuple[TaskConfig, TrainingConfig]:
    """The network and its training at a size of an axis, everything else being that of the base point."""
    training = settings.training
    changes: Mapping[str, Callable[[], tuple[TaskConfig, TrainingConfig]]] = {
        "steps": lambda: (task, _longer(training, int(size))),
        "batch_size": lambda: (task, _batched(training, int(size))),
        "width": lambda: (_scaled(task, width=size, depth=1.0), training),
        "depth": lambda: (_scaled(task, width=1.0, depth=size), training),
    }
    return changes[axis.name]()


def _longer(training: TrainingConfig, steps: int) -> TrainingConfig:
    warmup = round(training.warmup * steps / training.steps)
    return training.model_copy(update={"steps": steps, "warmup": warmup})


def _batched(training: TrainingConfig, size: int) -> TrainingConfig:
    """As many images at another batch size; the learning rates of a point are in proportion to it."""
    steps = max(1, round(training.steps * training.batch_size / size))
    return _longer(training, steps).model_copy(update={"batch_size": size})


def _scaled(task: TaskConfig, *, width: float, depth: float) -> TaskConfig:
    if task.transformer:
        features, blocks = width_and_depth(task.transformer)
        size = f"{_whole('width', width, features)}x{_whole('depth', depth, blocks)}"
        return task.model_copy(update={"transformer": size, "name": task.label})
    published = task.depth or PUBLISHED_DEPTHS[task.architecture]
    stages = tuple(_whole("depth", depth, blocks) for blocks in published)
    return task.model_copy(update={"width": width * task.width, "depth": stages, "name": task.label})


def _whole(axis: str, factor: float, count: int) -> int:
    """So many times a number of blocks or features, which must be a whole number: else the size would not be true."""
    found = factor * count
    if round(found) != found:
        what = "blocks of a stage" if axis == "depth" else "features"
        raise InputError(f"ladder.{axis}", f"{factor:g} times {count} {what} is no whole number")
    return round(found)


def require_sizes(settings: CertificateConfig) -> None:
    """Make sure that there is an axis, and that each has two sizes or more.

    Raises:
        InputError: there is none, or one has the size of the base point alone, or a network has no place for any.
    """
    varied = [axis for axis in AXES.values() if axis.sizes(settings.ladder)]
    if not varied:
        accepted = f"sizes for at least one of {', '.join(AXES)}"
        raise InputError("ladder", "varies nothing", accepted=accepted, remedy="e.g. --set ladder.steps=[100,400]")
    for axis in varied:
        base = axis.base(settings.training)
        if set(axis.sizes(settings.ladder)) == {base}:
            found = f"has one size alone, that of the base point ({axis.of(base)})"
            raise InputError(f"ladder.{axis.name}", found, accepted="at least one other size, or [] to leave it out")
    fixed = [task.label for task in settings.tasks if not can_be_scaled(task)]
    if all(axis.network for axis in varied) and fixed:
        found = f"varies width and depth alone, and {fixed[0]} is taken as it is"
        raise InputError("ladder", found, remedy="leave the network out, or vary steps or batch_size too")
