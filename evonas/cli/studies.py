"""``evonas components`` and ``evonas hypernet``: studies, which are grids of runs."""

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
