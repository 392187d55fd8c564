"""What the keys of a file mean, and the JSON schemas of files.

Oracles: the models themselves for which keys there are, jsonschema for what a schema accepts, beside what reading a
file accepts.
"""

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from evonas.config.comparison import CACHE, UNREAD
from evonas.config.keys import meanings
from evonas.config.presets import KINDS, Preset, presets
from evonas.config.section import Section
from evonas.errors import InputError
from evonas.interface.files import model_of, schema_of

jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")


def models(kind: str) -> Iterator[type[BaseModel]]:
    """All models of a kind of file, by the classes that annotations name."""
    waiting: list[Any] = [model_of(kind)]
    seen = set()
    while waiting:
        found = waiting.pop()
        waiting += getattr(found, "__args__", ())
        if isinstance(found, type) and issubclass(found, BaseModel) and found not in seen:
            seen.add(found)
            yield found
            waiting += [field.annotation for field in found.model_fields.values()]


def faults(kind: str, data: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema_of(kind))
    validator.check_schema(validator.schema)
    return [error.message for error in validator.iter_errors(json.loads(json.dumps(data)))]


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_every_file_has_a_meaning(kind: str) -> None:
    for model in models(kind):
        assert set(meanings(model)) == set(model.model_fields), model.__name__
    schema = schema_of(kind)
    for table in (schema, *schema.get("$defs", {}).values()):
        assert [key for key, value in table["properties"].items() if not value.get("description")] == []


@pytest.mark.parametrize("preset", presets(), ids=lambda preset: preset.name)
def test_every_file_that_comes_with_evonas_fits_its_schema(preset: Preset) -> None:
    assert faults(preset.kind, tomllib.loads(preset.path.read_text())) == []


BASE = {"name": "x", "tasks": [{"architecture": "preact_resnet"}]}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("search", {"tasks": BASE["tasks"]}),
        ("search", {**BASE, "tasks": []}),
        ("search", {**BASE, "windov": 3}),
        ("search", {**BASE, "evolution": {"window": 0}}),
        ("search", {**BASE, "evolution": {"window": "big"}}),
        ("search", {**BASE, "evolution": {"algorithm": "hill"}}),
        ("search", {**BASE, "training": {"steps": 1.5}}),
        ("search", {**BASE, "protocols": {"propagation": {"gradient": [1.0]}}}),
        ("search", {**BASE, "tasks": [{"architecture": 3}]}),
        ("search", {**BASE, "rerank": {"tasks": [{"widht": 1.0}]}}),
        ("certificate", BASE),
        ("certificate", {**BASE, "ladder": {"steps": [0]}}),
        ("certificate", {**BASE, "ladder": {"seeds": 1}}),
        ("certificate", {**BASE, "ladder": {"stepps": [3]}}),
        ("stability", {"name": "x"}),
        ("stability", {"name": "x", "interventions": [{"name": "a", "runs": {}}]}),
        ("hypernet", {"name": "x", "task": {"name": "segmentation"}}),
        ("steering", {"name": "x", "methods": [{"strengths": [0.0]}]}),
        ("sparsity", {"name": "x", "model": "m", "sparsities": [1.0]}),
    ],
)
def test_a_schema_refuses_what_reading_refuses(kind: str, data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        model_of(kind).model_validate_json(json.dumps(data))
    assert len(faults(kind, data)) >= 1


def test_keys_that_are_read_later_are_in_the_schema() -> None:
    study = {"name": "x", "interventions": [{"name": "a", "run": {"optimizer": {"warmup": 3}}}], "run": {"steps": 9}}
    assert faults("stability", study) == []
    assert len(faults("stability", {**study, "run": {"stepps": 9}})) == 1


def test_a_comparison_has_what_it_reads() -> None:
    assert faults("comparison", BASE) == []
    for key in (*UNREAD, CACHE):
        table, _, last = key.partition(".")
        assert len(faults("comparison", {**BASE, table: {last: ""} if last else {}})) == 1, key


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_of_a_kind_is_the_one_that_reads_its_files(kind: str) -> None:
    assert model_of(kind).file_kind == ("search" if kind == "comparison" else kind)


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="accepted: search, certificate, comparison"):
        schema_of("serach")


class Documented(Section):
    """Keys of a test."""

    first: int = 3
    """The first
    of them."""
    plain: str
    second: tuple[float, ...] = (1e-5, 2e8)
    """`a` | `b`."""


class Inherited(Documented):
    """More of them."""

    first: int = 4
    """Another one."""


def test_the_string_below_a_key_is_its_meaning() -> None:
    assert meanings(Documented) == {"first": "The first of them.", "second": "`a` | `b`."}
    assert meanings(Inherited) == {"first": "Another one.", "second": "`a` | `b`."}
