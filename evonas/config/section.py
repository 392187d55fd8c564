"""A configuration file: strict TOML to frozen models, and back.

Unknown keys, wrong types and values out of range are refused with the file, the key, what was found and what is
accepted. ``--set a.b=c`` overrides go through the same door.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from evonas.config.presets import find_file
from evonas.errors import InputError, listed
from evonas.limits import DEEPEST, LARGEST_COUNT, LARGEST_SEED, LARGEST_SETTINGS
from evonas.reading import decoded, parse_toml, read_given, require_plain, whole_number

PositiveInt = Annotated[int, Field(gt=0, le=LARGEST_COUNT)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Seed = Annotated[int, Field(ge=0, lt=LARGEST_SEED)]
_MODULE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
ModuleName = Annotated[str, Field(pattern=rf"^{_MODULE}$")]  # of Python, with dots
FunctionName = Annotated[str, Field(pattern=rf"^({_MODULE}:[A-Za-z_]\w*)?$")]  # of one in a module, or none
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]+$", max_length=200)]  # of a folder
Label = Annotated[str, Field(pattern=r"^[\w.,:+()/ -]*$", max_length=100)]  # in tables, pictures and names of files


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise PydanticCustomError("range", "[least, greatest]")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


class Section(BaseModel):
    """A table of the file; every key is known, typed and immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    file_kind: ClassVar[str] = ""  # of a file that holds this section: a key of ``presets.KINDS``

    def identity(self) -> dict[str, Any]:
        """What results know it by: the keys that are not at their defaults, so that a new key changes no old one's."""
        return self.model_dump(mode="json", exclude_defaults=True)


class NamedSection(Section):
    """A table with a name, of which folders are made."""

    name: Name
    """What it is called; the folder of a study is `runs/<name>` unless `--run` says otherwise."""


class StudySection(NamedSection):
    """A study file; see ``evonas.extensions`` for what its modules may add."""

    extensions: tuple[ModuleName, ...] = ()
    """Modules of yours that the runs need: they add primitives, index sets, objectives, protocols or steering methods.
    """


AnySection = TypeVar("AnySection", bound=Section)


