"""One TOML file is one search: its sections."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from evonas.config.execution import SearchExecutionConfig
from evonas.config.section import (
    Fraction,
    ModuleName,
    Positive,
    PositiveInt,
    Range,
    Section,
    Share,
    load_as,
    loads_as,
)
from evonas.config.task import (
    ARCHITECTURES,
    DataConfig,
    LayerConfig,
    TaskConfig,
    TextConfig,
    TrainingConfig,
    require_names,
)
from evonas.errors import InputError


class SpaceConfig(Section):
    """``[space]``: which genomes exist. Empty ``primitives`` means all published, empty ``index_sets`` all that may be.

    ``causal``: of layout ``btd``, whether layers are for models in which no token may look at later ones.
    """

    layout: Literal["bchw", "btd"] = "bchw"
    causal: bool = True
    primitives: tuple[str, ...] = ()
    index_sets: tuple[str, ...] = ()
    intermediate_nodes: PositiveInt = 10


class NumericsConfig(Section):
    """``[protocols.numerics]``: scales of the probe inputs at which values and gradients must be finite.

    At the first one the output must also depend on the input and vary over space.
    """

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 10.0)


class PropagationConfig(Section):
    """``[protocols.propagation]``: signals must stay in range through a random network of ``depth`` layers.

    Ranges are [least, greatest]; see ``evonas.search.propagation.Propagation``. Depth 0 turns the protocol off.
    """

    depth: Annotated[int, Field(ge=0)] = 0
    activation: Range = (0.9, 1.1)
    gradient: Range = (0.95, 2.0)
    weight_gradient: Range = (0.2, 4.0)
    different: float = 0.98
    alike: float = 0.05


class QualityConfig(Section):
    """``[protocols.quality]``: reject below ``min_accuracy`` after ``steps`` training steps, on any architecture."""

    steps: PositiveInt = 100
    min_accuracy: Fraction = 0.2


class StabilityConfig(Section):
    """``[protocols.stability]``: reject a layer whose gradient norm an adversary can drive above ``limit``.

    The adversary takes up to ``steps`` steps on the first task's convolution weights, each ``step_size`` times their
    norm long, on the first ``batch_size`` samples of a batch. 0 steps turn the protocol off.
    """

    steps: Annotated[int, Field(ge=0)] = 0
    step_size: Positive = 0.05
    limit: Positive = 1e8
    batch_size: PositiveInt = 16


class ProtocolsConfig(Section):
    """``[protocols]``: which screens run before any training, and the settings of the protocols that have some.

    Beside the screens of evonas itself, ``screens`` may name registered protocols of users.
    """

    screens: tuple[str, ...] = ("structure", "numerics", "equivalence")
    numerics: NumericsConfig = NumericsConfig()
    propagation: PropagationConfig = PropagationConfig()
    stability: StabilityConfig = StabilityConfig()
    quality: QualityConfig = QualityConfig()


class RungsConfig(Section):
    """``[rungs]``: only the best 1 / ``reduction`` of the last ``window`` results at a rung are trained further.

    ``steps`` are the training steps at which rungs stand, ascending; without any, every layer is trained in full.
    ``reductions`` gives each rung one of its own. A layer below ``least`` of the reference's score never goes on,
    however few results there are.
    """

    steps: tuple[PositiveInt, ...] = ()
    reduction: Annotated[float, Field(gt=1)] = 4.0
    reductions: tuple[Annotated[float, Field(gt=1)], ...] = ()
    window: PositiveInt = 200
    least: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _one_for_each(self) -> Self:
        if self.reductions and len(self.reductions) != len(self.steps):
            found, accepted = f"{len(self.reductions)} for {len(self.steps)} steps", "as many as steps, or none"
            raise InputError("reductions", found, accepted=accepted)
        return self

    @property
    def by_rung(self) -> tuple[tuple[int, float], ...]:
        """Steps and reduction of every rung."""
        reductions = self.reductions or (self.reduction,) * len(self.steps)
        return tuple(zip(self.steps, reductions, strict=True))


class ObjectivesConfig(Section):
    """``[objectives]``: which objectives there are beside the accuracy per task; see ``evonas.search.objectives``.

    ``own`` names registered objectives of users.
    """

    latency: bool = False
    parameters: bool = False
    stability_margin: bool = False
    lr_sensitivity: bool = False
    activation_sparsity: bool = False
    own: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are switched on, then those of users."""
        switches = (name for name in type(self).model_fields if getattr(self, name) is True)
        return tuple(dict.fromkeys((*switches, *self.own)))


