"""Which code of users a file of settings names: it is imported, and so run, only where somebody trusts it.

A folder of results or a file of settings may come from anybody. A module that was loaded by name already, as by
``evonas --extension MODULE`` or as an extension of an installed package, needs no word of trust.
"""

from collections.abc import Iterator

from evonas.config.section import Section
from evonas.config.task import TaskConfig
from evonas.errors import InputError, listed
from evonas.extensions import EXTENSIONS


def named_code(settings: Section, place: str = "") -> Iterator[tuple[str, str]]:
    """The keys that name functions and modules of users, and those; what is loaded already is left out."""
    for key, value in settings:
        where = f"{place}{key}"
        parts = value if isinstance(value, tuple) else (value,)
        for number, part in enumerate(parts):
            if isinstance(part, Section):
                yield from named_code(part, f"{where}.{number}." if isinstance(value, tuple) else f"{where}.")
            elif _names_code(settings, key) and part and part.partition(":")[0] not in EXTENSIONS:
                yield where, part


def _names_code(settings: Section, key: str) -> bool:
    return key == "extensions" or (key == "task" and isinstance(settings, TaskConfig))


def require_trust(settings: Section, where: str, *, trusted: bool, argument: str = "--trust") -> None:
    """Refuse settings that name code of users, unless it is trusted. Nothing is imported here.

    Args:
        settings: what a file says.
        where: names the file in errors.
        trusted: whether the code may be run.
        argument: what says so, in errors.

    Raises:
        InputError: it is not trusted.
    """
    found = {code: key for key, code in named_code(settings)}
    if found and not trusted:
        code = listed(f"{code} ({key})" for code, key in found.items())
        remedy = f"add {argument} if you trust it: it can do whatever you can do"
        raise InputError(where, f"names Python code that would be run: {code}", remedy=remedy)
