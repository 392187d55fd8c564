"""Settings as the verbs take them: with their extensions loaded, and held against those of a run."""

from collections.abc import Sequence
from pathlib import Path

from evonas import config
from evonas.errors import InputError
from evonas.extensions import load_extensions
from evonas.runs.folder import RunFolder


def load_with_extensions(path: Path, changes: Sequence[str] = ()) -> config.SearchConfig:
    """A search from its file, with its extensions loaded.

    Raises:
        InputError: as ``config.load_search`` and ``load_extensions``.
    """
    settings = config.load_search(path, changes)
    try:
        load_extensions(settings.extensions)
    except InputError as error:
        raise error.at(str(path)) from None
    return settings


def refuse_changes(
    settings: config.SearchConfig, folder: RunFolder, free: tuple[str, ...], where: str, remedy: str
) -> None:
    """Make sure that only some sections differ from those of the run; which images score may differ in any case."""
    recorded = folder.config()
    scoring = {"data": recorded.data.model_copy(update={"score_on": settings.data.score_on})}
    recorded = recorded.model_copy(update=scoring)  # a search refuses test images by itself
    for name in type(settings).model_fields:
        if name not in free and getattr(settings, name) != getattr(recorded, name):
            raise InputError(
                f"{where}: {name}",
                "differs from what the run was started with",
                accepted=f"that of {folder.config_file}; only {', '.join(free[:-1])} and {free[-1]} may change",
                remedy=remedy,
            )
