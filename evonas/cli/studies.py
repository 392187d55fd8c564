"""``evonas stability``, ``evonas hypernet`` and ``evonas steer``: studies, which are grids of runs."""

from typing import TYPE_CHECKING, Any

from evonas.cli.study_command import study_verb

if TYPE_CHECKING:
    from evonas.cli.study_run import StudyKind

RESUMED = "Finished runs are kept: after Ctrl-C the same command with --resume goes on."


def _stability() -> "StudyKind[Any]":
    from evonas.cli.study_kinds import STABILITY

    return STABILITY


def _hypernet() -> "StudyKind[Any]":
    from evonas.cli.study_kinds import HYPERNET

    return HYPERNET


def _steer() -> "StudyKind[Any]":
    from evonas.cli.study_kinds import STEERING

    return STEERING


stability = study_verb(
    "stability",
    "stability",
    _stability,
    f"""How sensitive small transformers are to their learning rate: sizes x learning rates x interventions x seeds.

    Example: [bold]evonas stability qk_layernorm --workers 2[/bold]

    {RESUMED}""",
)
hypernet = study_verb(
    "hypernet",
    "hypernet",
    _hypernet,
    f"""How fast hypernetworks learn: parametrizations x optimizers x learning rates x activations x norms x seeds.

    Example: [bold]evonas hypernet mip_digits --workers 2[/bold]

    {RESUMED}""",
)
steer = study_verb(
    "steer",
    "steering",
    _steer,
    f"""Steer a model's activations: methods x sparsities x neurons x strengths x seeds, scored with its price.

    Example: [bold]evonas steer steer_digits[/bold]

    Methods are compared where they cost the same. A model's files are only read: no code or pickle of theirs is run.

    {RESUMED}""",
)