class EvolutionConfig(Section):
    """``[evolution]``: the published steady-state tournament, or NSGA-II as an alternative.

    ``look_ahead`` is how many candidates may be open at once: child n sees the results up to n - look_ahead, whatever
    the number of workers. It bounds the useful number of workers. ``initial`` layers, catalogue names or text forms,
    are the first candidates. ``point_mutation`` is the share of mutations that change an operation or one input alone;
    the others draw a whole node anew, as published.
    """

    algorithm: Literal["tournament", "nsga2"] = "tournament"
    window: PositiveInt = 2500
    tournament: Share = 0.05
    winner: Literal["pareto", "average"] = "pareto"
    random_injection: Fraction = 0.5
    point_mutation: Fraction = 0.0
    initial_random: PositiveInt = 20
    look_ahead: PositiveInt = 16
    max_proposals: PositiveInt = 10_000
    initial: tuple[str, ...] = ()


class BudgetConfig(Section):
    """``[budget]``: the search stops at whichever comes first; 0 means no limit."""

    evaluations: Annotated[int, Field(ge=0)] = 0
    minutes: Annotated[float, Field(ge=0)] = 0.0


class RerankConfig(Section):
    """``[rerank]``: the ``top`` layers of the search and the baselines trained again, to tell the best ``keep``.

    Under ``seeds`` seeds that the search has not used. 0 ``steps``, no ``baselines`` and no ``tasks`` mean those of the
    search. ``margin_over``, one of the baselines, chooses and ranks layers by their smallest gain over it on any task;
    None by the mean over tasks.
    """

    top: PositiveInt = 10
    keep: PositiveInt = 3
    seeds: PositiveInt = 5
    steps: Annotated[int, Field(ge=0)] = 0
    margin_over: str | None = None
    baselines: tuple[str, ...] = ()
    tasks: tuple[TaskConfig, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        require_names(self.tasks)
        return self


class SearchConfig(Section):
    """A whole search.

    ``extensions`` are modules of users that add primitives, index sets, objectives or protocols; see
    ``evonas.extensions``.
    """

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")]
    seed: Annotated[int, Field(ge=0)] = 1
    extensions: tuple[ModuleName, ...] = ()
    baselines: tuple[str, ...] = ("bn-relu", "gn-relu", "evonorm-s0")
    space: SpaceConfig = SpaceConfig()
    layer: LayerConfig = LayerConfig()
    data: DataConfig = DataConfig()
    text: TextConfig = TextConfig()
    training: TrainingConfig = TrainingConfig()
    tasks: Annotated[tuple[TaskConfig, ...], Field(min_length=1)]
    protocols: ProtocolsConfig = ProtocolsConfig()
    rungs: RungsConfig = RungsConfig()
    objectives: ObjectivesConfig = ObjectivesConfig()
    evolution: EvolutionConfig = EvolutionConfig()
    budget: BudgetConfig = BudgetConfig()
    execution: SearchExecutionConfig = SearchExecutionConfig()
    rerank: RerankConfig = RerankConfig()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        require_names(self.tasks)
        for task in self.tasks:
            if task.label in self.objectives.names:
                remedy = "give the task another name"
                raise InputError("tasks.name", f"{task.label!r} is an objective already", remedy=remedy)
        return self

    @model_validator(mode="after")
    def _rungs_can_be_reached(self) -> Self:
        steps = self.rungs.steps
        if list(steps) != sorted({*steps}) or any(rung >= self.training.steps for rung in steps):
            accepted = f"ascending numbers below training.steps, {self.training.steps}"
            raise InputError("rungs.steps", str(list(steps)), accepted=accepted)
        if steps and not self.baselines:
            remedy = "name a layer whose curve the rungs go by, e.g. bn-relu"
            raise InputError("baselines", "none, but there are rungs", remedy=remedy)
        return self

    @model_validator(mode="after")
    def _objectives_can_be_measured(self) -> Self:
        first = self.tasks[0]
        if self.objectives.activation_sparsity and first.architecture in ARCHITECTURES:
            found, accepted = f"{first.label} has no linear layer but its head", "a transformer as the first task"
            raise InputError("objectives.activation_sparsity", found, accepted=accepted)
        return self

    @property
    def learned_from(self) -> str:
        """Names of the data sets and texts of the tasks, for people."""
        names = (self.text.name if task.transformer else self.data.title for task in self.tasks)
        return " and ".join(dict.fromkeys(names))


def load_search(path: str | Path, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read a search from a TOML file, with ``a.b=c`` overrides.

    Raises:
        InputError: as ``load_as``.
    """
    return load_as(SearchConfig, path, overrides)


def loads(text: str, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read a search from TOML text of our own, with overrides; see ``load``."""
    return loads_as(SearchConfig, text, overrides)
