"""What ``evonas evaluate`` reads: the parts of a search file that say what is trained, and on what."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evonas.config.presets import find_file
from evonas.config.search import SearchConfig
from evonas.config.section import parse_changed, parse_section, read_toml
from evonas.errors import InputError

SEARCHES = ("space", "evolution", "budget")  # a file with one of these says how to search
UNREAD = (*SEARCHES, "protocols", "rungs", "objectives", "racing", "rerank")
CACHE = "execution.cache"

_READ = ", ".join(name for name in SearchConfig.model_fields if name not in UNREAD)
_DESK = {
    "name": "matrix",
    "baselines": ["bn-relu"],
    "layer": {"groups": 4},
    "tasks": [{"architecture": "preact_resnet"}],
}


@dataclass(frozen=True, slots=True)
class ComparisonSettings:
    """The settings of a comparison.

    Attributes:
        config: with the defaults in the place of what a comparison does not read.
        unread: the parts of the file, a search, that were left out, by their keys.
    """

    config: SearchConfig
    unread: tuple[str, ...] = ()


def load_comparison(path: str | Path | None, overrides: Sequence[str] = ()) -> ComparisonSettings:
    """Read the settings of a comparison from a file of its own, or from that of a search, with ``a.b=c`` overrides.

    Args:
        path: the file, or the name of one that comes with evonas; None for settings of desk size.
        overrides: may set only what is read.

    Raises:
        InputError: as ``load_as``; or a file that is no search, or an override, sets what a comparison does not read.
    """
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key.partition(".")[0] in UNREAD or key == CACHE:
            raise _unread(f"--set {override}")
    if path is None:
        return ComparisonSettings(parse_changed(SearchConfig, _DESK, overrides, "defaults"))
    data = read_toml(find_file(path, "comparison", "search"))
    whole = parse_section(SearchConfig, data, str(path))
    unread = _set_in_vain(whole)
    if unread and not whole.model_fields_set & set(SEARCHES):
        raise _unread(f"{path}: {unread[0]}")
    data = {key: value for key, value in data.items() if key not in UNREAD}
    if "execution" in data:
        data["execution"].pop("cache", None)
    return ComparisonSettings(parse_changed(SearchConfig, data, overrides, str(path)), unread)


def _set_in_vain(config: SearchConfig) -> tuple[str, ...]:
    """Keys of what is not as by default, and does not count in a comparison."""
    fields = type(config).model_fields
    tables = [name for name in fields if name in UNREAD and getattr(config, name) != fields[name].default]
    return (*tables, CACHE) if config.execution.cache else tuple(tables)


def _unread(where: str) -> InputError:
    return InputError(where, "evonas evaluate does not read it", accepted=_READ, remedy="leave it out")
