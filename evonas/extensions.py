"""Modules of users that add to the tables of evonas: those that a search names, and those of installed packages.

Nothing is imported by reading a layer, an archive or a cache: only by naming the module in a search or study file or on
the command line, or by installing a package with an entry point in the group ``evonas.extensions``.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

from evonas.errors import InputError, first_line
from evonas.registry import Registry

GROUP = "evonas.extensions"


@dataclass(frozen=True, slots=True)
class Extension:
    """A module that was imported for what it registers.

    Attributes:
        name: of the module, with dots.
    """

    name: str


EXTENSIONS = Registry[Extension]("extension", ())


def load_extensions(names: Iterable[str] = ()) -> None:
    """Import the extensions of installed packages, then those that are named; each once.

    Args:
        names: of modules, on Python's path or in the current folder.

    Raises:
        InputError: a module cannot be imported, or what it registers is refused.
    """
    installed = sorted(point.module for point in entry_points(group=GROUP))
    for name in (*installed, *names):
        if name not in EXTENSIONS:
            where = f"entry point in {GROUP}" if name in installed else "extensions"
            import_own(name, f"{where}: {name}")
            EXTENSIONS.register(Extension(name))


def import_own(name: str, where: str) -> ModuleType:
    """Import a user's module, from Python's path or else from the current folder.

    Args:
        name: of the module.
        where: is put into errors.

    Raises:
        InputError: it cannot be imported.
    """
    if _is_missing(name) and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last, so that it hides nothing; worker processes have the same path
        importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except InputError as error:
        raise error.at(where) from None
    except ImportError as error:
        remedy = "install the package that holds it, or put its folder on PYTHONPATH"
        raise InputError(where, f"cannot be imported ({error})", remedy=remedy) from error
    except Exception as error:  # whatever a user's module raises
        raise InputError(where, f"cannot be imported ({type(error).__name__}: {first_line(error)})") from error


def _is_missing(name: str) -> bool:
    top = name.partition(".")[0]
    return top not in sys.modules and importlib.util.find_spec(top) is None


def source_files(name: str) -> list[Path]:
    """The files in which an imported module is written, with all of the package that it is part of."""
    top = sys.modules[name.partition(".")[0]]
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    if folders:
        return sorted(file for folder in folders for file in folder.rglob("*.py"))
    return [Path(top.__file__)] if top.__file__ else []
