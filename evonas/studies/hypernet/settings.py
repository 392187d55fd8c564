"""What a study file says, and what one run depends on."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from evonas.config import DataConfig, StudyExecutionConfig
from evonas.config.section import Count, NotNegative, Positive, PositiveInt, Section, Seed, StudySection

ParametrizationName = Literal["default", "encoding-only", "additive-only", "mip"]
OptimizerName = Literal["sgd", "momentum", "adam"]

SEPARATE: Literal["separate"] = "separate"  # in place of a parametrization: one plain network for one gamma
NO_NORM = "none"


class HypernetTaskConfig(Section):
    """``[task]``: the problem, and the primary network."""

    name: Literal["regularized_classification", "rescaled_classification", "registration"]
    """The problem."""
    layer: str = "gn-relu"
    """A catalogue name, formula or text form: the layer after each convolution of the primary network."""
    width: PositiveInt = 8
    """Channels of the primary network."""
    batch_size: PositiveInt = 32
    """Images in a step."""


class HypernetRunConfig(Section):
    """``[run]``: what all runs share. A ``head_gain`` counts where no correction is in the grid."""

    steps: PositiveInt = 500
    """Training steps."""
    check_every: PositiveInt = 25
    """Steps between two looks at the loss."""
    fixed: PositiveInt = 8
    """Batches, drawn once, on which the loss is taken."""
    hidden: tuple[PositiveInt, ...] = (16, 128)
    """Widths of the hidden layers of the hypernetwork."""
    predict: tuple[str, ...] = ("**",)
    """Patterns of the parameters that are predicted."""
    head_gain: float | None = None
    """Gain of the last layer, initialized by its fan-out. Not set: that of the parametrization."""


class HypernetGrid(Section):
    """``[grid]``: see ``HyperNetwork`` for corrections, and ``with_noise`` of ``variants`` for noise."""

    parametrizations: Annotated[tuple[ParametrizationName, ...], Field(min_length=1)] = (
        "default",
        "encoding-only",
        "additive-only",
        "mip",
    )
    """How theta depends on gamma."""
    optimizers: Annotated[tuple[OptimizerName, ...], Field(min_length=1)] = ("adam",)
    """What trains."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (3e-4, 1e-3, 3e-3)
    """Each parametrization is shown at the best of them."""
    activations: Annotated[tuple[str, ...], Field(min_length=1)] = ("relu",)
    """Activations of the hypernetwork."""
    norms: Annotated[tuple[str, ...], Field(min_length=1)] = (NO_NORM,)
    """Norms of the hypernetwork: `none`, `layer`, `weight`."""
    noise: Annotated[tuple[Count, ...], Field(min_length=1)] = (0,)
    """Numbers of random coordinates of gamma beside the task's own."""
    corrections: Annotated[tuple[NotNegative, ...], Field(min_length=1)] = (0.0,)
    """Sizes of the predicted part against theta0 at the start. 0: that of the parametrization."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1, 2, 3)
    """Seeds of weights and batches."""
    one_at_a_time: bool = False
    """Only runs that differ from the first optimizer, activation, norm and noise in one of them."""
    separate: bool = False
    """Whether plain networks are trained as well, each at one place of the range of gamma."""


class HypernetStudyConfig(StudySection):
    """A study file."""

    file_kind: ClassVar[str] = "hypernet"

    task: HypernetTaskConfig
    """The problem, and the primary network."""
    data: DataConfig = DataConfig()
    """The images."""
    run: HypernetRunConfig = HypernetRunConfig()
    """What all runs share."""
    grid: HypernetGrid = HypernetGrid()
    """Everything is trained at each of these."""
    execution: StudyExecutionConfig = StudyExecutionConfig()
    """Where the work is done."""


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
