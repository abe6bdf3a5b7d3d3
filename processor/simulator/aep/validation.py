"""Validation of rows against a dataset's schema, with answers in the form AEP writes them.

Source: AEP "streaming ingestion validation" and "retrieving failed batches"; the sentences are
those of the Java validator whose output Adobe's examples show.
"""

from collections.abc import Iterable
from typing import Any

import jsonschema_rs
import msgspec

from processor.simulator.aep.envelope import UNREADABLE

_MOST_ERRORS = 5
"""AEP stops after about five."""
_DATE_TIMES = (
    "[yyyy-MM-dd'T'HH:mm:ssZ, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, "
    "yyyy-MM-dd'T'HH:mm:ss[+-]HH:mm, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}[+-]HH:mm]"
)
_JAVA_TYPES: dict[type, str] = {
    bool: "Boolean",
    int: "Long",
    float: "Double",
    str: "String",
    list: "JSONArray",
    type(None): "Null",
}
_JAVA_NAMES = {
    "string": "String",
    "integer": "Integer",
    "number": "Number",
    "boolean": "Boolean",
    "object": "JSONObject",
    "array": "JSONArray",
    "null": "Null",
}


class RowValidator:
    """Holds one compiled schema; raises `ValueError` for what is not a JSON Schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._validator = jsonschema_rs.validator_for(schema, validate_formats=True)

    def report(self, entity: bytes | msgspec.Raw) -> list[dict[str, Any]]:
        """Return what is wrong with a row as a `_streamingValidation` list; empty = nothing."""
        try:
            row = msgspec.json.decode(entity)
        except UNREADABLE as error:
            return [{"message": f"Payload body is not valid JSON: {error}"}]
        if self._validator.is_valid(row):
            return []
        causes = []
        for violation in self._validator.iter_errors(row):
            causes += _causes(violation)
            if len(causes) >= _MOST_ERRORS:
                break
        return [_wrapped(causes[:_MOST_ERRORS])]


def _wrapped(causes: list[dict[str, Any]]) -> dict[str, Any]:
    plural = "violations" if len(causes) > 1 else "violation"
    return {
        "schemaLocation": "#",
        "pointerToViolation": "#",
        "causingExceptions": causes,
        "message": f"#: {len(causes)} schema {plural} found",
    }


def _causes(error: jsonschema_rs.ValidationError) -> list[dict[str, Any]]:
    keyword = str(error.schema_path[-1]) if error.schema_path else ""
    schema_path = error.schema_path[:-1]
    return [
        {
            "schemaLocation": _pointer(schema_path),
            "pointerToViolation": _pointer(error.instance_path),
            "causingExceptions": [],
            "keyword": keyword,
            "message": message,
        }
        for message in _messages(keyword, error)
    ]


def _messages(keyword: str, error: jsonschema_rs.ValidationError) -> list[str]:
    kind: Any = error.kind
    match keyword:
        case "additionalProperties" | "unevaluatedProperties":
            return [f"extraneous key [{key}] is not permitted" for key in kind.unexpected]
        case "required":
            return [f"required key [{kind.property}] not found"]
        case "type":
            wanted = ", ".join(_JAVA_NAMES.get(name, name) for name in kind.types)
            return [f"expected type: {wanted}, found: {_java_name(error.instance)}"]
        case "enum":
            return [f"{error.instance} is not a valid enum value"]
        case "format" if kind.format == "date-time":
            return [f"[{error.instance}] is not a valid date-time. Expected {_DATE_TIMES}"]
        case _:
            return [error.message]


def _java_name(instance: object) -> str:
    return _JAVA_TYPES.get(type(instance), "JSONObject")


def _pointer(path: Iterable[str | int]) -> str:
    return "/".join(["#", *map(str, path)])
