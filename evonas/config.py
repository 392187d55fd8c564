"""One TOML file is one search: its sections."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from evonas.section import (
    Count,
    Fraction,
    Positive,
    PositiveInt,
    Range,
    Section,
    Share,
    load_as,
    loads_as,
)


class SpaceConfig(Section):
    """``[space]``: which genomes exist. Empty ``primitives`` means all published, empty ``index_sets`` all that may be.

    ``causal``: of layout ``btd``, whether layers are for models in which no token may look at later ones.
    """

    layout: Literal["bchw", "btd"] = "bchw"
    causal: bool = True
    primitives: tuple[str, ...] = ()
    index_sets: tuple[str, ...] = ()
    intermediate_nodes: PositiveInt = 10


class LayerConfig(Section):
    """``[layer]``: how genomes are lowered."""

    groups: PositiveInt = 32
    eps: Positive = 1e-5
    momentum: Fraction = 0.1


class DataConfig(Section):
    """``[data]``: labelled images.

    ``size`` > 0 average-pools images to that height; ``train`` and ``validation`` are numbers of images cut from the
    training split (0: all that remain, one fifth); ``crop`` > 0 trains on random crops of that height. ``score_on``
    says which images give the scores; a search refuses test images.
    """

    name: Literal["digits", "fashion_mnist", "cifar10", "npz"] = "digits"
    path: str = ""
    size: Annotated[int, Field(ge=0)] = 0
    train: Annotated[int, Field(ge=0)] = 0
    validation: Annotated[int, Field(ge=0)] = 0
    crop: Annotated[int, Field(ge=0)] = 0
    flip: bool = False
    score_on: Literal["validation", "test"] = "validation"

    @property
    def title(self) -> str:
        """What people know the data set by: a file by its name."""
        return Path(self.path).stem if self.name == "npz" else self.name


class TextConfig(Section):
    """``[text]``: what language models read: Python's help ``topics``, a ``file``, or six novels of Jane ``austen``.

    ``path`` is that of the file, or where the novels are if not in the place of the Debian package. The last
    ``validation`` of the text validates; 0 means a tenth, and of the novels the sixth. ``vocabulary`` counts the
    tokens of ``bpe``; ``bytes`` have 256.
    """

    name: Literal["topics", "file", "austen"] = "topics"
    path: str = ""
    tokens: Literal["bytes", "bpe"] = "bytes"
    vocabulary: Annotated[int, Field(ge=256)] = 1024
    validation: Fraction = 0.0


class TrainingConfig(Section):
    """``[training]``: how every candidate is trained, the same on every architecture.

    ``momentum`` is that of ``sgd``; ``adamw`` has betas .9 and .95, and a ``weight_decay`` apart from gradients.
    ``warmup`` steps come first, in which the learning rate rises.
    """

    YOUNG = frozenset({"optimizer", "warmup"})

    optimizer: Literal["sgd", "adamw"] = "sgd"
    batch_size: PositiveInt = 64
    steps: PositiveInt = 100
    learning_rate: Positive = 0.1
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: Count = 0


ARCHITECTURES = ("preact_resnet", "mobilenet_v2", "efficientnet", "densenet")
LIBRARIES = ("timm", "torchvision")


def _architecture(name: str) -> str:
    library, _, model = name.partition(":")
    if name and name not in ARCHITECTURES and not (library in LIBRARIES and model):
        others = " or ".join(f"{library}:NAME" for library in LIBRARIES)
        raise PydanticCustomError("architecture", "{names}", {"names": f"{', '.join(ARCHITECTURES)}, {others}"})
    return name


class TaskConfig(Section):
    """One ``[[tasks]]``: an ``architecture`` on the images of ``[data]``, or a ``task`` of your own.

    ``architecture`` is a published network, scaled by ``width``, ``depth`` and ``head``, or one of another package,
    ``timm:NAME`` or ``torchvision:NAME``, as it is. ``unstrided`` of the first spatial reductions keep the size.
    ``task`` is ``package.module:function``, see ``evonas.tasks.custom``. ``transformer`` is a language model on
    ``[text]``, by its size, such as ``147k`` or ``96x3`` (width x depth), and sees ``context`` tokens.
    """

    YOUNG = frozenset({"task", "transformer", "context"})

    architecture: Annotated[str, AfterValidator(_architecture)] = ""
    task: Annotated[str, Field(pattern=r"^$|^[\w.]+:\w+$")] = ""
    transformer: str = ""
    context: PositiveInt = 128
    name: str = ""
    width: Positive = 1.0
    depth: tuple[Annotated[int, Field(ge=0)], ...] = ()
    head: PositiveInt | None = None
    unstrided: Annotated[int, Field(ge=0)] = 2

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(map(bool, (self.architecture, self.task, self.transformer))) != 1:
            raise PydanticCustomError("task", "an architecture, a transformer or a task, one of them")
        fields = type(self).model_fields
        scaled = [key for key in ("width", "depth", "head") if getattr(self, key) != fields[key].default]
        if scaled and self.architecture not in ARCHITECTURES:
            what = "no {keys}: only {names} are scaled"
            facts = {"keys": " or ".join(scaled), "names": ", ".join(ARCHITECTURES)}
            raise PydanticCustomError("scaling", what, facts)  # type: ignore[arg-type]
        return self

    @property
    def label(self) -> str:
        """What the task is called: its name, or that of its network or function."""
        network = f"transformer-{self.transformer}" if self.transformer else self.architecture or self.task
        return self.name or network.rpartition(":")[2]


class NumericsConfig(Section):
    """``[protocols.numerics]``: scales of the probe inputs at which values and gradients must be finite.

    At the first one the output must also depend on the input and vary over space.
    """

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 10.0)


class PropagationConfig(Section):
    """``[protocols.propagation]``: signals must stay in range through a random network of ``depth`` layers.

    Ranges are [least, greatest]; see ``evonas.evaluate.propagation.Propagation``. Depth 0 turns the protocol off.
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


