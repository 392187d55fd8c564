"""What the keys of a file mean, as the strings below the fields of its models say: for editors and docs/reference."""

import ast
import inspect
import textwrap
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, ModelSchema


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The meaning of each key of a model that has one, those of base classes included."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _written(base)
    return found


def _written(model: type[BaseModel]) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    if not isinstance(tree, ast.ClassDef):
        raise TypeError(f"{model} is no class")
    found = {}
    for field, below in pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = " ".join(ast.literal_eval(below.value).split())
    return found


@dataclass(frozen=True, slots=True)
class KeysOf:
    """Marks a table that is read later, with others: editors are told the keys of this model."""

    model: type[BaseModel]

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """See pydantic."""
        return handler(self.model.__pydantic_core_schema__)


class _Described(GenerateJsonSchema):
    """As pydantic's, with the meanings of keys in the place of the names and docstrings of classes."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """See pydantic."""
        found = super().model_schema(schema)
        found.pop("title", None)
        found.pop("description", None)
        keys = found.get("properties", {})
        for key, text in meanings(schema["cls"]).items():
            keys[key]["description"] = text
        for value in keys.values():
            value.pop("title", None)
            if "$ref" in value:  # a whole table, whose keys have defaults of their own
                value.pop("default", None)
        return found


def json_schema(model: type[BaseModel], title: str, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """The JSON schema of a file.

    Args:
        model: what the file holds.
        title: of the schema.
        leave_out: keys that the file may not have, with dots: ``execution.cache``.
    """
    found = model.model_json_schema(schema_generator=_Described)
    tables = found.get("$defs", {})
    for key in leave_out:
        table, last = found, key.rpartition(".")[2]
        for part in key.split(".")[:-1]:
            table = tables[table["properties"][part]["$ref"].rpartition("/")[2]]
        del table["properties"][last]
    return {"$schema": GenerateJsonSchema.schema_dialect, "title": title, **found}
