"""Studies: methods x sparsities x neurons x strengths x seeds; each fit once, then measured at every strength."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from evonas.config import StudyExecutionConfig
from evonas.config.section import Positive, Section, Seed, StudySection
from evonas.errors import InputError
from evonas.runs.jobs import Jobs, spec_text
from evonas.studies.steering.evaluation import distances
from evonas.studies.steering.fit import fit
from evonas.studies.steering.images import ImagesConfig, ImageTarget
from evonas.studies.steering.intervention import Intervention
from evonas.studies.steering.language import Language
from evonas.studies.steering.language_settings import LanguageConfig
from evonas.studies.steering.method_settings import FitConfig, MethodConfig
from evonas.studies.steering.methods import METHODS, PROMPT
from evonas.studies.steering.networks import NetworksSpec, trained_networks
from evonas.studies.steering.saving import HEADER
from evonas.studies.steering.subject import SteeringTarget

DISTANCES = ("distance_fitted", "distance_fresh")  # of a fit, see ``distances_of``
NONE = "none"  # what the untouched model is called among methods
RISES = (0.05, 0.1, 0.2)
_CURVE_POINTS = 60  # of a loss curve that is kept
MAPS, NETWORKS = "maps", "networks"  # folders of interventions and of trained networks within that of the study


class SteeringExecution(StudyExecutionConfig):
    """``[execution]``, with time for fits of language models."""

    timeout_seconds: Positive = 7200.0


class SteeringStudyConfig(StudySection):
    """A study file, of a ``[language]`` model or of ``[images]``."""

    file_kind: ClassVar[str] = "steering"

    language: LanguageConfig | None = None
    """A language model that is steered."""
    images: ImagesConfig | None = None
    """Instead of a language model: a generator of digits."""
    methods: Annotated[tuple[MethodConfig, ...], Field(min_length=1)]
    """What is compared."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1, 2, 3)
    """Seeds of what is drawn."""
    rises: tuple[Positive, ...] = RISES
    """Rises of the cost at which methods are compared: 0.1 is a tenth more than the untouched model's."""
    execution: SteeringExecution = SteeringExecution()
    """Where the work is done."""

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.language is None) == (self.images is None):
            raise PydanticCustomError("subject", "a table [language] or a table [images], one of them")
        return self


class MapFit(Section):
    """The fit of some maps, with everything that they depend on."""

    fitting: str
    task: str
    fit: FitConfig
    sparsity: float = 0.0
    neurons: float = 1.0
    seed: int


class SteeringMeasurement(Section):
    """A measurement, with everything that it depends on; without maps it is that of the untouched model."""

    maps: MapFit | None
    measuring: str
    task: str
    strength: float
    seed: int


Variant = tuple[str, str, float, float]  # task, method, sparsity, share of neurons


class SteeringCell(Section):
    """A place in the grid; the untouched model is method ``none`` at strength 0."""

    task: str
    method: str
    sparsity: float = 0.0
    neurons: float = 1.0
    strength: float
    seed: int

    @property
    def variant(self) -> Variant:
        """The part of the cell that is fitted once for each seed."""
        return self.task, self.method, self.sparsity, self.neurons


SteeringJob = NetworksSpec | MapFit | SteeringMeasurement


def steering_runs(study: SteeringStudyConfig, folder: Path | None = None) -> dict[SteeringCell, SteeringMeasurement]:
    """Every cell of the grid, seed by seed.

    Raises:
        InputError: two methods of one name, an unknown method, or a subject that cannot be loaded.
    """
    for number, method in enumerate(study.methods):
        METHODS.find(method.method, f"methods.{number}.method")
        if method.method == PROMPT and study.language is None:
            raise InputError(f"methods.{number}.method", f"{PROMPT!r} of images", accepted="of language models alone")
    labels = [method.label for method in study.methods]
    for label in labels:
        if labels.count(label) > 1 or label == NONE:
            raise InputError("methods", f"two are called {label!r}", remedy="give one of them another name")
    subject = target_of(study, folder)
    return {
        cell: measurement
        for seed in dict.fromkeys(study.seeds)
        for task in subject.tasks
        for cell, measurement in _of_seed(study, subject, task, seed).items()
    }


def _of_seed(
    study: SteeringStudyConfig, subject: SteeringTarget, task: str, seed: int
) -> dict[SteeringCell, SteeringMeasurement]:
    fitting, measuring = subject.fitting(task, seed), subject.measuring(task, seed)

    def measured(maps: MapFit | None, strength: float) -> SteeringMeasurement:
        return SteeringMeasurement(maps=maps, measuring=measuring, task=task, strength=strength, seed=seed)

    untouched = SteeringCell(task=task, method=NONE, strength=0.0, seed=seed)
    found = {untouched: measured(None, 0.0)}
    for method in study.methods:
        how = method.fit.model_copy(update={"sites": method.sites or subject.sites})
        for sparsity, neurons in dict.fromkeys(product(method.sparsities, method.neurons)):
            maps = MapFit(fitting=fitting, task=task, fit=how, sparsity=sparsity, neurons=neurons, seed=seed)
            cell = partial(SteeringCell, task=task, method=method.label, sparsity=sparsity, neurons=neurons, seed=seed)
            for strength in sorted(set(method.strengths)):
                found[cell(strength=strength)] = measured(maps, strength)
    return found


