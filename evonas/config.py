"""One TOML file is one search: strict TOML to frozen models, and back.

Unknown keys, wrong types and values out of range are refused with the file, the key, what was found and what is
accepted. ``--set a.b=c`` overrides go through the same door.
"""

import difflib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from evonas.errors import InputError

PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise PydanticCustomError("range", "[least, greatest]")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


class Section(BaseModel):
    """A table of the file; every key is known, typed and immutable."""

    YOUNG: ClassVar[frozenset[str]] = frozenset()  # keys that older records lack

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """The keys by which records know it; those that are younger than records only where they are set."""
        fields = type(self).model_fields
        unset = {key for key in self.YOUNG if getattr(self, key) == fields[key].default}
        return self.model_dump(mode="json", exclude=unset)


AnySection = TypeVar("AnySection", bound=Section)


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
    tournament: Annotated[float, Field(gt=0, le=1)] = 0.05
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


def load(path: str | Path, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read a search from a TOML file, with ``a.b=c`` overrides; see ``load_as``."""
    return load_as(SearchConfig, path, overrides)


def load_as(kind: type[AnySection], path: str | Path, overrides: Sequence[str] = ()) -> AnySection:
    """Read a configuration from a TOML file, with ``a.b=c`` overrides.

    Raises:
        InputError: the file is missing or not TOML, a key is unknown, or a value is of the wrong type or out of range.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(str(path), "no such file", remedy=_nearby_files(path)) from None
    except IsADirectoryError:
        raise InputError(str(path), "is a folder", accepted="a .toml file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"is not TOML ({error})") from None
    return _parse_changed(kind, data, overrides, str(path))


def loads(text: str, overrides: Sequence[str] = ()) -> SearchConfig:
    """Read a search from TOML text of our own, with overrides; see ``load``."""
    return _parse_changed(SearchConfig, tomllib.loads(text), overrides, "defaults")


def _parse_changed(kind: type[AnySection], data: dict[str, Any], overrides: Sequence[str], where: str) -> AnySection:
    for override in overrides:
        _override(data, override)
    return parse_section(kind, data, where)


def parse(data: dict[str, Any], where: str) -> SearchConfig:
    """Validate already-read TOML data of a search; see ``parse_section``."""
    return parse_section(SearchConfig, data, where)


def parse_section(kind: type[AnySection], data: dict[str, Any], where: str) -> AnySection:
    """Validate already-read TOML or JSON data; ``where`` names its file in errors.

    Raises:
        InputError: an unknown key, or a value of the wrong type or out of range.
    """
    try:
        # through JSON: strict validation then still takes arrays for tuples
        return kind.model_validate_json(json.dumps(data))
    except TypeError as error:
        raise InputError(where, f"holds a value of an unsupported type ({error})") from None
    except ValidationError as error:
        raise _as_input_error(error, where, kind) from None


def dump(config: Section) -> str:
    """The whole configuration, defaults included, as TOML; ``load`` reads it back to an equal configuration."""
    return tomli_w.dumps(json.loads(config.model_dump_json(exclude_none=True)))


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not all(key.split(".")):
        raise InputError(where, "cannot be read", accepted="section.key=value, e.g. evolution.window=100")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is text: --set data.name=npz
    *parents, last = key.split(".")
    place: Any = data
    for depth, part in enumerate(parents):
        place = _descend(place, part, where, ".".join(parents[: depth + 1]))
    if isinstance(place, list):
        place[_position(place, last, where)] = value
    else:
        place[last] = value


def _descend(place: Any, part: str, where: str, path: str) -> Any:
    if isinstance(place, list):
        return place[_position(place, part, where)]
    inner = place.setdefault(part, {})
    if not isinstance(inner, dict | list):
        raise InputError(where, f"{path} is a value, not a section")
    return inner


def _position(items: list[Any], part: str, where: str) -> int:
    if not part.isdecimal() or int(part) >= len(items):
        raise InputError(where, f"no item {part!r}", accepted=f"0 to {len(items) - 1}")
    return int(part)


def _as_input_error(error: ValidationError, where: str, kind: type[Section]) -> InputError:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    place = f"{where}: {'.'.join(location)}" if location else where
    if first["type"] == "extra_forbidden":
        known = _known_keys(kind, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else ""
        return InputError(place, "unknown key", accepted=", ".join(known), remedy=remedy)
    if first["type"] == "missing":
        return InputError(place, "is missing", remedy="add the key")
    accepted = first["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    more = f"(and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return InputError(place, f"{first['input']!r}", accepted=accepted, remedy=more)


def _known_keys(model: Any, location: Sequence[str]) -> list[str]:
    for part in location:
        if part.isdigit():
            continue
        annotation = model.model_fields[part].annotation
        model = annotation if isinstance(annotation, type) else get_args(annotation)[0]  # an array of tables
    return list(model.model_fields)


def _nearby_files(path: Path) -> str:
    folder = path.parent if path.parent.is_dir() else Path("search_spaces")
    names = sorted(p.name for p in folder.glob("*.toml")) if folder.is_dir() else []
    return f"{folder} holds {', '.join(names)}" if names else "give the path of a search's .toml file"
