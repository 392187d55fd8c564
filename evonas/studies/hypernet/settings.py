"""What a study file says, and what one run depends on."""

from typing import Annotated, Literal

from pydantic import Field

from evonas.config import DataConfig, ExecutionConfig
from evonas.config.section import Count, NotNegative, Positive, PositiveInt, Section, StudySection

ParametrizationName = Literal["default", "encoding-only", "additive-only", "mip"]
OptimizerName = Literal["sgd", "momentum", "adam"]

SEPARATE: Literal["separate"] = "separate"  # in place of a parametrization: one plain network for one gamma
NO_NORM = "none"


class HypernetTaskConfig(Section):
    """``[task]``: the problem; ``layer``, a catalogue name or a text form, follows each convolution of the primary."""

    name: Literal["regularized_classification", "rescaled_classification", "registration"]
    layer: str = "gn-relu"
    width: PositiveInt = 8
    batch_size: PositiveInt = 32


class HypernetRunConfig(Section):
    """``[run]``: what all runs share.

    The loss is taken every ``check_every`` steps on ``fixed`` batches that are drawn once. ``predict`` are patterns of
    the parameters that are predicted. ``head_gain`` gives fan-out heads where no correction is in the grid.
    """

    steps: PositiveInt = 500
    check_every: PositiveInt = 25
    fixed: PositiveInt = 8
    hidden: tuple[PositiveInt, ...] = (16, 128)
    predict: tuple[str, ...] = ("**",)
    head_gain: float | None = None


class HypernetGrid(Section):
    """``[grid]``: a correction of 0 is the parametrization's own default, see ``HyperNetwork``.

    ``noise`` are numbers of coordinates of gamma beside the task's own, see ``with_noise`` of ``variants``.
    With ``one_at_a_time`` runs have the first optimizer, activation, norm and noise but for one of them. ``separate``
    adds plain networks, each trained at one place of the range for all steps of a run.
    """

    parametrizations: Annotated[tuple[ParametrizationName, ...], Field(min_length=1)] = (
        "default",
        "encoding-only",
        "additive-only",
        "mip",
    )
    optimizers: Annotated[tuple[OptimizerName, ...], Field(min_length=1)] = ("adam",)
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (3e-4, 1e-3, 3e-3)
    activations: Annotated[tuple[str, ...], Field(min_length=1)] = ("relu",)
    norms: Annotated[tuple[str, ...], Field(min_length=1)] = (NO_NORM,)
    noise: Annotated[tuple[Count, ...], Field(min_length=1)] = (0,)
    corrections: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0.0,)
    seeds: Annotated[tuple[Count, ...], Field(min_length=1)] = (1, 2, 3)
    one_at_a_time: bool = False
    separate: bool = False


class HypernetStudyConfig(StudySection):
    """A study file."""

    task: HypernetTaskConfig
    data: DataConfig = DataConfig()
    run: HypernetRunConfig = HypernetRunConfig()
    grid: HypernetGrid = HypernetGrid()
    execution: ExecutionConfig = ExecutionConfig()


class HypernetRun(Section):
    """One run: everything its outcome depends on.

    ``place`` is where in the task's grid a separate network is trained, None for a hypernetwork. Fields that do not
    apply to separate networks are left empty.
    """

    task: HypernetTaskConfig
    data: DataConfig
    run: HypernetRunConfig
    parametrization: ParametrizationName | Literal["separate"]
    optimizer: OptimizerName
    learning_rate: float
    activation: str = ""
    norm: str = ""
    noise: int = 0
    correction: float = 0.0
    place: int | None = None
    seed: int
    device: str
