"""What ``evonas certify`` reads: networks, data and training of a base point, and a ladder of sizes around it."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from evonas.config.execution import ExecutionConfig
from evonas.config.section import Positive, PositiveInt, Section, Seed, StudySection
from evonas.config.task import DataConfig, LayerConfig, TaskConfig, TextConfig, TrainingConfig, require_names
from evonas.errors import InputError


class LadderConfig(Section):
    """``[ladder]``: the sizes of each axis, and how often everything is trained.

    One axis is varied at a time; the base point belongs to every axis and need not be listed.
    """

    steps: tuple[PositiveInt, ...] = ()
    """Numbers of training steps beside `training.steps`. The warm-up keeps its share. Empty: not varied."""
    width: tuple[Positive, ...] = ()
    """Widths as multiples of those of the networks, such as 0.5 and 2. Empty: not varied."""
    depth: tuple[Positive, ...] = ()
    """Depths as multiples of the numbers of blocks, such as 0.5 and 2. Empty: not varied."""
    batch_size: tuple[PositiveInt, ...] = ()
    """Batch sizes beside `training.batch_size`. As many images are seen, and all learning rates scale in proportion.
    Empty: not varied."""
    pilot_seeds: PositiveInt = 1
    """How many seeds choose the learning rate of each layer at each point, from `training.learning_rates`."""
    seeds: Annotated[int, Field(ge=2)] = 3
    """How many other seeds give the scores of each point."""


class CertificateConfig(StudySection):
    """A file of ``evonas certify``."""

    file_kind: ClassVar[str] = "certificate"

    seed: Seed = 1
    """The seed from which those of all trainings derive."""
    baselines: Annotated[tuple[str, ...], Field(min_length=1)] = ("bn-relu",)
    """Layers of the catalogue that the gains are over."""
    layer: LayerConfig = LayerConfig()
    """How layers become modules."""
    data: DataConfig = DataConfig()
    """The images. Validation images choose learning rates, and test images give the scores."""
    text: TextConfig = TextConfig()
    """The text of language models."""
    training: TrainingConfig = TrainingConfig()
    """How networks are trained at the base point. Of several `learning_rates` each is tried to the end."""
    tasks: Annotated[tuple[TaskConfig, ...], Field(min_length=1)]
    """The networks at the base point."""
    ladder: LadderConfig
    """The sizes that are measured."""
    execution: ExecutionConfig = ExecutionConfig()
    """Where the work is done."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        require_names(self.tasks)
        if self.data.score_on == "test":
            remedy = "leave it out: validation images choose learning rates, and test images give the scores"
            raise InputError("data.score_on", "'test'", remedy=remedy)
        return self
