"""Validation errors as plain sentences: the key, its line, and a similar key that exists."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from processor.settings.section import (
    KeyPath,
    closest,
    dotted,
    key_names,
    known_part,
    type_below,
)
from processor.settings.settings import Settings

_EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "text; put it in quotes",
    "list": "a list",
    "tuple": "a list",
    "dict": "a group of keys",
    "model": "a group of keys",
    "path": "a path",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def error_messages(error: ValidationError, origins: dict[KeyPath, str]) -> list[str]:
    """Return one sentence for each wrong key, in the order of the sections."""
    first: dict[KeyPath, str] = {}
    for found in error.errors():
        path = _path(found)
        first.setdefault(
            path, f"{dotted(path) or 'The file'}{_origin(path, origins)} {_message(found)}"
        )
    return list(first.values())


def unknown_keys(error: ValidationError) -> list[KeyPath]:
    """Return the paths of the keys that no section has."""
    return [found["loc"] for found in error.errors() if found["type"] == "extra_forbidden"]


def _path(found: ErrorDetails) -> KeyPath:
    """Return the key path without the branches of a union that pydantic appends."""
    path: KeyPath = found["loc"]
    return path if found["type"] == "extra_forbidden" else known_part(Settings, path)


def _origin(path: KeyPath, origins: dict[KeyPath, str]) -> str:
    origin = origins.get(path)
    if origin is None and path and isinstance(path[-1], int):
        origin = origins.get(path[:-1])
    return f" ({origin})" if origin else ""


def _message(found: ErrorDetails) -> str:
    kind, context = found["type"], found.get("ctx", {})
    if kind == "missing":
        return "is required."
    if kind == "extra_forbidden":
        return _unknown(found["loc"])
    if kind == "literal_error":
        return f"must be one of {str(context['expected']).replace(' or ', ', ')}."
    if kind == "string_pattern_mismatch":
        return f"is not valid: it must match `{context['pattern']}`."
    if kind in _BOUNDS:
        comparison, bound = _BOUNDS[kind]
        return f"must be {comparison} {context[bound]}."
    return _wrong(kind, found["msg"])


def _wrong(kind: str, message: str) -> str:
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty."
    if kind == "finite_number":
        return "must be a finite number."
    expected = _EXPECTED.get(kind.partition("_")[0])
    return f"must be {expected}." if expected else f"is wrong: {message[:1].lower()}{message[1:]}."


def _unknown(path: KeyPath) -> str:
    key = str(path[-1])
    shape: Any = Settings
    for part in path[:-1]:
        shape = type_below(shape, part)
    near = closest(key, key_names(shape))
    if near:
        return f"is not a setting; did you mean {dotted((*path[:-1], near))}?"
    elsewhere = next((path for path in _paths(Settings) if path[-1] == key), None)
    if elsewhere:
        return f"is not a setting; did you mean {dotted(elsewhere)}?"
    return "is not a setting."


def _paths(shape: Any, path: KeyPath = ()) -> Iterator[KeyPath]:  # noqa: ANN401
    """Yield the path of every key in every section."""
    for name in key_names(shape):
        below = type_below(shape, name)
        yield (*path, name)
        yield from _paths(below, (*path, name))
        if key_names(item := type_below(below, 0)):
            yield from _paths(item, (*path, name, 0))
