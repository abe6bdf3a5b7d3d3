"""The XDM schemas of score events: the field group, closed schemas, and one for each route.

A closed JSON Schema refuses what it does not declare, as AEP's streaming validation does. To close
a schema, local references are replaced by what they refer to and the branches of `allOf` are
merged: `additionalProperties: false` in one branch would refuse the fields of the others. Text,
lists and objects may not be empty either: AEP accepts no empty values (AEP, "basics of schema
composition"). Conditions (`anyOf`, `oneOf`, `not`, `if`) are left to AEP.

Wraps jsonschema-rs.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import jsonschema_rs
import msgspec
from jsonschema_rs import ValidationError, ValidationErrorKind

from processor.domain.errors import SettingsError
from processor.domain.schema_files import schemas_folder
from processor.settings import CommonSettings, PredictionSettings

Schema: TypeAlias = dict[str, Any]

_MAX_DEPTH = 64
_NOT_EMPTY = {"string": "minLength", "array": "minItems", "object": "minProperties"}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength")
_COUNTS = ("minItems", "maxItems", "minProperties", "maxProperties", "multipleOf")
_KEYWORDS = frozenset(
    ("type", "format", "enum", "const", "pattern", "required", *_BOUNDS, *_COUNTS)
)
"""Keywords that a closed schema has as they are; references, titles and the like are left out."""


MODEL_KEY = "[A-Za-z0-9]{1,128}"
"""What a model key looks like, as a regular expression."""

is_key = re.compile(MODEL_KEY).fullmatch
is_pattern = re.compile(r"[*?\[]").search


def alphanumeric(name: str) -> str:
    """Return the letters and digits of a model name: the key that Customer AI gives it."""
    return "".join(filter(str.isalnum, name))


def is_open(route: PredictionSettings) -> bool:
    """Return True where the route's model keys are not known before records come."""
    return route.model_key is None and any(map(is_pattern, route.models))


def model_keys(route: PredictionSettings) -> list[str]:
    """Return the model keys a route's settings name; SettingsError where one is unusable."""
    if route.model_key is not None:
        return [route.model_key]
    keys = dict.fromkeys(alphanumeric(entry) for entry in route.models if not is_pattern(entry))
    unusable = [key for key in keys if not is_key(key)]
    if unusable:
        raise SettingsError(
            [f"It needs a model_key, for its models give {key!r}." for key in unusable]
        )
    return list(keys)


def close(schema: Schema) -> Schema:
    """Return the closed form of an XDM schema; SettingsError where it refers to other files."""
    return _SchemaCloser(schema).close(schema, 0)


class _SchemaCloser:
    def __init__(self, root: Schema) -> None:
        self._root = root

    def close(self, schema: Schema, depth: int) -> Schema:
        flat = self._flat(schema, depth)
        closed = {key: value for key, value in flat.items() if key in _KEYWORDS}
        kind = flat.get("type", "object" if "properties" in flat else None)
        if isinstance(kind, str) and kind in _NOT_EMPTY and "enum" not in closed:
            closed[_NOT_EMPTY[kind]] = max(1, closed.get(_NOT_EMPTY[kind], 1))
        if kind == "array" and isinstance(flat.get("items"), dict):
            closed["items"] = self.close(flat["items"], depth + 1)
        if kind == "object":
            self._close_object(flat, closed, depth + 1)
        return closed

    def _close_object(self, flat: Schema, closed: Schema, depth: int) -> None:
        for key in ("properties", "patternProperties"):
            if key in flat:
                closed[key] = {name: self.close(one, depth) for name, one in flat[key].items()}
        others = flat.get("additionalProperties")
        if isinstance(others, dict) and others:
            closed["additionalProperties"] = self.close(others, depth)
        else:  # `meta:xdmType` marks a map, whose keys are not declared
            closed["additionalProperties"] = flat.get("meta:xdmType") == "map"

    def _flat(self, schema: Schema, depth: int) -> Schema:
        """Return the schema with its reference followed and its `allOf` merged into it."""
        if depth > _MAX_DEPTH:
            raise SettingsError(["The XDM schema refers to itself or is nested too deeply."])
        own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        parts = list(schema.get("allOf", ()))
        if "$ref" in schema:
            parts.append(self._referred(schema["$ref"]))
        for part in parts:
            own = _merged(own, self._flat(part, depth + 1))
        return own

    def _referred(self, reference: str) -> Schema:
        if not reference.startswith("#/"):
            sentence = f"The XDM schema refers to {reference!r}; fetch it resolved (xed-full)."
            raise SettingsError([sentence])
        found: Any = self._root
        for step in reference[2:].split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~"))
            if not isinstance(found, dict):
                raise SettingsError([f"The XDM schema has nothing at {reference!r}."])
        return dict(found)


def _merged(one: Schema, other: Schema) -> Schema:
    """Return both schemas as one; where both have a key, objects are merged, else `one` wins."""
    merged = {**other, **one}
    for key in one.keys() & other.keys():
        first, second = one[key], other[key]
        if isinstance(first, dict) and isinstance(second, dict):
            merged[key] = _merged(first, second)
        elif key == "required":
            merged[key] = sorted({*first, *second})
        elif key == "allOf":
            merged[key] = [*first, *second]
    return merged


def undeclared(needed: Schema, declared: Schema) -> list[tuple[str, ...]]:
    """Return the paths of a needed closed schema that another one does not declare, topmost only.

    A list is no step of a path: the fields of its objects follow the name of the list.
    """
    if "items" in needed:
        return undeclared(needed["items"], declared.get("items", {}))
    names: Mapping[str, Schema] = declared.get("properties", {})
    paths: list[tuple[str, ...]] = []
    for name, inner in needed.get("properties", {}).items():
        if name in names:
            paths += [(name, *path) for path in undeclared(inner, names[name])]
        else:
            paths.append((name,))
    return paths


