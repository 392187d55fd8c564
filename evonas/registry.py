"""Tables of named records that users may add to: primitives, index sets, objectives, protocols, steering methods.

A table is the one kind of state that a process shares. What is in it never changes and never goes away again, so that
the meaning of a name does not depend on when it is looked up.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from types import FunctionType
from typing import Any, Generic, Protocol, TypeVar

from evonas.errors import InputError, listed

LOAD = 'if an extension defines it, name that in the search file, extensions = ["MODULE"], or with --extension MODULE'


class UnknownNameError(InputError):
    """A name that is in no table: it is misspelt, or of an extension that is not loaded."""


class Named(Protocol):
    """A frozen dataclass with a name."""

    @property
    def name(self) -> str:
        """What it is called."""


Record = TypeVar("Record", bound=Named)


class Registry(Mapping[str, Record], Generic[Record]):
    """Records by name, in the order in which they were registered.

    Args:
        kind: what a record is called in errors, e.g. ``"primitive"``.
        records: those of evonas itself.
        check: refuses a record of a user that cannot work, by an ``InputError`` of its own.
    """

    def __init__(self, kind: str, records: Iterable[Record], check: Callable[[Record], None] = lambda _: None) -> None:
        self._kind, self._check = kind, check
        self._records = {record.name: record for record in records}
        self.builtin = tuple(self._records)  # names of evonas itself, which no extension adds to

    def __getitem__(self, name: str) -> Record:
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def register(self, record: Record) -> Record:
        """Add a record; one that is there already may come again.

        Raises:
            InputError: another record has the name, or this one cannot work.
        """
        known = self._records.get(record.name)
        if known is None:
            self._check(record)
            self._records[record.name] = record
        elif not _same(known, record):
            found = f"another {self._kind} has this name already"
            raise InputError(f"{self._kind} {record.name!r}", found, remedy="give it a name of its own")
        return self._records[record.name]

    def find(self, name: str, where: str) -> Record:
        """The record that is named at ``where``.

        Raises:
            InputError: there is none.
        """
        if name not in self._records:
            raise self.unknown(name, where, self._records)
        return self._records[name]

    def unknown(self, name: str, where: str, accepted: Iterable[str]) -> UnknownNameError:
        """The error that says that no accepted record has the name, with one that is written nearly so."""
        names = list(accepted)
        close = difflib.get_close_matches(name, names, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else LOAD
        return UnknownNameError(where, f"unknown {self._kind} {name!r}", accepted=listed(names), remedy=remedy)


def _same(one: Any, other: Any) -> bool:
    """Whether two records are equal, where a function equals one that was made of the same code once more.

    As in a cell of a notebook that is run again, or a module that is read again.
    """
    if isinstance(one, FunctionType) and isinstance(other, FunctionType):
        return _parts(one) == _parts(other)
    if type(one) is type(other) and hasattr(one, "__dataclass_fields__"):
        return all(_same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return bool(one == other)


def _parts(function: FunctionType) -> tuple[Any, ...]:
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return function.__module__, function.__code__, function.__defaults__, function.__kwdefaults__, cells
