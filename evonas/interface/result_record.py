"""What a page shows of a study, an evaluation, a reranking or a certificate, collected from its folder."""

import base64
import csv
import io
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from evonas.config.section import read_toml
from evonas.errors import InputError, first_line
from evonas.interface.page_data import FoundLayer, described, recorded_environment
from evonas.interface.result_kinds import OTHER, RERANKING, kind_of
from evonas.limits import LARGEST_RECORD, LARGEST_SETTINGS
from evonas.reading import decoded, parse_json, read_given, read_regular
from evonas.report.page.charts import Axes, Chart
from evonas.report.page.markdown import blocks

STEMS = ("results", "certificate", "rerank")  # what reports are called; that of a reranking lies in best/
PICTURES = 2**25  # bytes of pictures in a page
EPS = 1e-5  # of layers whose results do not say it
_PNG = b"\x89PNG\r\n\x1a\n"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
Json = dict[str, Any]
Column = Sequence[str | float | None]
Columns = Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """All that a page needs of one result.

    Attributes:
        folder: where it is.
        noun: what it is, such as ``evaluation``.
        text: the report as blocks, its title first.
        charts: what is drawn of it, but for its runs.
        runs: the values of each column of the table of its runs; empty if it has none.
        together: columns that differ among runs, joined to one where they tell lines or panels of a chart apart.
        axes: how the chart of the runs begins.
        layers: those it is about.
        eps: what they are computed with.
        pictures: PNG files, by name.
        left_out: pictures that the page has no room for.
        environment: hardware and versions, by name.
        config: the text of its settings.
    """

    folder: Path
    noun: str
    text: Sequence[list[Any]]
    charts: Sequence[Chart]
    runs: Columns
    together: Columns
    axes: Axes
    layers: Sequence[FoundLayer]
    eps: float
    pictures: Mapping[str, bytes]
    left_out: Sequence[str]
    environment: Mapping[str, str]
    config: str

    def as_json(self) -> Json:
        """What the scripts of a page read."""
        return {
            "folder": str(self.folder),
            "noun": self.noun,
            "text": self.text,
            "charts": [chart.as_json() for chart in self.charts],
            "runs": self.runs,
            "together": self.together,
            "axes": asdict(self.axes),
            "layers": [_layer(each) for each in self.layers],
            "eps": self.eps,
            "pictures": [[name, base64.b64encode(content).decode()] for name, content in self.pictures.items()],
            "left_out": self.left_out,
            "environment": dict(self.environment),
            "config": self.config,
            "commands": _commands(self.folder, self.noun, self.environment.get("command", "")),
        }


def find_report(folder: Path) -> Path | None:
    """The JSON file of the report in a folder; None if it holds none."""
    places = (*(folder / f"{stem}.json" for stem in STEMS), folder / "best" / "rerank.json")
    return next((file for file in places if file.is_file()), None)


def read_result(folder: Path, report: Path) -> ResultRecord:
    """Collect what a page shows of a report.

    Args:
        folder: of the run.
        report: its JSON file; the text and the tables lie beside it, under its name.

    Raises:
        InputError: a file cannot be read or is not what evonas writes, or a layer needs an extension that is not
            loaded.
    """
    data = parse_json(read_given(report, largest=LARGEST_RECORD), str(report))
    text = report.with_suffix(".md")
    settings = read_toml(folder / "config.toml") if (folder / "config.toml").exists() else {}
    kind = kind_of(data) if isinstance(data, dict) else OTHER
    if kind is OTHER and not text.exists():
        raise InputError(str(report), "is no report of evonas, or lacks the text beside it", accepted=text.name)
    said = decoded(read_given(text, largest=LARGEST_RECORD), str(text)) if text.exists() else f"# {folder.name}"
    try:
        charts, layers = tuple(kind.charts(data)), tuple(kind.layers(data, settings))
        eps = _eps(data)
    except InputError as error:
        raise error.at(str(report)) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        found = f"is not what evonas writes ({type(error).__name__}: {first_line(error)})"
        raise InputError(str(report), found, remedy="make it again: the same command with --resume") from None
    table = report.with_suffix(".csv")
    runs, axes = _table(table) if table.is_file() else {}, kind.axes
    together: Columns = {}
    if runs:
        (line, lines), (panel, panels) = (_together(runs, names) for names in (axes.line, axes.panel))
        together = {name: values for name, values in ((line, lines), (panel, panels)) if name and name not in runs}
        axes = replace(axes, line=(line,), panel=(panel,))
    pictures, left_out = _pictures(report.parent)
    return ResultRecord(
        folder=folder,
        noun=kind.noun,
        text=blocks(said),
        charts=charts,
        runs=runs,
        together=together,
        axes=axes,
        layers=layers,
        eps=eps,
        pictures=pictures,
        left_out=left_out,
        environment=recorded_environment(folder),
        config=_config(folder),
    )


