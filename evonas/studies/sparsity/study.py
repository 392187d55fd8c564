"""Studies: one model, methods x transforms x allocations x sparsities x texts, each combination one measurement."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from evonas.config import StudyExecutionConfig
from evonas.config.section import Count, PositiveInt, Section, StudySection
from evonas.errors import InputError
from evonas.studies.sparsity.allocation import BEST, LEVELS, UNIFORM
from evonas.studies.sparsity.scores import SCORE_METHODS, method_named
from evonas.studies.sparsity.texts import text_name

METHODS_SHOWN = ("teal", "wina")
SHOWN_SPARSITIES = (0.25, 0.4, 0.5, 0.65)  # those of WINA's tables
ALL = "all"
PLAIN = ("random",)  # a floor needs neither a basis nor a split
CONTEXT = 512

Allocation = Literal["uniform", "greedy", "fisher", "fisher-twice", "evolution"]
Sparsity = Annotated[float, Field(ge=0, lt=1)]


class SparsityExecution(StudyExecutionConfig):
    """``[execution]``, with as many threads as torch takes by itself: speeds are measured with them."""

    threads: PositiveInt = Field(default_factory=torch.get_num_threads)
    """Threads of torch. Not set: as many as it takes by itself."""


class SparsityStudyConfig(StudySection):
    """A study.

    Combinations that a method does not have are left out: CATS has no transform and, with one layer a block, nothing to
    split; random neither.
    """

    file_kind: ClassVar[str] = "sparsity"

    model: Annotated[str, Field(min_length=1)]
    """An id of the hub, a folder or a GGUF file."""
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = METHODS_SHOWN
    """What chooses the inputs: `teal`, `wina`, `cats`, `r-sparse`, `random` (the floor), or `all`."""
    sparsities: Annotated[tuple[Sparsity, ...], Field(min_length=1)] = SHOWN_SPARSITIES
    """Shares of inputs to drop."""
    allocations: Annotated[tuple[Allocation, ...], Field(min_length=1)] | None = None
    """How a sparsity is split among layers: `uniform`, `greedy`, `fisher`, `fisher-twice`, `evolution`. Not set:
    `fisher`, or `uniform` of a method without a split."""
    transform: Literal["off", "on", "both"] = "off"
    """Without, with, or both: a basis in which the columns of key and gate weights are orthogonal."""
    selection: Literal["topk", "threshold"] = "topk"
    """The `topk` inputs of each token, or those above a `threshold`."""
    texts: Annotated[tuple[str, ...], Field(min_length=1)] = ("topics",)
    """What is scored: `topics`, `austen`, `austen:PATH`, or a file."""
    calibration: str = "topics"
    """What thresholds, allocation and transform look at: the same; never a passage that is scored."""
    tokens: PositiveInt = 8192
    """Tokens that are scored of each text."""
    calibration_tokens: PositiveInt = 2048
    """Tokens that calibrate."""
    context: PositiveInt | None = None
    """Tokens of a window, which sees nothing but itself. Not set: 512, or what the model sees."""
    dense_first: Count = 0
    """First positions of each window that stay dense."""
    speed: bool = True
    """Whether decoding is timed."""
    compiled: bool = False
    """Whether models are compiled before they are timed, the dense one too."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the weights."""
    int8: bool = False
    """Whether weights are rounded to 8 bits, those of the dense model too."""
    execution: SparsityExecution = Field(default_factory=SparsityExecution)
    """Where the work is done."""


class SparsitySetting(Section):
    """How a model is made sparse, whatever the sparsity."""

    method: str
    transform: bool
    allocation: str
    selection: str
    dense_first: int

    @property
    def label(self) -> str:
        """The name in legends, such as ``wina, greedy, transform``."""
        parts = (self.method, self.allocation if self.allocation != UNIFORM else "", "transform" * self.transform)
        return ", ".join(filter(None, parts))

    @property
    def calibrated(self) -> bool:
        """Whether it depends on a calibration text."""
        return self.transform or self.allocation != UNIFORM or self.selection != "topk"


class Source(Section):
    """The model of a measurement: the identity of its files, and how they were loaded."""

    model: str
    dtype: str
    device: str
    int8: bool = False


class CostMeasurement(Section):
    """What dropping costs, layer by layer, by which an allocation goes; the same for all sparsities and texts."""

    source: Source
    setting: SparsitySetting
    calibration: str


class QualityMeasurement(Section):
    """The losses of a model at a sparsity on a text; without a setting, of the dense model."""

    source: Source
    setting: SparsitySetting | None
    sparsity: float
    calibration: str
    text: str
    bos: int | None


class SpeedMeasurement(Section):
    """How fast a model at a sparsity decodes beside the dense one, on one machine with so many threads."""

    source: Source
    setting: SparsitySetting
    sparsity: float
    calibration: str
    text: str
    compiled: bool
    machine: str


