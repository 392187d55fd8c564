"""Malformed inputs of the kinds that only some parsers read: settings, archives, images, saved maps."""

import io
import json
import random
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fuzz_mutators as mutators
import fuzz_samples as samples
from fuzz_mutators import Cases, by_bytes, by_structure, by_tokens, by_words, mixed, toml_of

from evonas.config import section

Read = Callable[[bytes, Path], object]


def contents_of(folder: str, name: str) -> list[bytes]:
    """What the files of a folder hold."""
    return [path.read_bytes() for path in sorted((samples.ROOT / folder).glob(name))]


def toml_cases(folder: str, name: str) -> Cases:
    """Files of settings, changed by their bytes and by their structure."""
    contents = contents_of(folder, name)
    data = [section.parse_toml(content.decode(), "") for content in contents]
    return mixed(by_bytes(contents), by_structure(data, toml_of), by_structure(data, toml_of))


def change_cases(rng: random.Random) -> bytes:
    """Changes such as ``a.b=c``."""
    keys = ("seed", "name", "tasks.0.name", "tasks.0.depth.0", "tasks.0.depth.0.x", "baselines.0", "baselines.0.x")
    keys += ("training.learning_rate", "budget.minutes", "evolution.initial", "space", "a.b", "tasks", "data.path", "=")
    data = by_structure([{"a": 1}], lambda value: json.dumps(value))(rng).decode("utf-8", "replace")
    value = rng.choice((data, rng.choice(mutators.STRINGS), str(rng.choice(mutators.NUMBERS)), "9" * 5000, "[" * 3000))
    return f"{rng.choice(keys)}={value}".encode("utf-8", "surrogateescape" if "\ud800" not in value else "replace")


def archive_cases(rng: random.Random) -> bytes:
    """Changes of rows of an archive; see ``fuzz_reads``."""
    tables = ("candidates", "evaluations", "rejections", "rungs", "extras", "timings", "events", "rates", "run")
    tables += ("screened_out", "measurements", "predictions", "screened_counts", "origins")
    found = []
    for _ in range(rng.choice((1, 1, 2, 4))):
        column = "delete" if rng.random() < 0.2 else str(rng.randrange(8))
        value = rng.choice(
            (*mutators.STRINGS, *mutators.NUMBERS, None, "[]", "{}", '{"a": [[1, 2]]}', "[" * 3000, "9" * 5000)
        )
        found.append([rng.choice(tables), rng.randrange(6), column, value])
    return json.dumps(found).encode()


def joined(*cases: Cases, between: bytes) -> Cases:
    """Cases of several kinds, one behind the other."""
    return lambda rng: between.join(case(rng) for case in cases)


def written_cases(texts: Sequence[str], tokens: Sequence[str]) -> Cases:
    """Layers as people write them."""
    return mixed(by_bytes([text.encode() for text in texts]), by_words(texts, tokens), by_tokens(tokens))


def constant(content: bytes) -> Cases:
    """The same each time."""
    return lambda _: content


def json_cases(*values: Any) -> Cases:
    """JSON, changed by its bytes and by its structure."""
    texts = [json.dumps(value).encode() for value in values]
    return mixed(by_bytes(texts), by_structure(values, json.dumps), by_structure(values, json.dumps))


def row_cases(content: bytes, table: str, column: str, values: Cases) -> Cases:
    """A database with another value in one place."""

    def draw(rng: random.Random) -> bytes:
        connection = sqlite3.connect(":memory:")
        connection.deserialize(content)
        rows = [row for (row,) in connection.execute(f"SELECT rowid FROM {table}")]
        value = values(rng).decode("utf-8", "replace")
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, rng.choice(rows)))
        connection.commit()
        return connection.serialize()

    return draw


def tensor_cases(header: dict[str, Any]) -> Cases:
    """Safetensors files with another table of contents."""
    names = [f"{site['name']}/{part}" for site in header["sites"] for part in ("weight", "bias", "low", "high")]
    table = {
        name: {"dtype": "F32", "shape": [3], "data_offsets": [12 * n, 12 * n + 12]} for n, name in enumerate(names)
    }
    kinds = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "BOOL", "U8", "F4", "C64")

    def write(data: Any) -> str:
        return json.dumps(data)

    def draw(rng: random.Random) -> bytes:
        chosen = {name: dict(entry) for name, entry in table.items() if rng.random() < 0.8}
        for entry in chosen.values():
            if rng.random() < 0.3:
                kind = rng.choice(kinds)
                entry["dtype"] = kind
        head = by_structure([chosen], write)(rng) if rng.random() < 0.5 else json.dumps(chosen).encode()
        return len(head).to_bytes(8, "little") + head + bytes(rng.choice((96, 96, 0, 24)))

    return draw


def _header(text: str, version: int = 1) -> bytes:
    """That of an array in numpy's format."""
    encoded = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + bytes((version, 0)) + len(encoded).to_bytes(2, "little") + encoded


def npz_cases() -> Cases:
    """ZIP files with headers of arrays that promise something else than is there."""
    import zipfile

    shapes = (
        "(8, 4, 4)",
        "(8,)",
        "(2**60,)",
        "(1152921504606846976, 8)",
        "(-1, 8)",
        "()",
        "(0,)",
        "8",
        "(8, 4, 4,",
        "(True, 8)",
    )
    kinds = (
        "|u1",
        "<i8",
        "<u8",
        "|O",
        "<f4",
        "|S4",
        "<U9",
        "|V3",
        "<M8[s]",
        "|b1",
        "c16",
        "[('a', '<i4')]",
        "|u1" * 50,
    )

    def header(rng: random.Random) -> bytes:
        kind = rng.choice(kinds)
        quoted = kind if kind.startswith("[") else repr(kind)
        text = f"{{'descr': {quoted}, 'fortran_order': {rng.random() < 0.3}, 'shape': {rng.choice(shapes)}, }}"
        if rng.random() < 0.1:
            text = rng.choice(("(" * 3000, "{'a': " * 500, "9" * 5000, "'''", "\\"))
        return _header(text, rng.choice((1, 1, 1, 2, 3, 9)))

    def draw(rng: random.Random) -> bytes:
        stream = io.BytesIO()
        methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
        with zipfile.ZipFile(stream, "w", rng.choice(methods)) as archive:
            sound = rng.random() < 0.3
            for name in ("x_train", "y_train", "x_test", "y_test"):
                if sound and rng.random() < 0.9:
                    shape, kind = ("(8, 4, 4)", "|u1") if name[0] == "x" else ("(8,)", rng.choice(("<i8", "<u8")))
                    body = bytes(128) if name[0] == "x" else bytes(64)
                    archive.writestr(
                        f"{name}.npy",
                        _header(f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}") + body,
                    )
                    continue
                label = 2**64 - 1 if rng.random() < 0.2 else 30_000_000 if rng.random() < 0.2 else 1
                body = label.to_bytes(8, "little") * rng.choice((8, 16, 0))
                archive.writestr(f"{name}.npy", header(rng) + body)
        content = bytearray(stream.getvalue())
        if rng.random() < 0.3:  # the flag of encryption, in the table of contents
            content[content.find(b"PK\x01\x02") + 8] |= 1
        return bytes(content)

    return draw