def _layer(layer: FoundLayer) -> Json:
    """What a page needs of a layer itself, and what is known of it."""
    genome = layer.genome.active()
    return {
        **described(genome, genome.formula()),
        "id": layer.name,
        "kind": "baseline" if layer.baseline else "layer",
        "score": layer.score,
        "candidate": None if layer.candidate is None else str(layer.candidate),
        "facts": [[name, fact] for name, fact in (layer.facts or {}).items()],
    }


def _eps(data: Any) -> float:
    """That of the first column of an evaluation, or of the settings."""
    if not isinstance(data, dict):
        return EPS
    columns = [data["settings"]] if isinstance(data.get("settings"), dict) else list(data.get("columns", {}).values())
    found = [column["layer"]["eps"] for column in columns[:1] if isinstance(column.get("layer"), dict)]
    return float(found[0]) if found else EPS


def _table(file: Path) -> Columns:
    """A table of comma-separated values, by column; those of numbers hold numbers, and None where there is none."""
    text = decoded(read_given(file, largest=LARGEST_RECORD), str(file))
    try:
        heads, *rows = csv.reader(io.StringIO(text), strict=True)
    except (csv.Error, ValueError) as error:
        raise InputError(str(file), f"is no table of comma-separated values ({first_line(error)})") from None
    if len(set(heads)) != len(heads) or any(len(row) != len(heads) for row in rows):
        raise InputError(str(file), "is no table of comma-separated values (rows of several lengths)")
    return {head: _values([row[place] for row in rows]) for place, head in enumerate(heads)}


def _together(runs: Columns, columns: Sequence[str]) -> tuple[str, Column]:
    """The columns that differ among runs as one: its name, and in words what each run has there."""
    names = [name for name in columns if len(set(runs.get(name, ()))) > 1]
    if len(names) < 2:
        return "".join(names), ()

    def word(name: str, value: str | float | None) -> str:
        if isinstance(value, float):
            return f"{name} {value:g}"
        return {"True": name, "False": "", None: ""}.get(value, str(value))

    size = len(runs[names[0]])
    words = (filter(None, (word(name, runs[name][place]) for name in names)) for place in range(size))
    return ", ".join(names), [", ".join(each) for each in words]


def _values(cells: Sequence[str]) -> Column:
    said = [cell for cell in cells if cell]
    if not said or not all(_NUMBER.fullmatch(cell) or cell in ("nan", "inf", "-inf") for cell in said):
        return list(cells)
    numbers = [float(cell) if cell else None for cell in cells]
    return [number if number is not None and isfinite(number) else None for number in numbers]


def _pictures(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The PNG files of a report, and the names of those beyond what a page may hold; links are not followed."""
    found: dict[str, bytes] = {}
    left_out, room = [], PICTURES
    for file in (*sorted(folder.glob("*.png")), *sorted((folder / "pictures").rglob("*.png"))):
        name = str(file.relative_to(folder).with_suffix(""))
        try:
            content = read_regular(file, largest=room, follow=False)
        except (InputError, OSError):
            left_out.append(name)
            continue
        if content.startswith(_PNG):
            room -= len(content)
            found[name] = content
        else:
            left_out.append(name)
    return found, left_out


def _config(folder: Path) -> str:
    file = folder / "config.toml"
    content = read_given(file, largest=LARGEST_SETTINGS) if file.exists() else b""
    return content.decode("utf-8", errors="replace")


def _commands(folder: Path, noun: str, begun: str) -> list[list[str]]:
    """How it was made, and how it is gone on with and made again elsewhere; nothing where that is not known."""
    if noun == RERANKING:  # in the folder of a search, whose command is the one that is recorded
        search = [["the search was started by", begun]] if begun else []
        return [*search, ["do it again", f"evonas rerank {shlex.quote(str(folder))}"]]
    if not begun:
        return []
    try:
        words = shlex.split(begun)
    except ValueError:
        return [["was made by", begun]]
    kept = [Path(word).name for word in words[:1]]
    for word in words[1:]:
        if kept and kept[-1] == "--run":
            kept.pop()
        elif word not in ("--resume", "--force") and not word.startswith("--run="):
            kept.append(word)
    return [
        ["was made by", begun],
        ["go on with it", shlex.join([*kept, "--run", str(folder), "--resume"])],
        ["do it again", shlex.join([*kept, "--run", f"{folder}-again"])],
    ]
