"""Files that settings name, carried to machines that do not have them.

The driver puts each file into Ray's object store once. A worker that finds no file of that size at the path in its
settings writes it to the temporary folder of its machine, once for all workers there, and reads that.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from evonas.files import write_whole

Settings = TypeVar("Settings")
KEYS = ("path", "file")  # of settings that name a file


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the object store."""

    digest: str
    size: int
    content: Any  # a reference to its bytes


Shipped = Mapping[str, Stored]


def ship(ray: Any, settings: Any, known: dict[str, Stored]) -> Shipped:
    """Put every file that settings name into the object store, unless it is there.

    Args:
        ray: the module.
        settings: a section or a tuple with sections; whatever else has none.
        known: the files that are there, by path; it grows.
    """
    paths = _paths(settings)
    for path in paths:
        if path not in known:
            content = Path(path).read_bytes()
            known[path] = Stored(hashlib.sha256(content).hexdigest(), len(content), ray.put(content))
    return {path: known[path] for path in paths}


def localized(settings: Settings, files: Shipped) -> Settings:
    """The same settings with paths that can be read on this machine."""
    moved = {path: local for path, stored in files.items() if (local := _local(path, stored)) != path}
    return _replaced(settings, moved) if moved else settings


def _paths(settings: Any) -> list[str]:
    found: list[str] = []
    if isinstance(settings, tuple):
        for part in settings:
            found += _paths(part)
    elif isinstance(settings, BaseModel):
        for key in type(settings).model_fields:
            value = getattr(settings, key)
            if key in KEYS and isinstance(value, str):
                found += [value] if value and Path(value).is_file() else []
            else:
                found += _paths(value)
    return list(dict.fromkeys(found))


def _replaced(settings: Any, moved: Mapping[str, str]) -> Any:
    if isinstance(settings, tuple):
        return tuple(_replaced(part, moved) for part in settings)
    if not isinstance(settings, BaseModel):
        return settings
    changed = {}
    for key in type(settings).model_fields:
        value = getattr(settings, key)
        changed[key] = moved.get(value, value) if key in KEYS and isinstance(value, str) else _replaced(value, moved)
    return settings.model_copy(update=changed)


def _local(path: str, stored: Stored) -> str:
    there = Path(path)
    if there.is_file() and there.stat().st_size == stored.size:
        return path
    here = Path(tempfile.gettempdir()) / "evonas-files" / stored.digest / there.name
    if not here.is_file():
        import ray

        write_whole(here, lambda unfinished: unfinished.write_bytes(ray.get(stored.content)))
    return str(here)