def steering_jobs(
    study: SteeringStudyConfig, measurements: Mapping[SteeringCell, SteeringMeasurement], folder: Path
) -> Jobs[SteeringJob]:
    """The measurements as jobs, which need their maps, and those of images the networks.

    Args:
        study: the study.
        measurements: of ``steering_runs``.
        folder: of the study; maps and networks are kept there.
    """
    subject = target_of(study, folder)
    networks = (subject.networks,) if isinstance(subject, ImageTarget) else ()

    def needs(job: SteeringJob) -> tuple[SteeringJob, ...]:
        if isinstance(job, NetworksSpec):
            return ()
        maps = (job.maps,) if isinstance(job, SteeringMeasurement) and job.maps is not None else ()
        return (*networks, *maps)

    return Jobs(
        list(measurements.values()),
        partial(do_steering_job, study, folder),
        ("studies/steering",),
        needs=needs,
        doing=_doing,
    )


def _doing(job: SteeringJob) -> str:
    if isinstance(job, NetworksSpec):
        return "training the generator of digits and the classifier, once for the whole study"
    return f"fitting {job.fit.method}" if isinstance(job, MapFit) else "measuring"


def do_steering_job(
    study: SteeringStudyConfig, folder: Path, job: SteeringJob, _needed: Mapping[SteeringJob, Any]
) -> dict[str, Any]:
    """One training of networks, one fit or one measurement, as it is recorded."""
    if isinstance(job, NetworksSpec):
        trained_networks(job, folder / NETWORKS)
        return {}
    subject = target_of(study, folder)
    if isinstance(job, MapFit):
        if job.fit.method == PROMPT:
            return {"share": 0.0, "sites": 0, "losses": []}
        fitted = maps_of(subject, folder, job)
        every = max(1, len(fitted.losses) // _CURVE_POINTS)
        losses = [[step + 1, loss] for step, loss in enumerate(fitted.losses) if (step + 1) % every == 0]
        value = {"share": fitted.share, "sites": len(fitted.sites), "losses": losses}
        held = {"held": list(fitted.held)} if fitted.held else {}
        return value | held | distances_of(subject, job, fitted)
    with _steered(subject, folder, job):
        return dict(subject.measure(job.task, job.seed))


def distances_of(subject: SteeringTarget, job: MapFit, fitted: Intervention) -> dict[str, float]:
    """How far steered source samples are from the target, over how far they were: of fitted ones and of others.

    At 1 nothing is gained; what is less for fitted samples than for others has been learned by heart. Nothing is said
    of a subject that has no other samples.
    """
    fresh = subject.fresh(job.task, job.seed)
    if fresh is None:
        return {}
    found = {}
    for name, samples in zip(DISTANCES, (subject.samples(job.task, job.seed), fresh), strict=True):
        before, after = (
            fmean(distances(fitted, subject.model, *samples, strength=strength, pool=job.fit.pool).values())
            for strength in (0.0, 1.0)
        )
        found[name] = after / before if before else 1.0
    return found


def _steered(subject: SteeringTarget, folder: Path, job: SteeringMeasurement) -> AbstractContextManager[object]:
    if job.maps is None:
        return nullcontext()
    if job.maps.fit.method == PROMPT:
        return subject.instructed(job.maps.fit.instruction, job.strength, job.seed)
    return maps_of(subject, folder, job.maps).on(subject.model, job.strength)


def maps_place(wanted: MapFit) -> Path:
    """Where maps are, within the folder of the study."""
    digest = hashlib.sha256(spec_text(wanted).encode()).hexdigest()[:16]
    return Path(MAPS) / f"{wanted.fit.method}-{digest}"


def maps_of(subject: SteeringTarget, folder: Path, wanted: MapFit) -> Intervention:
    """Load the maps from the folder, or fit them and write them there."""
    place = folder / maps_place(wanted)
    if (place / HEADER).is_file():
        return Intervention.load(place)
    source, target = subject.samples(wanted.task, wanted.seed)
    settings = wanted.fit.model_dump(exclude={"instruction"})
    try:
        found = fit(subject.model, source, target, sparsity=wanted.sparsity, neurons=wanted.neurons, **settings)
    except InputError as error:
        if error.where != "lr":
            raise
        raise ArithmeticError(str(error)) from None  # a training that diverged costs its own cells alone
    found.save(place)
    return found


def target_of(study: SteeringStudyConfig, folder: Path | None = None) -> SteeringTarget:
    """The subject of a study, loaded once in a process; its networks are kept in the folder, if one is given."""
    networks = None if folder is None else folder / NETWORKS
    return _subject(study.language, study.images, study.execution.device, networks)


@lru_cache(maxsize=1)
def _subject(
    language: LanguageConfig | None, images: ImagesConfig | None, device: str, networks: Path | None
) -> SteeringTarget:
    if language is not None:
        return Language(language, device)
    assert images is not None
    return ImageTarget(images, device, networks)