_TENANT, _MODEL = "_{TENANT}", "{MODEL}"


def render_field_group(tenant: str, model_keys: Iterable[str]) -> Schema:
    """Return the body to POST to AEP's Schema Registry (`/tenant/fieldgroups`).

    `tenant` is the tenant id with or without its underscore; each model key becomes an object
    beside the others.
    """
    group = _read_shipped("score-event.fieldgroup.json")
    fields = group["definitions"]["customFields"]["properties"]
    own = fields[f"_{tenant.removeprefix('_')}"] = fields.pop(_TENANT)
    models = own["properties"]["CustomerAI"]["properties"]
    template = models.pop(_MODEL)
    models.update({key: {**template, "title": key} for key in model_keys})
    return group


def closed_event(tenant: str, model_keys: Iterable[str], *, any_model: bool = False) -> Schema:
    """Return the closed schema of a whole score event: the class and the field group.

    `any_model` declares every usable model key, for routes whose predictions are not known yet.
    """
    keys = [*model_keys, _MODEL] if any_model else list(model_keys)
    event = _read_shipped("experience-event.class.json")
    event["allOf"] = [render_field_group(tenant, keys)["definitions"]["customFields"]]
    closed = close(event)
    if any_model:
        models = closed["properties"][f"_{tenant.removeprefix('_')}"]["properties"]["CustomerAI"]
        models["patternProperties"] = {f"^{MODEL_KEY}$": models["properties"].pop(_MODEL)}
    return closed


def _read_shipped(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((schemas_folder() / "xdm" / name).read_bytes())
    return content


_EMPTY, _RANGE = "The value is empty.", "The value is out of range."
_SENTENCES = {
    "additionalProperties": "The schema does not declare the field.",
    "required": "The field is missing.",
    "minLength": _EMPTY,
    "minItems": _EMPTY,
    "minProperties": _EMPTY,
    "minimum": _RANGE,
    "maximum": _RANGE,
    "exclusiveMinimum": _RANGE,
    "exclusiveMaximum": _RANGE,
    "maxLength": "The text is too long.",
    "maxItems": "The list is too long.",
    "enum": "The value is not one of those the schema lists.",
    "pattern": "The text does not have the form the schema asks for.",
}


class Violation(msgspec.Struct, frozen=True):
    """Why an event is invalid: the field as a JSON pointer, and a sentence without its value."""

    pointer: str
    sentence: str


class EventSchema:
    """A compiled closed XDM schema; formats are checked, references are not fetched.

    `leave_out` holds the paths a score event may have and this schema does not declare.
    """

    def __init__(self, closed: Schema, leave_out: Sequence[tuple[str, ...]] = ()) -> None:
        self.leave_out: Final = tuple(leave_out)
        self._validator = jsonschema_rs.Draft7Validator(closed, validate_formats=True, offline=True)
        self.accepts = self._validator.is_valid
        """Return True where an event is valid."""

    def violation(self, event: dict[str, Any]) -> Violation | None:
        """Return the first violation of an event, None where it is valid."""
        for error in self._validator.iter_errors(event):
            return _violation(error)
        return None


def compile_schemas(settings: CommonSettings) -> dict[str, EventSchema]:
    """Return the schema of each route by its name; SettingsError lists all that is wrong."""
    schemas, problems = {}, []
    for route in settings.routes:
        try:
            schemas[route.name] = _of_route(route, settings.event.tenant)
        except SettingsError as error:
            problems += [f"Route {route.name}: {problem}" for problem in error.problems]
    if problems:
        raise SettingsError(problems)
    return schemas


def _of_route(route: PredictionSettings, tenant: str) -> EventSchema:
    keys = model_keys(route)
    needed = closed_event(tenant, keys, any_model=is_open(route))
    if route.schema_file is None:
        return EventSchema(needed)
    declared = close(_read(route.schema_file))
    leave_out = undeclared(needed, declared)
    missing = [path for path in leave_out if not _may_be_left_out(path)]
    if missing:
        where = ", ".join(".".join(path) for path in missing)
        raise SettingsError([f"the schema in {route.schema_file} does not declare {where}."])
    return EventSchema(declared, leave_out)


def _read(path: Path) -> Schema:
    try:
        schema = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError([f"the schema in {path} cannot be read: {error}."]) from error
    if not isinstance(schema, dict):
        raise SettingsError([f"the schema in {path} is not a JSON object."])
    return schema


def _may_be_left_out(path: tuple[str, ...]) -> bool:
    match path:
        case ("eventType" | "producedBy",) | (_, "scoreContext", *_):
            return True
        case (_, "CustomerAI", _, field, *_):
            return field not in ("score", "scoreDate")
        case _:
            return False


def _violation(error: ValidationError) -> Violation:
    path = list(error.instance_path)
    sentence = _SENTENCES.get(error.kind.name, "The value is not what the schema declares.")
    match error.kind:
        case ValidationErrorKind.AdditionalProperties(unexpected):
            path.append(unexpected[0])
        case ValidationErrorKind.Required(name):
            path.append(name)
        case ValidationErrorKind.Type(types):
            sentence = f"The value is not of type {' or '.join(types)}."
        case ValidationErrorKind.Format(name):
            sentence = f"The text is not a valid {name}."
        case _:
            pass
    return Violation("".join(f"/{_escaped(step)}" for step in path), sentence)


def _escaped(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")
