"""Learning-rate sweeps, hypernetworks, sparsity and steering: from the settings of each to a study that can be run."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from evonas.cli.study_run import StudyKind
from evonas.compare.components.settings import ComponentsConfig
from evonas.compare.components.study import components_study
from evonas.report.save import Report
from evonas.runs.store import Outcome
from evonas.search.named import find_layer
from evonas.studies.hypernet import study as hypernet_study
from evonas.studies.hypernet.report import hypernet_report
from evonas.studies.sparsity import measuring
from evonas.studies.sparsity import study as sparsity_study
from evonas.studies.sparsity.material import load_material
from evonas.studies.sparsity.study_report import sparsity_report
from evonas.studies.stability import pretrained
from evonas.studies.stability import study as stability_study
from evonas.studies.stability.pretrained_report import pretrained_report
from evonas.studies.stability.report import stability_report
from evonas.studies.steering import study as steering_study
from evonas.studies.steering.report import draw_samples, steering_report
from evonas.studies.study import Study


def _stability(study: stability_study.StabilityStudyConfig, _folder: Path) -> Study[Any]:
    """Learning-rate sweeps."""
    study = _with_layers(study)
    runs = stability_study.stability_runs(study)

    def report(outcomes: Mapping[stability_study.StabilityRun, Outcome]) -> Report:
        return stability_report(study.name, {cell: outcomes[run] for cell, run in runs.items()})

    return Study(study.name, study.execution, stability_study.stability_jobs(runs), report)


def _with_layers(study: stability_study.StabilityStudyConfig) -> stability_study.StabilityStudyConfig:
    """The study with RUN#rank and .json files as text forms, which is what records of runs hold."""
    interventions = []
    for intervention in study.interventions:
        layer = intervention.run.get("layer", "")
        if isinstance(layer, str) and ("#" in layer or layer.endswith(".json")):
            text = find_layer(layer).genome.active().to_text()
            intervention = intervention.model_copy(update={"run": {**intervention.run, "layer": text}})
        interventions.append(intervention)
    return study.model_copy(update={"interventions": tuple(interventions)})


def _hypernet(study: hypernet_study.HypernetStudyConfig, _folder: Path) -> Study[Any]:
    """Convergence of hypernetworks."""
    jobs = hypernet_study.hypernet_jobs(hypernet_study.hypernet_runs(study))
    return Study(study.name, study.execution, jobs, partial(hypernet_report, study.name))


def _steer(study: steering_study.SteeringStudyConfig, folder: Path) -> Study[Any]:
    """Steering methods at equal cost."""
    measurements = steering_study.steering_runs(study, folder)

    def report(outcomes: Mapping[steering_study.SteeringJob, Outcome]) -> Report:
        images = draw_samples(study, measurements, folder)
        return steering_report(study.name, study.rises, measurements, outcomes, images)

    return Study(study.name, study.execution, steering_study.steering_jobs(study, measurements, folder), report)


def _sparsify(study: sparsity_study.SparsityStudyConfig, folder: Path) -> Study[Any]:
    """What dropping inputs of linear layers costs and saves."""
    material = load_material(study)
    grid = material.grid(study)

    def report(outcomes: Mapping[sparsity_study.Measurement, Outcome]) -> Report:
        return sparsity_report(study.name, grid, outcomes, material.facts(study))

    return Study(study.name, study.execution, measuring.sparsity_jobs(study, grid, folder), report)


COMPONENTS = StudyKind(ComponentsConfig, components_study, "seeds")


def _pretrained(study: pretrained.PretrainedStabilityConfig, _folder: Path) -> Study[Any]:
    """A few hundred steps of a user's model."""
    runs = pretrained.pretrained_runs(study)
    report = partial(pretrained_report, study.name, runs)
    return Study(study.name, study.execution, pretrained.pretrained_jobs(runs), report)


PRETRAINED = StudyKind(
    pretrained.PretrainedStabilityConfig, _pretrained, "seeds", "loading the model and cutting the text into windows"
)
STABILITY = StudyKind(stability_study.StabilityStudyConfig, _stability, "grid.seeds")
HYPERNET = StudyKind(hypernet_study.HypernetStudyConfig, _hypernet, "grid.seeds")
STEERING = StudyKind(steering_study.SteeringStudyConfig, _steer, "seeds", "loading what is steered and its samples")
SPARSITY = StudyKind(
    sparsity_study.SparsityStudyConfig, _sparsify, preparation="loading the model, and cutting the texts into windows"
)
