"""Tables whose cells keep their numbers until they are written: as Markdown, as CSV or on a terminal."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias, TypeVar

from evonas.errors import shown
from evonas.report.statistics import Interval, Summary, summary

Datum: TypeAlias = str | bool | int | float | Summary | Interval | None
T = TypeVar("T")
K = TypeVar("K")

FORM = "{:.4f}"
MISSING = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns.

    Attributes:
        columns: their names, each once.
        rows: a cell for each column; None is a value that is missing.
        title: a line that stands above.
        forms: by column, how its numbers are written, such as ``{:.1%}``. Without one whole numbers are written as they
            are, and others with four decimals.
        code: columns that Markdown sets as code, such as formulas.
        meanings: by column, a sentence that says what it holds, for those whose names do not say it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Datum, ...], ...]
    title: str = ""
    forms: Mapping[str, str] = field(default_factory=dict)
    code: tuple[str, ...] = ()
    meanings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        rows: Iterable[Mapping[str, Datum]],
        forms: Mapping[str, str] | None = None,
        *,
        title: str = "",
        code: tuple[str, ...] = (),
        meanings: Mapping[str, str] | None = None,
    ) -> Self:
        """A table of rows by column; a column that a row lacks is missing there."""
        rows = list(rows)
        columns = tuple(dict.fromkeys(name for row in rows for name in row))
        cells = tuple(tuple(row.get(name) for name in columns) for row in rows)
        return cls(columns, cells, title, forms or {}, code, meanings or {})

    def column(self, name: str) -> list[Datum]:
        """The cells under a name, from top to bottom."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]

    def by(self, *keys: str) -> dict[tuple[Datum, ...], Self]:
        """The rows that are the same under ``keys`` as tables of their own, in order of appearance."""
        places = [self.columns.index(key) for key in keys]
        groups = grouped(self.rows, lambda row: tuple(row[place] for place in places))
        return {key: replace(self, rows=tuple(rows)) for key, rows in groups.items()}

    def over_seeds(self, keys: Sequence[str], values: Sequence[str]) -> Self:
        """A row for each combination under ``keys``, with mean and deviation of each of ``values`` over its rows."""
        found = [
            dict(zip(keys, key, strict=True)) | {value: _mean(group.column(value)) for value in values}
            for key, group in self.by(*keys).items()
        ]
        return replace(self, columns=(*keys, *values), rows=tuple(tuple(row.values()) for row in found))

    def pivot(self, key: str, value: str) -> Self:
        """A column for each cell under ``key``, which holds what is under ``value``, and a row for all that is left."""
        rest = [name for name in self.columns if name not in (key, value)]
        rows = [
            dict(zip(rest, left, strict=True))
            | dict(zip(map(str, group.column(key)), group.column(value), strict=True))
            for left, group in self.by(*rest).items()
        ]
        return type(self).of(rows, self.forms, title=self.title, code=self.code, meanings=self.meanings)

    def without_constants(self, names: Sequence[str]) -> Self:
        """The table without those columns of ``names`` that say the same in all rows; the title says it instead.

        A cell that is empty or missing agrees with every other.
        """
        held = {name: {cell for cell in self.column(name) if cell not in (None, "")} for name in names if self.rows}
        same = {name: cells.pop() for name, cells in held.items() if len(cells) == 1}
        if not same:
            return self
        kept = [place for place, name in enumerate(self.columns) if name not in same]
        said = "All rows: " + ", ".join(f"{name} {written(cell)}" for name, cell in same.items()) + "."
        return replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
            title=f"{self.title} {said}".strip(),
        )

    def cells(self) -> list[list[str]]:
        """The rows as people read them."""
        forms = [self.forms.get(name, "") for name in self.columns]
        return [[written(datum, form) for datum, form in zip(row, forms, strict=True)] for row in self.rows]

    def explained(self) -> dict[str, str]:
        """By name, what the columns hold that the table has; nothing where there is no row."""
        return {name: self.meanings[name] for name in self.columns if name in self.meanings and self.rows}

    def markdown(self) -> str:
        """The title, the table and what its columns mean, without a last line's end; nothing where there is no row."""
        if not self.rows:
            return ""
        marks = [_code if name in self.code else markdown_text for name in self.columns]
        rows = [[mark(cell) for mark, cell in zip(marks, row, strict=True)] for row in self.cells()]
        names = [markdown_text(name) for name in self.columns]
        lines = [_line(names), "|" + "---|" * len(self.columns), *map(_line, rows)]
        below = [f"- {_code(name)}: {meaning}" for name, meaning in self.explained().items()]
        title = markdown_text(self.title)
        return "\n".join([*([title, ""] if title else []), *lines, *([""] if below else []), *below])

    def csv(self) -> str:
        """The table with all digits; a mean and its deviation, or bounds, have columns of their own."""
        fields = [_fields(name, self.column(name)) for name in self.columns]
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(name for parts in fields for name in parts)
        for row in self.rows:
            writer.writerow(
                _part(cell, each) for cell, parts in zip(row, fields, strict=True) for each in parts.values()
            )
        return buffer.getvalue()


def written(datum: Datum, form: str = "") -> str:
    """A cell as people read it, such as ``0.3067 ±0.0081 (1 failed)`` or ``+2.93 [+1.40, +4.50]``."""
    match datum:
        case None:
            return MISSING
        case str():
            return datum
        case bool():
            return "yes" if datum else "no"
        case Summary(mean, std, _, failed):
            spread = "" if std is None else f" \u00b1{written(std, form.replace('+', ''))}"
            return f"{written(mean, form)}{spread}" + (f" ({failed} failed)" if failed else "")
        case Interval(mean, low, high):
            known = low is not None and high is not None
            return written(mean, form) + (f" [{written(low, form)}, {written(high, form)}]" if known else "")
        case int() if not form:
            return str(datum)
    return (form or FORM).format(datum).replace("%", " %")


def markdown_text(text: str) -> str:
    """A text for people in a line of Markdown: nothing in it becomes a tag, a link or a picture."""
    line = shown(" ".join(text.splitlines()))
    return line.replace("<", "&lt;").replace("](", "]\\(").replace("][", "]\\[").replace("`", "\\`")


def _code(text: str) -> str:
    """A text as code; one with backticks stands between two of them."""
    line = shown(" ".join(text.splitlines()))
    return f"`` {line.replace('``', '` `')} ``" if "`" in line else f"`{line}`"


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items of one key together, in order of appearance."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _mean(cells: Sequence[Datum]) -> Datum:
    """Over the cells that are numbers; those that are not failed."""
    numbers = [float(cell) for cell in cells if isinstance(cell, int | float)]
    failed = len(cells) - len(numbers)
    return replace(summary(numbers), failed=failed) if numbers else f"({failed} failed)"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _fields(name: str, cells: Sequence[Datum]) -> dict[str, str]:
    """The columns of a file that a column becomes, each with the attribute of a cell that it holds."""
    parts = {Summary: ("std", "failed"), Interval: ("low", "high")}
    kinds = [kind for kind in parts if any(isinstance(cell, kind) for cell in cells)]
    return {name: "mean"} | {f"{name} {what}": what for kind in kinds for what in parts[kind]}


def _part(cell: Datum, attribute: str) -> object:
    """What a field of a file says of a cell; of a text or a number that it is itself."""
    if isinstance(cell, Summary | Interval):
        return getattr(cell, attribute, None)
    return cell if attribute == "mean" else None
