"""What pydantic found, said in plain sentences with the key, its place, and what was meant."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from processor.settings.keys import KeyPath, bare, dotted, known, names, step
from processor.settings.settings import Settings

_ANYTHING = {
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


def sentences(error: ValidationError, places: dict[KeyPath, str]) -> list[str]:
    """Return one sentence for each key that is wrong, in the order of the pages."""
    first: dict[KeyPath, str] = {}
    for found in error.errors():
        path = _place(found)
        first.setdefault(path, f"{dotted(path) or 'The file'}{_where(path, places)} {_say(found)}")
    return list(first.values())


def unknown_keys(error: ValidationError) -> list[KeyPath]:
    """Return the paths of the keys that no page has."""
    return [found["loc"] for found in error.errors() if found["type"] == "extra_forbidden"]


def meant(key: str, among: Iterable[str]) -> str | None:
    """Return the word that was probably meant, if one comes near."""
    near = difflib.get_close_matches(key.lower(), list(among), n=1, cutoff=0.6)
    return near[0] if near else None


def _place(found: ErrorDetails) -> KeyPath:
    """Return the key path without the branches of a union that pydantic appends."""
    path: KeyPath = found["loc"]
    return path if found["type"] == "extra_forbidden" else known(Settings, path)


def _where(path: KeyPath, places: dict[KeyPath, str]) -> str:
    place = places.get(path)
    if place is None and path and isinstance(path[-1], int):
        place = places.get(path[:-1])
    return f" ({place})" if place else ""


def _say(found: ErrorDetails) -> str:
    kind, context = found["type"], found.get("ctx", {})
    if kind == "missing":
        return "is required."
    if kind == "extra_forbidden":
        return _extra(found["loc"])
    if kind == "literal_error":
        return f"must be one of {str(context['expected']).replace(' or ', ', ')}."
    if kind == "string_pattern_mismatch":
        return f"does not look right: it must match `{context['pattern']}`."
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {context[bound]}."
    return _wrong(kind, found["msg"])


def _wrong(kind: str, message: str) -> str:
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty."
    if kind == "finite_number":
        return "must be a number that ends."
    words = _ANYTHING.get(kind.partition("_")[0])
    return f"must be {words}." if words else f"is wrong: {message[:1].lower()}{message[1:]}."


def _extra(path: KeyPath) -> str:
    key = str(path[-1])
    shape: Any = Settings
    for part in path[:-1]:
        shape = step(shape, part)
    near = meant(key, names(shape))
    if near:
        return f"is not a setting; did you mean {dotted((*path[:-1], near))}?"
    elsewhere = next((at for at in _paths(Settings) if at[-1] == key), None)
    if elsewhere:
        return f"is not a setting; did you mean {dotted(elsewhere)}?"
    return "is not a setting."


def _paths(shape: Any, path: KeyPath = ()) -> Iterator[KeyPath]:  # noqa: ANN401
    """Yield the path of every key on every page."""
    for name in names(shape):
        below = step(shape, name)
        yield (*path, name)
        yield from _paths(below, (*path, name))
        if isinstance(item := step(below, 0), type) and issubclass(bare(item), BaseModel):
            yield from _paths(item, (*path, name, 0))
