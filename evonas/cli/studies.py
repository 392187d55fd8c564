"""``evonas stability``, ``evonas hypernet`` and ``evonas steer``: studies, which are grids of runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evonas.cli.study_command import Shown, add_study
from evonas.runs.store import Outcome
from evonas.search.named import find_layer
from evonas.studies.hypernet import results as hypernet_results
from evonas.studies.hypernet import settings as hypernet_settings
from evonas.studies.hypernet import show as hypernet_show
from evonas.studies.hypernet import study as hypernet_study
from evonas.studies.stability import show as stability_show
from evonas.studies.stability import study as stability_study
from evonas.studies.stability import sweeps
from evonas.studies.steering import results as steering_results
from evonas.studies.steering import show as steering_show
from evonas.studies.steering import study as steering_study
from evonas.studies.study import Study

RESUMED = "Finished runs are kept: after Ctrl-C the same command with --resume goes on."


def stability(study: stability_study.StudyConfig, _folder: Path) -> Study[Any]:
    """Learning-rate sweeps."""
    study = _with_layers(study)
    pieces = stability_study.pieces_of(study)

    def report(found: Mapping[stability_study.Piece, Outcome], folder: Path) -> Shown:
        outcomes = {cell: found[piece] for cell, piece in pieces.items()}
        swept = sweeps.sweeps_of(outcomes)
        files = stability_show.save_study(study.name, outcomes, swept, folder)
        rows = [stability_show.table_cells(sweep) for sweep in swept]
        return Shown(stability_show.COLUMNS, rows, files, sweeps.study_json(swept))

    return Study(study.name, study.execution, stability_study.jobs_of(pieces), report)


def _with_layers(study: stability_study.StudyConfig) -> stability_study.StudyConfig:
    """The study with RUN#rank and .json files as text forms, which is what records of runs hold."""
    interventions = []
    for intervention in study.interventions:
        layer = intervention.run.get("layer", "")
        if isinstance(layer, str) and ("#" in layer or layer.endswith(".json")):
            text = find_layer(layer).genome.active().to_text()
            intervention = intervention.model_copy(update={"run": {**intervention.run, "layer": text}})
        interventions.append(intervention)
    return study.model_copy(update={"interventions": tuple(interventions)})


def hypernet(study: hypernet_study.StudyConfig, _folder: Path) -> Study[Any]:
    """Convergence of hypernetworks."""
    pieces = hypernet_study.pieces_of(study)

    def report(outcomes: Mapping[hypernet_settings.Piece, Outcome], folder: Path) -> Shown:
        groups = hypernet_results.groups_of(outcomes)
        files = hypernet_show.save_study(study.name, outcomes, groups, folder)
        rows = [hypernet_show.table_cells(group, groups) for group in groups]
        return Shown(hypernet_show.COLUMNS, rows, files, hypernet_results.study_json(groups))

    return Study(study.name, study.execution, hypernet_study.jobs_of(pieces), report)


def steer(study: steering_study.StudyConfig, folder: Path) -> Study[Any]:
    """Steering methods at matched price."""
    pieces = steering_study.pieces_of(study, folder)

    def report(outcomes: Mapping[steering_study.Piece, Outcome], folder: Path) -> Shown:
        groups = steering_results.groups_of(pieces, outcomes)
        files = steering_show.save_study(study, pieces, outcomes, groups, folder)
        rows = [steering_show.table_cells(group, study.rises) for group in groups]
        data = steering_results.study_json(groups, study.rises)
        return Shown(steering_show.columns(study.rises), rows, files, data)

    return Study(study.name, study.execution, steering_study.jobs_of(study, pieces, folder), report)


add_study(
    "stability",
    stability_study.StudyConfig,
    stability,
    f"""How sensitive small transformers are to their learning rate: sizes x learning rates x interventions x seeds.

    Example: [bold]evonas stability studies/qk_layernorm.toml --workers 2[/bold]

    {RESUMED}""",
)
add_study(
    "hypernet",
    hypernet_study.StudyConfig,
    hypernet,
    f"""How fast hypernetworks learn: parametrizations x optimizers x learning rates x activations x norms x seeds.

    Example: [bold]evonas hypernet studies/mip_digits.toml --workers 2[/bold]

    {RESUMED}""",
)
add_study(
    "steer",
    steering_study.StudyConfig,
    steer,
    f"""Steer a model's activations: methods x sparsities x neurons x strengths x seeds, scored with its price.

    Example: [bold]evonas steer studies/steer_digits.toml[/bold]

    Methods are compared where they cost the same. A model's files are only read: no code or pickle of theirs is run.

    {RESUMED}""",
)
