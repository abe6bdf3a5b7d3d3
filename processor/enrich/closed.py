"""A JSON Schema, closed: what is not declared is refused, as AEP's streaming validation does.

Local references are replaced by what they refer to and the branches of `allOf` merged, because a
branch can not be closed by itself. Text, lists and objects may not be empty either: AEP takes no
empty values (AEP, "basics of schema composition"). Conditions (`anyOf`, `oneOf`, `not`, `if`) are
left to AEP.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from processor.errors import SettingsError

__all__ = ["Schema", "close", "undeclared"]

Schema: TypeAlias = dict[str, Any]

_MAX_DEPTH = 64
_NOT_EMPTY = {"string": "minLength", "array": "minItems", "object": "minProperties"}
_KEYWORDS = ("type", "format", "enum", "const", "pattern", "minimum", "maximum", "required")
_MORE = ("exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems")
_KEPT = frozenset((*_KEYWORDS, *_MORE, "multipleOf", "minProperties", "maxProperties"))


def close(schema: Schema) -> Schema:
    """Return the closed form of an XDM schema; SettingsError where it refers to other files."""
    return _Closing(schema).close(schema, 0)


class _Closing:
    def __init__(self, root: Schema) -> None:
        self._root = root

    def close(self, schema: Schema, depth: int) -> Schema:
        flat = self._flat(schema, depth)
        closed = {key: value for key, value in flat.items() if key in _KEPT}
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
        else:
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
    """Return both schemas as one; of what both say, objects are merged and `one` is believed."""
    merged = {**other, **one}
    for key in one.keys() & other.keys():
        mine, theirs = one[key], other[key]
        if isinstance(mine, dict) and isinstance(theirs, dict):
            merged[key] = _merged(mine, theirs)
        elif key == "required":
            merged[key] = sorted({*mine, *theirs})
        elif key == "allOf":
            merged[key] = [*mine, *theirs]
    return merged


def undeclared(wanted: Schema, declared: Schema) -> list[tuple[str, ...]]:
    """Return the paths of a closed schema that another one does not declare, the topmost of each.

    Lists leave no mark in a path: the path of a field of a list's objects goes through the list.
    """
    if "items" in wanted:
        return undeclared(wanted["items"], declared.get("items", {}))
    names: Mapping[str, Schema] = declared.get("properties", {})
    paths: list[tuple[str, ...]] = []
    for name, inner in wanted.get("properties", {}).items():
        if name in names:
            paths += [(name, *path) for path in undeclared(inner, names[name])]
        else:
            paths.append((name,))
    return paths
