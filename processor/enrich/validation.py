"""The door to jsonschema-rs: one compiled XDM schema a route, and its words for what is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import msgspec
from jsonschema_rs import ValidationError, ValidationErrorKind

from processor.enrich.closed import Schema, close, undeclared
from processor.enrich.field_group import closed_event
from processor.enrich.models import is_open, model_keys
from processor.errors import SettingsError
from processor.settings import RouteSettings, Settings

__all__ = ["EventSchema", "Violation", "compile_schemas"]

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
    """What an event breaks: the field as a JSON pointer, and a sentence without its value."""

    pointer: str
    sentence: str


class EventSchema:
    """A closed XDM schema, compiled; formats are checked, nothing is fetched.

    `leave_out` holds the paths a score event may have and this schema does not declare.
    """

    def __init__(self, closed: Schema, leave_out: Sequence[tuple[str, ...]] = ()) -> None:
        self.leave_out: Final = tuple(leave_out)
        self._validator = jsonschema_rs.Draft7Validator(closed, validate_formats=True, offline=True)
        self.accepts = self._validator.is_valid
        """Return True where an event obeys the schema."""

    def violation(self, event: dict[str, Any]) -> Violation | None:
        """Return the first thing that is wrong with an event."""
        for error in self._validator.iter_errors(event):
            return _violation(error)
        return None


def compile_schemas(settings: Settings) -> dict[str, EventSchema]:
    """Return the schema of each route by its name; SettingsError names what does not fit."""
    schemas, problems = {}, []
    for route in settings.routes:
        try:
            schemas[route.name] = _of_route(route, settings.event.tenant)
        except SettingsError as error:
            problems += [f"Route {route.name}: {problem}" for problem in error.problems]
    if problems:
        raise SettingsError(problems)
    return schemas


def _of_route(route: RouteSettings, tenant: str) -> EventSchema:
    keys = model_keys(route)
    ours = closed_event(tenant, keys, any_model=is_open(route))
    if route.schema_file is None:
        return EventSchema(ours)
    theirs = close(_read(route.schema_file))
    leave_out = undeclared(ours, theirs)
    missing = [path for path in leave_out if not _may_be_left_out(path)]
    if missing:
        where = ", ".join(".".join(path) for path in missing)
        raise SettingsError([f"the schema in {route.schema_file} does not declare {where}."])
    return EventSchema(theirs, leave_out)


def _read(path: Path) -> Schema:
    try:
        schema = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError([f"the schema in {path} can not be read: {error}."]) from error
    if not isinstance(schema, dict):
        raise SettingsError([f"the schema in {path} is not a JSON object."])
    return schema


def _may_be_left_out(path: tuple[str, ...]) -> bool:
    match path:
        case ("eventType" | "producedBy",) | (_, "scoreContext", *_):
            return True
        case (_, "CustomerAI", _, leaf, *_):
            return leaf not in ("score", "scoreDate")
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
