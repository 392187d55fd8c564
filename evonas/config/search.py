"""One TOML file is one search: its sections."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from evonas.config.execution import SearchExecutionConfig
from evonas.config.racing import RacingConfig
from evonas.config.section import (
    Count,
    Fraction,
    ModuleName,
    Positive,
    PositiveInt,
    Range,
    Section,
    Seed,
    Share,
    load_as,
    loads_as,
)
from evonas.config.task import (
    DataConfig,
    LayerConfig,
    TaskConfig,
    TextConfig,
    TrainingConfig,
    require_names,
)
from evonas.errors import InputError
from evonas.seeding import derive_seed


class SpaceConfig(Section):
    """``[space]``: which genomes exist."""

    layout: Literal["bchw", "btd"] = "bchw"
    """Axes of the tensors that layers take: `bchw`, maps of images, or `btd`, tokens of transformers."""
    causal: bool = True
    """For layers of tokens (`btd`): forbids statistics over the sequence, so that no token sees later ones."""
    primitives: tuple[str, ...] = ()
    """Operations and moments that a node may be; see `evonas list primitives`. Empty: the 15 published ones."""
    index_sets: tuple[str, ...] = ()
    """Axes that a moment may reduce over: bhw, chw, hw, ghw; of `btd` d, gd, and where not causal td, t, gtd, bt.
    Empty: all that evonas has for the layout."""
    intermediate_nodes: PositiveInt = 10
    """Nodes after x, zero, v0 and v1; the last of them is the output."""


class NumericsConfig(Section):
    """``[protocols.numerics]``: a screen of values and gradients."""

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 10.0)
    """Sizes of the inputs at which values and gradients must be finite. At the first one the output must also depend on
    the input and vary over the image."""


class PropagationConfig(Section):
    """``[protocols.propagation]``: signals must stay in range through a deep random network.

    Ranges are [least, greatest]; see ``evonas.search.propagation.Propagation``.
    """

    depth: Count = 0
    """Layers of the random network that signals are sent through, before any training. 0 turns the protocol off."""
    activation: Range = (0.9, 1.1)
    """Least and greatest growth, per layer, of the root mean square of the activations."""
    gradient: Range = (0.95, 2.0)
    """Least and greatest growth of the gradient per layer, from the last layer to the first."""
    weight_gradient: Range = (0.2, 4.0)
    """Least and greatest value of the smallest norm that the loss gradient of a convolution has."""
    different: float = 0.98
    """Greatest mean cosine between the last activations of different images."""
    alike: float = 0.05
    """Least mean cosine between the last activations of an image and of its near copy."""


class QualityConfig(Section):
    """``[protocols.quality]``: a gate after the first training steps."""

    steps: PositiveInt = 100
    """Training steps before the gate."""
    min_accuracy: Fraction = 0.2
    """A layer below this accuracy after these steps is rejected, on whichever task. Chance is 1 / classes."""


class StabilityConfig(Section):
    """``[protocols.stability]``: reject a layer whose gradient norm an adversary can drive too high.

    The adversary moves the convolution weights of the first task.
    """

    steps: Count = 0
    """Steps of an adversary that changes weights to drive the gradient norm up. 0 turns the protocol off."""
    step_size: Positive = 0.05
    """Length of one of its steps, relative to the norm of the convolution weights."""
    limit: Positive = 1e8
    """Gradient norm above which a layer is rejected."""
    batch_size: PositiveInt = 16
    """Samples of the batch that it looks at."""


class ProtocolsConfig(Section):
    """``[protocols]``: which screens run before any training, and the settings of the protocols that have some."""

    screens: tuple[str, ...] = ("structure", "numerics", "equivalence")
    """Screens before any training: `structure`, `numerics`, `equivalence`, and registered protocols by their names."""
    numerics: NumericsConfig = NumericsConfig()
    """What a screen asks of values and gradients."""
    propagation: PropagationConfig = PropagationConfig()
    """What is asked of signals in a deep random network."""
    stability: StabilityConfig = StabilityConfig()
    """What is asked of gradients under an adversary."""
    quality: QualityConfig = QualityConfig()
    """What is asked of the first training steps."""


class RungsConfig(Section):
    """``[rungs]``: places in a training where only the best go on."""

    steps: tuple[PositiveInt, ...] = ()
    """Training steps, ascending, at which a layer that falls behind is stopped. Empty: every layer is trained in full.
    """
    reduction: Annotated[float, Field(gt=1)] = 4.0
    """Of the latest results at a rung, the best 1 / reduction are trained further."""
    reductions: tuple[Annotated[float, Field(gt=1)], ...] = ()
    """One reduction for each rung, instead of `reduction`."""
    window: PositiveInt = 200
    """How many of the latest results count."""
    least: Annotated[float, Field(ge=0)] = 0.0
    """A layer below this share of the first baseline's score never goes on; scores are likelihoods exp(-training loss).
    """

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
    """``[objectives]``: which objectives there are beside the accuracy per task; see ``evonas.search.objectives``."""

    latency: bool = False
    """Minimize the time of forward and backward pass relative to BatchNorm and ReLU, of tokens to LayerNorm and GELU.
    """
    parameters: bool = False
    """Minimize the trainable values per channel: weight, bias, and v0 and v1 where used."""
    stability_margin: bool = False
    """Maximize the largest learning rate that still trains, over the one in `[training]`; of several there, over the
    best."""
    lr_sensitivity: bool = False
    """Minimize the mean loss after `protocols.quality.steps` over learning rates of 1/9 to 9 times the one in
    `[training]` (of several there, the best), minus the best of them."""
    activation_sparsity: bool = False
    """Maximize the share of inputs that the linear layers and 1x1 convolutions of the first task's trained network can
    drop."""
    shift: bool = False
    """Maximize the accuracy of the first task's trained network on corrupted scoring images: mean over noise, blur and
    lower contrast; for networks on images."""
    small_batch: bool = False
    """Maximize the score of the first task after a training at batch size 4."""
    own: tuple[str, ...] = ()
    """Objectives of yours, registered by an extension, by their names."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are switched on, then those of users."""
        switches = (name for name in type(self).model_fields if getattr(self, name) is True)
        return tuple(dict.fromkeys((*switches, *self.own)))


