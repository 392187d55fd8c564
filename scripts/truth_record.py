"""The trainings of ``truth.py`` on disk, and how records are put together.

python scripts/truth_record.py FOLDER... --out OUT

OUT/trainings/NETWORK.jsonl has a line per training. What many lines have in common is in OUT/conditions.json, under a
short hash: the layer's key and text, and all else that a training was made from but for its seed and learning rate.
Likelihoods are in the order of the marks there. Before, all trainings were in FOLDER/trainings.jsonl, each line with
everything; such a file is read as well, and nothing is appended to it.

The command writes the trainings of all FOLDERs into OUT, reads them back, and fails if one of them is not the same.
"""

import argparse
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evonas.files import write_text

Row = dict[str, Any]
Parts = dict[str, Row]

MARKS = (25, 50, 75, 100, 200, 300, 400, 600, 800)  # steps at which the likelihood is noted, as searches do at rungs
_LAYER = ("layer", "text")
_CODE = ("commit", "torch")


def marks_of(steps: int) -> list[int]:
    """The marks of a training, its end among them."""
    return [*(mark for mark in MARKS if mark < steps), steps]


def key_of(made_from: Row) -> str:
    """Equal for trainings that were made from the same."""
    return json.dumps(made_from, sort_keys=True)


class Record:
    """The trainings in a folder, by what they were made from.

    Raises:
        ValueError: a line refers to something that conditions.json lacks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = _parts(folder)
        self._appended: set[Path] = set()
        lines = {path: _whole_lines(path) for path in sorted((folder / "trainings").glob("*.jsonl"))}
        rows = [*map(json.loads, _whole_lines(folder / "trainings.jsonl"))]
        rows += [joined(json.loads(line), self._parts) for found in lines.values() for line in found]
        self._known = {key_of(row["made_from"]): row for row in rows}

    def find(self, made_from: Row) -> Row | None:
        """What is recorded of a training."""
        return self._known.get(key_of(made_from))

    def rows(self) -> list[Row]:
        """All trainings, each with everything."""
        return list(self._known.values())

    def add(self, row: Row) -> None:
        """Record a training; other processes may record others at the same time, each of a network of its own."""
        row = json.loads(json.dumps(row))  # marks are text, as in what is read
        line, parts = split(row)
        if parts.keys() - self._parts.keys():
            self._add_parts(parts)
        path = self._folder / "trainings" / f"{row['made_from']['network']}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            if path not in self._appended:
                _cut_half_line(path)
                self._appended.add(path)
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._known[key_of(row["made_from"])] = row

    def _add_parts(self, parts: Parts) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with locked(self._folder):
            self._parts = {**_parts(self._folder), **parts}
            entries = (f"{json.dumps(name)}: {json.dumps(part)}" for name, part in sorted(self._parts.items()))
            write_text(self._folder / "conditions.json", "{\n" + ",\n".join(entries) + "\n}\n")


def split(row: Row) -> tuple[Row, Parts]:
    """A training as a line, and what the line refers to, by its hash."""
    made, result = dict(row["made_from"]), {k: v for k, v in row.items() if k != "made_from" and k not in _CODE}
    layer = {name: made.pop(name) for name in _LAYER}
    seed, training = made.pop("seed"), dict(made.pop("training"))
    rate, marks = training.pop("learning_rate"), marks_of(training["steps"])
    condition = {**made, "training": training, "marks": marks, **{name: row[name] for name in _CODE}}
    likelihoods = result["likelihoods"]
    if list(likelihoods) != [str(mark) for mark in marks][: len(likelihoods)]:
        raise ValueError(f"likelihoods at {', '.join(likelihoods)}, expected the first of {marks}")
    result["likelihoods"] = list(likelihoods.values())
    refers = {"layer": _hash(layer), "condition": _hash(condition)}
    given = {name: value for name, value in result.items() if value is not None}
    return {**refers, "seed": seed, "rate": rate, **given}, {refers["layer"]: layer, refers["condition"]: condition}


def joined(line: Row, parts: Mapping[str, Row]) -> Row:
    """The training that ``split`` gave a line for."""
    line = dict(line)
    missing = [line[name] for name in ("layer", "condition") if line[name] not in parts]
    if missing:
        raise ValueError(f"conditions.json lacks {', '.join(missing)}")
    layer, condition = dict(parts[line.pop("layer")]), dict(parts[line.pop("condition")])
    code, marks = {name: condition.pop(name) for name in _CODE}, condition.pop("marks")
    training = {**condition.pop("training"), "learning_rate": line.pop("rate")}
    made = {**layer, **condition, "seed": line.pop("seed"), "training": training}
    likelihoods = dict(zip(map(str, marks), line.pop("likelihoods"), strict=False))
    missing_results = dict.fromkeys(("validation", "test", "error"))
    return {"made_from": made, **missing_results, **line, "likelihoods": likelihoods, **code}


def _hash(part: Row) -> str:
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:10]


def _parts(folder: Path) -> Parts:
    path = folder / "conditions.json"
    found: Parts = json.loads(path.read_text()) if path.exists() else {}
    return found


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file but for half a line at its end, which a killed process left."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def _cut_half_line(path: Path) -> None:
    whole = path.read_bytes()
    os.truncate(path, whole.rfind(b"\n") + 1)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """No other process is in this place for the folder at the same time."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def put_together(folders: Iterable[Path], out: Path) -> tuple[int, int]:
    """Write the trainings of all folders into one; how many they were, and the bytes of the longest line.

    Raises:
        ValueError: what is read back differs.
    """
    rows = {key_of(row["made_from"]): row for folder in folders for row in Record(folder).rows()}
    record = Record(out)
    for row in rows.values():
        if record.find(row["made_from"]) is None:
            record.add(row)
    again = {key_of(row["made_from"]): row for row in Record(out).rows()}
    different = [key for key, row in rows.items() if again.get(key) != row]
    if different:
        raise ValueError(f"{len(different)} of {len(rows)} trainings are not the same when read back")
    lines = [len(line) for path in (out / "trainings").glob("*.jsonl") for line in path.read_text().splitlines()]
    return len(rows), max(lines, default=0)


def main() -> None:
    """Put records together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    count, longest = put_together(given.folders, given.out)
    print(f"{count} trainings in {given.out}, the longest line has {longest} bytes; all are the same when read back")


if __name__ == "__main__":
    main()