Screen = Literal["structure", "numerics", "equivalence"]


class ProtocolsConfig(Section):
    """``[protocols]``: which screens run before any training, and the settings of the protocols that have some."""

    screens: tuple[Screen, ...] = ("structure", "numerics", "equivalence")
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

    YOUNG = frozenset({"reductions"})

    steps: tuple[PositiveInt, ...] = ()
    reduction: Annotated[float, Field(gt=1)] = 4.0
    reductions: tuple[Annotated[float, Field(gt=1)], ...] = ()
    window: PositiveInt = 200
    least: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _one_for_each(self) -> Self:
        if self.reductions and len(self.reductions) != len(self.steps):
            raise PydanticCustomError("reductions", "as many reductions as steps, or none")
        return self

    @property
    def by_rung(self) -> tuple[tuple[int, float], ...]:
        """Steps and reduction of every rung."""
        reductions = self.reductions or (self.reduction,) * len(self.steps)
        return tuple(zip(self.steps, reductions, strict=True))


class ObjectivesConfig(Section):
    """``[objectives]``: which objectives there are beside the accuracy per task; see ``evonas.evaluate.objectives``."""

    latency: bool = False
    parameters: bool = False
    stability_margin: bool = False
    lr_sensitivity: bool = False
    activation_sparsity: bool = False


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


class ExecutionConfig(Section):
    """``[execution]``: where candidates are evaluated. Results do not depend on ``workers``.

    ``compile``: auto compiles a candidate's layers once its measured step time and the steps left make it pay. Compiled
    layers round differently, so a search that compiles X
    """

    workers: PositiveInt = 1
    threads: PositiveInt = 1
    device: str = "auto"
    timeout_seconds: Positive = 600.0
    compile: Literal["auto", "always", "never"] = "auto"
    cache: str = ""


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


class SearchConfig(Section):
    """A whole search."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")]
    seed: Annotated[int, Field(ge=0)] = 1
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
    execution: ExecutionConfig = ExecutionConfig()
    rerank: RerankConfig = RerankConfig()

    @property
    def learned_from(self) -> str:
        """Names of the data sets and texts of the tasks, for people."""
        names = (self.text.name if task.transformer else self.data.title for task in self.tasks)
        return " and ".join(dict.fromkeys(names))


def load(path: str | Path, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read a search from a TOML file, with ``a.b=c`` overrides.

    Raises:
        InputError: as ``load_as``.
    """
    return load_as(SearchConfig, path, overrides)


def loads(text: str, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read a search from TOML text of our own, with overrides; see ``load``."""
    return loads_as(SearchConfig, text, overrides)
