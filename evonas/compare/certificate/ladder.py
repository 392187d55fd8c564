"""The points of a ladder: each network at its base point, and at every other size of each axis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evonas.compare.certificate.axes import AXES, Axis, can_be_scaled, require_sizes, with_size
from evonas.config import CertificateConfig, SearchConfig, SearchExecutionConfig, TaskConfig, TrainingConfig
from evonas.errors import InputError
from evonas.seeding import derive_seed

BASE = ""  # in the place of an axis: the point that belongs to all of them
SEEDS = 10**9  # seeds are smaller, so that people can read and repeat them


@dataclass(frozen=True, slots=True)
class Place:
    """A point of the ladder: a network, the axis along which it differs from the base point, and its size there."""

    network: str
    axis: str = BASE
    size: float = 1.0

    @property
    def words(self) -> str:
        """The point for people, e.g. ``densenet, 1,200 steps``."""
        return f"{self.network}, {AXES[self.axis].of(self.size) if self.axis else 'base point'}"

    def seeds(self, seed: int, kind: str, count: int) -> tuple[int, ...]:
        """The seeds of the trainings of one kind there; those of two points differ, so that points are independent."""
        names = (self.network, self.axis, repr(self.size), kind)
        return tuple(derive_seed(seed, "certificate", *names, number) % SEEDS for number in range(count))


@dataclass(frozen=True, slots=True)
class Point:
    """What is trained at a place.

    Attributes:
        place: the network, the axis and the size.
        task: the network at this size.
        training: how it is trained there, but for the learning rate.
        rates: the learning rates there, in ascending order.
    """

    place: Place
    task: TaskConfig
    training: TrainingConfig
    rates: tuple[float, ...]

    def column(self, settings: CertificateConfig, rate: float, score_on: str) -> SearchConfig:
        """What a trial reads, at a learning rate and with the images that give the score."""
        return SearchConfig(
            name="certificate",
            seed=settings.seed,
            layer=settings.layer,
            text=settings.text,
            data=settings.data.model_copy(update={"score_on": score_on}),
            tasks=(self.task,),
            training=self.training.at_rate(rate),
            execution=SearchExecutionConfig(**settings.execution.model_dump()),
        )


@dataclass(frozen=True, slots=True)
class Ladder:
    """All points, and which of them belong to an axis of a network."""

    points: Mapping[Place, Point]
    bases: Mapping[str, float]  # by axis, the size of the base point

    @property
    def networks(self) -> tuple[str, ...]:
        """Their names, in the order of the file."""
        return tuple(dict.fromkeys(place.network for place in self.points))

    def along(self, network: str, axis: str) -> dict[float, Place]:
        """The points of an axis by size, the base point among them; none if the network has not this axis."""
        found = {place.size: place for place in self.points if (place.network, place.axis) == (network, axis)}
        if found:
            found[self.bases[axis]] = Place(network)
        return dict(sorted(found.items()))

    def axes(self, network: str) -> list[Axis]:
        """The axes along which a network was varied."""
        return [axis for name, axis in AXES.items() if self.along(network, name)]


def make_ladder(settings: CertificateConfig) -> Ladder:
    """The ladder of a file. A network that is taken as it is has no axes of width and depth.

    Raises:
        InputError: an axis with one size alone, or two sizes at which a network is the same.
    """
    require_sizes(settings)
    points: dict[Place, Point] = {}
    for task in settings.tasks:
        base, (plain, training) = Place(task.label), _base(settings, task)
        same = {plain: "1"}
        points[base] = _point(base, plain, training, settings)
        for axis in AXES.values():
            for size in dict.fromkeys(axis.sizes(settings.ladder)):
                if size == axis.base(settings.training) or (axis.network and not can_be_scaled(task)):
                    continue
                place = Place(task.label, axis.name, size)
                network, training = with_size(axis, size, settings, plain)
                if axis.network:
                    _require_new(network, f"{size:g}", same, place)
                points[place] = _point(place, network, training, settings)
    return Ladder(points, {name: axis.base(settings.training) for name, axis in AXES.items()})


def _base(settings: CertificateConfig, task: TaskConfig) -> tuple[TaskConfig, TrainingConfig]:
    """The network as every scaled one is written, so that two that are the same are seen to be."""
    return with_size(AXES["width"], 1.0, settings, task) if can_be_scaled(task) else (task, settings.training)


def _point(place: Place, task: TaskConfig, training: TrainingConfig, settings: CertificateConfig) -> Point:
    share = training.batch_size / settings.training.batch_size
    rates = sorted(rate * share for rate in settings.training.rates)
    return Point(place, task, training, tuple(rates))


def _require_new(network: TaskConfig, size: str, known: dict[TaskConfig, str], place: Place) -> None:
    if network in known:
        found = f"{size} gives the same {place.network} as {known[network]}"
        raise InputError(f"ladder.{place.axis}", found, remedy="choose sizes that are further apart")
    known[network] = size


def tasks_by_place(points: Sequence[Point]) -> dict[Place, TaskConfig]:
    """The networks of points under names that tell them apart; points that differ in training alone share one."""
    found: dict[TaskConfig, Place] = {}
    for point in points:
        found.setdefault(point.task, point.place)
    return {place: task.model_copy(update={"name": place.words}) for task, place in found.items()}