Measurement = CostMeasurement | QualityMeasurement | SpeedMeasurement


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the table: a setting at a sparsity, or the dense model."""

    setting: SparsitySetting | None
    sparsity: float


@dataclass(frozen=True, slots=True)
class Grid:
    """The measurements of a study.

    Attributes:
        costs: by setting.
        quality: by row, then by text.
        speed: by row; none where speed is not asked for.
    """

    costs: Mapping[SparsitySetting, CostMeasurement]
    quality: Mapping[Place, Mapping[str, QualityMeasurement]]
    speed: Mapping[Place, SpeedMeasurement]

    @property
    def measurements(self) -> list[Measurement]:
        """All of them, in an order in which each finds what it needs; a broken study has whole sparsities."""
        dense = [
            measurement for place, found in self.quality.items() if not place.setting for measurement in found.values()
        ]
        places = sorted((place for place in self.quality if place.setting), key=lambda place: place.sparsity)
        rest = [measurement for place in places for measurement in self.quality[place].values()]
        return [*dense, *self.costs.values(), *rest, *self.speed.values()]


def check(study: SparsityStudyConfig) -> None:
    """Refuse what can be seen to be wrong before anything is loaded.

    Raises:
        InputError: an unknown method, a method without any of the combinations, a sparsity beyond what a split reaches,
            or two texts of one name.
    """
    if study.int8 and (study.compiled or study.dtype != "float32"):
        found = "together with compiled" if study.compiled else f"together with dtype {study.dtype}"
        raise InputError("int8", found, accepted="float32 in eager mode, the weights of which are rounded")
    settings = sparsity_settings(study)
    highest = max(study.sparsities)
    if highest > LEVELS[-1] and (split := [each.allocation for each in settings if each.allocation != UNIFORM]):
        raise InputError("sparsity", f"{highest:g}, with allocation {split[0]}", accepted=f"up to {LEVELS[-1]}")
    names = [text_name(text) for text in study.texts]
    for name in names:
        if names.count(name) > 1:
            raise InputError("text", f"two are called {name!r}", remedy="rename one of the files")


def sparsity_settings(study: SparsityStudyConfig) -> list[SparsitySetting]:
    """The settings of all methods, in the order of the table.

    Raises:
        InputError: an unknown method, or one that has none of the combinations.
    """
    transforms = {"off": (False,), "on": (True,), "both": (False, True)}[study.transform]
    found = []
    every = ALL in study.methods
    for name in SCORE_METHODS if every else dict.fromkeys(study.methods):
        method = method_named(name)
        splits = not (method.gated or name in PLAIN)
        allocations = study.allocations or (BEST if splits else UNIFORM,)
        combinations = [
            (transform, allocation)
            for transform, allocation in product(transforms, dict.fromkeys(allocations))
            if not (transform and (not method.transforms or name in PLAIN)) and (allocation == UNIFORM or splits)
        ]
        if not combinations and not every:
            able = [other.name for other in SCORE_METHODS.values() if other.transforms and other.name not in PLAIN]
            asked = f"transform {study.transform} and allocation {', '.join(allocations)}"
            raise InputError(f"method {name}", f"has no {asked}", accepted=f"these with {', '.join(able)}")
        found += [
            SparsitySetting(
                method=name,
                transform=transform,
                allocation=allocation,
                selection=study.selection,
                dense_first=study.dense_first,
            )
            for transform, allocation in combinations
        ]
    return found


def grid_of(
    study: SparsityStudyConfig,
    source: Source,
    texts: Mapping[str, str],
    calibration: str,
    bos: int | None,
    machine: str,
) -> Grid:
    """Make the grid of all measurements.

    Args:
        study: the study.
        source: its model.
        texts: digests of what is scored, by name.
        calibration: digest of what calibrates.
        bos: the id before each window.
        machine: on which speed is measured.
    """
    settings, sparsities = sparsity_settings(study), dict.fromkeys(study.sparsities)
    calibrations = {setting: calibration if setting.calibrated else "" for setting in settings}
    places = [Place(None, 0.0), *(Place(setting, sparsity) for setting in settings for sparsity in sparsities)]
    first = next(iter(texts.values()))

    def quality(place: Place, text: str) -> QualityMeasurement:
        used = calibrations[place.setting] if place.setting else ""
        return QualityMeasurement(
            source=source, setting=place.setting, sparsity=place.sparsity, calibration=used, text=text, bos=bos
        )

    return Grid(
        {
            setting: CostMeasurement(source=source, setting=setting, calibration=calibration)
            for setting in settings
            if setting.allocation != UNIFORM
        },
        {place: {name: quality(place, text) for name, text in texts.items()} for place in places},
        {
            place: SpeedMeasurement(
                source=source,
                setting=place.setting,
                sparsity=place.sparsity,
                calibration=calibrations[place.setting],
                text=first,
                compiled=study.compiled,
                machine=machine,
            )
            for place in places
            if place.setting and study.speed
        },
    )