class EvolutionConfig(Section):
    """``[evolution]``: the published steady-state tournament, or NSGA-II as an alternative."""

    algorithm: Literal["tournament", "nsga2"] = "tournament"
    """`tournament`, the published one, or `nsga2`."""
    window: PositiveInt = 2500
    """Parents are chosen among this many of the latest layers that have scores."""
    tournament: Share = 0.05
    """Share of the window that takes part in a tournament, at least 2 layers."""
    winner: Literal["pareto", "average"] = "pareto"
    """Who wins a tournament: a random layer of its Pareto front, `pareto`; or the best mean score, `average`."""
    random_injection: Fraction = 0.5
    """Share of candidates that are drawn at random instead of made from parents; with a guide, share of its pools."""
    point_mutation: Fraction = 0.0
    """Share of mutations that change one operation or input of a node; the others draw the whole node anew, as
    published."""
    crossover: Fraction = 0.0
    """Share of children that are made of two parents, a part of one being put into the other. The others are mutants,
    as published."""
    initial_random: PositiveInt = 20
    """Candidates drawn at random before the first tournament."""
    look_ahead: PositiveInt = 16
    """Candidates that are open at once: number n is drawn knowing the results up to n - look_ahead. More workers than
    this are never started."""
    guide: Literal["none", "surrogate"] = "none"
    """`surrogate` predicts from the results so far how layers will do, and chooses candidates among many proposals."""
    unguided: Fraction = 0.25
    """Share of candidates that are drawn without the guide."""
    pool: PositiveInt = 64
    """Proposals that pass the screens, each a new function, among which the guide chooses a candidate."""
    refit: PositiveInt = 16
    """Results after which the guide is fitted anew."""
    max_proposals: PositiveInt = 10_000
    """The search gives up after this many proposals without a new layer."""
    initial: tuple[str, ...] = ()
    """First candidates: names of the catalogue, formulas or text forms; `--start-from` adds to them."""


class BudgetConfig(Section):
    """``[budget]``: the search stops at whichever comes first."""

    evaluations: Count = 0
    """The search stops after this many evaluated candidates, over all sessions of the run. 0: no limit."""
    minutes: Annotated[float, Field(ge=0)] = 0.0
    """The search stops after this many minutes of wall-clock time, over all sessions of the run. 0: no limit."""


