"""The search and study files that come with evonas, and how they are found by their names.

An installed package holds them below ``evonas/presets``. A checkout and an editable install have no such folder: there
they are the folders ``search_spaces`` and ``studies`` beside the package.
"""

import difflib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evonas.errors import InputError

PACKAGED = Path(__file__).parents[1] / "presets"
SEARCHES, STUDIES = "search_spaces", "studies"


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file of settings is for.

    Attributes:
        name: what such a file is called, e.g. ``"stability"``.
        noun: the same in a sentence, e.g. ``"a stability study"``.
        command: how it is run; ``{}`` stands for the file.
        key: a key at the top of the file that no kind further down in the table has.
    """

    name: str
    noun: str
    command: str
    key: str


SEARCH = FileKind("search", "a search", "evonas search {}", "tasks")
COMPARISON = FileKind("comparison", "a comparison of layers", "evonas evaluate LAYER... --settings {}", "tasks")
KINDS = {
    kind.name: kind
    for kind in (
        SEARCH,
        FileKind("certificate", "the settings of certificates", "evonas certify LAYER... --settings {}", "ladder"),
        COMPARISON,
        FileKind("components", "a study of components", "evonas components {}", "networks"),
        FileKind("pretrained", "a stability study of a pretrained model", "evonas stability {}", "pretrained"),
        FileKind("stability", "a stability study", "evonas stability {}", "interventions"),
        FileKind("hypernet", "a hypernetwork study", "evonas hypernet {}", "task"),
        FileKind("sparsity", "a sparsity study", "evonas sparsify {}", "model"),
        FileKind("steering", "a steering study", "evonas steer {}", "methods"),
    )
}


@dataclass(frozen=True, slots=True)
class Preset:
    """A file that comes with evonas.

    Attributes:
        name: that of the file, without ``.toml``.
        kind: what it is for, a key of ``KINDS``.
        description: the comment in the first line of the file.
        path: where it is.
    """

    name: str
    kind: str
    description: str
    path: Path

    @property
    def command(self) -> str:
        """What runs it."""
        return KINDS[self.kind].command.format(self.name)


def presets(*kinds: str) -> tuple[Preset, ...]:
    """The files that come with evonas: searches first, then studies; those of some kinds, or all if none is given."""
    return tuple(preset for preset in map(_read, _paths().values()) if not kinds or preset.kind in kinds)


def find_file(text: str | Path, *kinds: str) -> Path:
    """The file that a path names, or else the one that comes with evonas under this name.

    Args:
        text: a path or a name. A file that exists is taken, whatever its name.
        kinds: of the files that may be named, keys of ``KINDS``; none if only a path will do.

    Raises:
        InputError: there is no such file, or the name is that of a file of another kind.
    """
    path, shipped = Path(text), _paths().get(str(text))
    if not kinds or (path.exists() and (shipped is None or not path.is_dir())):
        return path
    if shipped is None:
        raise _missing(path, kinds)
    preset = _read(shipped)
    if preset.kind not in kinds:
        found = f"is {KINDS[preset.kind].noun}, not {KINDS[kinds[0]].noun}"
        raise InputError(preset.name, found, remedy=f"run it with: {preset.command}")
    return shipped


def kind_of(text: str | Path) -> str:
    """What a file of settings is for, a key of ``KINDS``; empty where it cannot be read or is for nothing."""
    path = Path(text) if Path(text).is_file() else _paths().get(str(text))
    try:
        return "" if path is None else _kind(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, StopIteration):
        return ""


def _paths() -> dict[str, Path]:
    root = PACKAGED if PACKAGED.is_dir() else PACKAGED.parents[1]
    files = (path for folder in (SEARCHES, STUDIES) for path in sorted((root / folder).glob("*.toml")))
    return {path.stem: path for path in files}


def _read(path: Path) -> Preset:
    text = path.read_text(encoding="utf-8")
    first = text.partition("\n")[0]
    return Preset(path.stem, _kind(path, text), first.lstrip("# "), path)


def _kind(path: Path, text: str) -> str:
    if path.parent.name == SEARCHES:
        return SEARCH.name
    keys = tomllib.loads(text)
    return next(kind.name for kind in KINDS.values() if kind is not SEARCH and kind.key in keys)


def _missing(path: Path, kinds: Sequence[str]) -> InputError:
    beside = sorted(file.name for file in path.parent.glob("*.toml")) if len(path.parts) > 1 else []
    if beside:
        return InputError(str(path), "no such file", remedy=f"{path.parent} holds {', '.join(beside)}")
    names = [preset.name for preset in presets(*kinds)]
    close = difflib.get_close_matches(path.stem.lower().replace("-", "_"), names, n=1)
    accepted = "the path of a .toml file" + (f", or a name that comes with evonas: {', '.join(names)}" if names else "")
    return InputError(
        str(path), "no such file", accepted=accepted, remedy=f"did you mean {close[0]!r}?" if close else ""
    )
