"""``evonas components``, ``evonas hypernet`` and ``evonas steer``: studies, which are grids of runs."""

from typing import TYPE_CHECKING, Any

from evonas.cli.study_command import study_verb

if TYPE_CHECKING:
    from evonas.cli.study_run import StudyKind


def _components() -> "StudyKind[Any]":
    from evonas.cli.study_kinds import COMPONENTS

    return COMPONENTS


def _hypernet() -> "StudyKind[Any]":
    from evonas.cli.study_kinds import HYPERNET

    return HYPERNET


def _steer() -> "StudyKind[Any]":
    from evonas.cli.study_kinds import STEERING

    return STEERING


components = study_verb(
    "components",
    "components",
    _components,
    """What components do to networks of several kinds: masks, steering, z-loss, qk-layernorm, hypernetworks.

    Example: [bold]evonas components components --workers 2[/bold]

    The table has a row for each component and a column for each network with a layer in it.""",
)
hypernet = study_verb(
    "hypernet",
    "hypernet",
    _hypernet,
    """How fast hypernetworks learn: parametrizations x optimizers x learning rates x activations x norms x seeds.

    Example: [bold]evonas hypernet mip_digits --workers 2[/bold]""",
)
steer = study_verb(
    "steer",
    "steering",
    _steer,
    """Steer a model's activations: methods x sparsities x neurons x strengths x seeds, with what that harms.

    Example: [bold]evonas steer steer_digits --workers 2[/bold]

    Methods are compared where they cost the same. The maps that they fit are kept in maps/ of the folder.

    A model's files are only read: no code or pickle of theirs is run.""",
)