def load_as(kind: type[AnySection], path: str | Path, overrides: Sequence[str] = ()) -> AnySection:
    """Read a configuration from a TOML file, with ``a.b=c`` overrides.

    Args:
        kind: what the file holds.
        path: the file, or the name of one that comes with evonas.
        overrides: keys and values to be set.

    Raises:
        InputError: the file is missing or not TOML, a key is unknown, or a value is of the wrong type or out of range.
    """
    file = find_file(path, *filter(None, [kind.file_kind]))
    return parse_changed(kind, read_toml(file), overrides, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises:
        InputError: it is missing or not TOML.
    """
    content = read_given(path, accepted="the path of a .toml file", largest=LARGEST_SETTINGS)
    try:
        text = decoded(content, "")
    except InputError as error:
        raise InputError(str(path), f"is not TOML: it {error.found}") from None
    return parse_toml(text, str(path))


def loads_as(kind: type[AnySection], text: str, overrides: Sequence[str] = ()) -> AnySection:
    """Read a configuration from TOML text of our own, with overrides; see ``load_as``."""
    return parse_changed(kind, parse_toml(text, "defaults"), overrides, "defaults")


def parse_changed(kind: type[AnySection], data: dict[str, Any], overrides: Sequence[str], where: str) -> AnySection:
    """Validate already-read TOML data with ``a.b=c`` overrides; see ``parse_section``."""
    require_plain(data, where)
    data = deepcopy(data)
    for override in overrides:
        _override(data, override)
    return parse_section(kind, data, where)


def parse_section(kind: type[AnySection], data: dict[str, Any], where: str) -> AnySection:
    """Validate already-read TOML or JSON data; ``where`` names its file in errors.

    Raises:
        InputError: an unknown key, or a value of the wrong type or out of range.
    """
    require_plain(data, where)
    try:
        # through JSON: strict validation then still takes arrays for tuples
        return kind.model_validate_json(json.dumps(data))
    except TypeError as error:
        raise InputError(where, f"holds a value of an unsupported type ({error})") from None
    except ValidationError as error:
        raise _as_input_error(error, where, kind) from None


def dump(config: Section) -> str:
    """The whole configuration, defaults included, as TOML; ``load_as`` reads it back to an equal configuration."""
    return tomli_w.dumps(json.loads(config.model_dump_json(exclude_none=True)))


def override_text(key: str, value: object) -> str:
    """A key that is set to a value, as ``a.b=c``."""
    text = json.dumps(value, ensure_ascii=False)  # which is TOML but for the escapes of rare letters, and for DEL
    return f"{key}={text}".replace("\x7f", "\\u007f")


def changes_of(overrides: Sequence[str] | None, given: Mapping[str, object]) -> list[str]:
    """Changes of a file of settings as ``a.b=c``; a key whose value is None is left as it is.

    Args:
        overrides: changes that are texts already, which come first.
        given: other values, by key.
    """
    return [*(overrides or ()), *(override_text(key, value) for key, value in given.items() if value is not None)]


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals or not all(key.split(".")) or key.count(".") >= DEEPEST:
        raise InputError(where, "cannot be read", accepted="section.key=value, e.g. evolution.window=100")
    value = _value(text)
    *parents, last = key.split(".")
    place: Any = data
    for depth, part in enumerate(parents):
        place = _descend(place, part, where, ".".join(parents[: depth + 1]))
    if isinstance(place, list):
        place[_position(place, last, where)] = value
    else:
        place[last] = value


def _value(text: str) -> Any:
    """The value of a change; a bare word is text, as in ``--set data.name=npz``."""
    try:
        found = parse_toml(f"value = {text}", "")
    except InputError:
        return text
    return found["value"] if len(found) == 1 else text


def _descend(place: Any, part: str, where: str, path: str) -> Any:
    inner = place[_position(place, part, where)] if isinstance(place, list) else place.setdefault(part, {})
    if not isinstance(inner, dict | list):
        raise InputError(where, f"{path} is a value, not a section")
    return inner


def _position(items: list[Any], part: str, where: str) -> int:
    number = whole_number(part)
    if number is None or number >= len(items):
        raise InputError(
            where, f"no item {part!r}", accepted=f"0 to {len(items) - 1}" if items else "none: it is empty"
        )
    return number


_ACCEPTED = {  # by pydantic's types of errors, in the words of TOML
    "bool_type": "a boolean, true or false",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a string",
    "tuple_type": "an array",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "a string of the pattern {pattern}",
    "string_too_short": "a string that is not empty",
    "string_too_long": "a string of at most {max_length} characters",
    "too_short": "an array of at least {min_length} item",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "greater than or equal to {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "less than or equal to {le:g}",
}


def _as_input_error(error: ValidationError, where: str, kind: type[Section]) -> InputError:
    first, *others = error.errors()
    location = [str(part) for part in first["loc"]]
    place = f"{where}: {'.'.join(location)}" if location else where
    if first["type"] == "extra_forbidden":
        known = _known_keys(kind, location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else ""
        return InputError(place, "unknown key", accepted=listed(known), remedy=remedy)
    if first["type"] == "missing":
        return InputError(place, "is missing", remedy="add the key")
    # pydantic counts an array without its bad items as too short: a fault of what holds the first one is no other
    others = [other for other in others if other["loc"] != first["loc"][: len(other["loc"])]]
    more = f"(and {len(others)} more)" if others else ""
    facts = first.get("ctx", {})
    if isinstance(raised := facts.get("error"), InputError):  # by a validator of ours, that names keys of its section
        key = ".".join(part for part in (*location, raised.where) if part)
        remedy = " ".join(part for part in (raised.remedy, more) if part)
        return InputError(f"{where}: {key}", raised.found, accepted=raised.accepted, remedy=remedy)
    accepted = _ACCEPTED[first["type"]].format(**facts) if first["type"] in _ACCEPTED else first["msg"]
    return InputError(place, f"{first['input']!r}", accepted=accepted, remedy=more)


def _known_keys(kind: type[BaseModel], location: Sequence[str]) -> list[str]:
    model = kind
    for part in location:
        if part in model.model_fields:  # and not a place in an array, or the name of a table among others
            model = _model_in(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model of a table, or of the tables of an array."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