class RerankConfig(Section):
    """``[rerank]``: the best layers of the search, trained again beside baselines under seeds it has not used."""

    top: PositiveInt = 10
    """Best layers of the search that `evonas rerank` trains again."""
    keep: PositiveInt = 3
    """Best of them that it exports."""
    seeds: PositiveInt = 5
    """Seeds of weights and batches; they follow that of the search, which is not among them."""
    steps: Count = 0
    """Training steps. 0: `training.steps`."""
    learning_rates: tuple[Positive, ...] = ()
    """Learning rates, of which the best one counts on every task. Empty: as in `[training]`."""
    margin_over: str | None = None
    """A baseline: layers are chosen and ranked by their smallest gain over it on any task. Not set: by the mean over
    tasks, which one task with a weak baseline can dominate."""
    baselines: tuple[str, ...] = ()
    """Layers of the catalogue to compare with. Empty: those of the search."""
    tasks: tuple[TaskConfig, ...] = ()
    """Networks to train in, as `[[tasks]]`. Empty: those of the search."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        require_names(self.tasks)
        return self


class SearchConfig(Section):
    """A whole search; see ``evonas.extensions`` for what its modules may add."""

    file_kind: ClassVar[str] = "search"

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$")]
    """What the search is called; its folder is `runs/<name>` unless `--run` says otherwise."""
    seed: Seed = 1
    """Seed of everything random."""
    extensions: tuple[ModuleName, ...] = ()
    """Modules of yours that add primitives, index sets, objectives or protocols."""
    baselines: tuple[str, ...] = ("bn-relu", "gn-relu", "evonorm-s0")
    """Layers of the catalogue (`evonas list layers`) that are trained first under the same budget, to compare with."""
    space: SpaceConfig = SpaceConfig()
    """Which layers there are."""
    layer: LayerConfig = LayerConfig()
    """How layers become modules."""
    data: DataConfig = DataConfig()
    """The images."""
    text: TextConfig = TextConfig()
    """The text of language models."""
    training: TrainingConfig = TrainingConfig()
    """How each candidate is trained."""
    tasks: Annotated[tuple[TaskConfig, ...], Field(min_length=1)]
    """The networks in which each candidate is tried."""
    protocols: ProtocolsConfig = ProtocolsConfig()
    """What rejects a candidate before its full training."""
    rungs: RungsConfig = RungsConfig()
    """Where a training is stopped early."""
    objectives: ObjectivesConfig = ObjectivesConfig()
    """What counts beside accuracy."""
    evolution: EvolutionConfig = EvolutionConfig()
    """How candidates are chosen."""
    racing: RacingConfig = RacingConfig()
    """How the best layers are measured again while the search runs."""
    budget: BudgetConfig = BudgetConfig()
    """When the search stops."""
    execution: SearchExecutionConfig = SearchExecutionConfig()
    """Where the work is done."""
    rerank: RerankConfig = RerankConfig()
    """How `evonas rerank` trains the best layers again."""

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
        if self.objectives.shift and first.kind not in ("classification", "own"):
            found, accepted = f"{first.label} classifies no images", "a network that does as the first task"
            raise InputError("objectives.shift", found, accepted=accepted)
        return self

    def in_round(self, round_: int) -> Self:
        """The settings of one of the rounds of a race, the first of which has the number 1.

        Its seed is no other round's, and none of those that follow that of the search, which a reranking takes.
        """
        conditions = self.racing.conditions[self.racing.number(round_) - 1]
        changes = {
            "seed": derive_seed(self.seed, "round", round_),
            "tasks": conditions.tasks or self.tasks,
            "training": conditions.training(self.training),
            "rungs": RungsConfig(),
            "objectives": ObjectivesConfig(),
            "racing": RacingConfig(),
        }
        return self.model_copy(update=changes)

    @property
    def learned_from(self) -> str:
        """Names of the data sets and texts of the tasks, for people."""
        names = (self.text.name if task.transformer else self.data.title for task in self.tasks)
        return " and ".join(dict.fromkeys(names))


def load_search(path: str | Path, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read a search from a TOML file, with ``a.b=c`` overrides.

    Args:
        path: the file, or the name of one that comes with evonas, such as ``evonorm_s``.
        overrides: keys and values to be set.

    Raises:
        InputError: as ``load_as``.
    """
    return load_as(SearchConfig, path, overrides)


def loads(text: str, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read a search from TOML text of our own, with overrides; see ``load``."""
    return loads_as(SearchConfig, text, overrides)
